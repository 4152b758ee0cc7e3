//! Flags that several words share.

use crate::screen::ColourChoice;

/// Flags that every word takes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Which login to use [env: TEMPS_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// A node to ask instead of those of the context; several are tried in order [env: TEMPS_ENDPOINTS]
    #[arg(long = "endpoint", global = true, value_name = "HOST:PORT", value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// Print the result as JSON: one object, or one event a line while watching
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub color: Option<ColourChoice>,
    /// Show times in UTC instead of local time [env: TEMPS_UTC]
    #[arg(long, global = true)]
    pub utc: bool,
}

/// Which project and environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Target {
    /// The project; by default the one named in ./temps.toml [env: TEMPS_PROJECT]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// The environment [default: production] [env: TEMPS_ENVIRONMENT]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) environment: Option<String>,
}

/// Agreement given beforehand.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Consent {
    /// Go ahead without asking [env: TEMPS_YES=1]
    #[arg(short, long)]
    pub(crate) yes: bool,
}
