//! Where the user's own files are.

use std::path::PathBuf;

use super::Variables;
use crate::exit::Failure;

/// Where the user's own files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// `~/.config/temps/config.toml`, or what TEMPS_CONFIG says.
    pub(crate) config: PathBuf,
    /// Beside it.
    pub(crate) credentials: PathBuf,
}

impl Places {
    pub(crate) fn of(variables: &Variables) -> Result<Self, Failure> {
        let config = match (variables.get("TEMPS_CONFIG"), variables.get("HOME")) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(home)) => PathBuf::from(home).join(".config/temps/config.toml"),
            (None, None) => {
                return Err(Failure::other(
                    "neither HOME nor TEMPS_CONFIG is set, so there is no place for settings",
                ));
            }
        };
        let credentials = config.with_file_name("credentials.toml");
        Ok(Self { config, credentials })
    }
}
