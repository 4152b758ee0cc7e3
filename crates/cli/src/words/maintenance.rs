//! Maintenance: the edges answer in an application's place.

use std::time::Duration;

use serde_json::json;
use temps_wire::client::Api;
use temps_wire::proto::{self, SetMaintenanceRequest};

use super::{Desk, duration};
use crate::exit::{Code, Failure};
use crate::settings::Target;

/// Words behind `maintenance`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Maintenance {
    /// Answer every new request with 503; what is under way goes on
    #[command(
        after_help = "Browsers get a page, programs JSON or text. These answers count for nothing: no release is taken back for \
        them. Deployments go on meanwhile.\n\n\
        Example:\n  temps maintenance on -p shop --message 'Back at 18:00' --retry-after 30m"
    )]
    On {
        /// What people are told
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
        /// When clients may try again
        #[arg(long, default_value = "1m", value_name = "DURATION", value_parser = duration)]
        retry_after: Duration,
        #[command(flatten)]
        target: Target,
    },
    /// Let the application answer again
    Off {
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(desk: &mut Desk, word: Maintenance) -> Result<Code, Failure> {
    let (on, target) = match word {
        Maintenance::On { message, retry_after, target } => {
            let retry_after_s = u32::try_from(retry_after.as_secs()).map_err(Failure::usage)?;
            let message = message.unwrap_or_default();
            (Some(proto::Maintenance { message, retry_after_s }), target)
        }
        Maintenance::Off { target } => (None, target),
    };
    let (project, environment) = (desk.project(&target)?, desk.environment(&target)?);
    let request = SetMaintenanceRequest { project, environment, maintenance: on };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.set_maintenance(request).await }
    };
    let no_change = desk.client()?.call(call).await?.no_change;
    let SetMaintenanceRequest { project, environment, maintenance } = request;
    let on = maintenance.is_some();
    if desk.screen.is_json() {
        let value = json!({ "project": project, "environment": environment, "maintenance": on, "no_change": no_change });
        desk.screen.object(&value)?;
        return Ok(Code::Live);
    }
    desk.screen.say(&match (on, no_change) {
        (true, false) => {
            format!("{project} ({environment}) is in maintenance: every new request is answered 503.")
        }
        (true, true) => format!("{project} ({environment}) is in maintenance already."),
        (false, false) => format!("{project} ({environment}) answers again."),
        (false, true) => format!("{project} ({environment}) is not in maintenance."),
    })?;
    if on {
        desk.screen.note("Let it answer again with  temps maintenance off");
    }
    Ok(Code::Live)
}
