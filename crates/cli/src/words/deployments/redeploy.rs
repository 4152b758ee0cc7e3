//! Deploying again what a deployment brought.

use temps_wire::proto::RedeployRequest;

use super::super::{Desk, deployment_number};
use super::{Waiting, wait};
use crate::exit::{Code, Failure};
use crate::settings::Consent;

/// Arguments of `deployments redeploy`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  temps deployments redeploy 42\n  temps deployments redeploy 42 -y --detach\n\n\
    It brings the same bundle or image once more, with the settings and variables that are set by now.\n\
    All instances are replaced by the rules of every deployment, although nothing may differ: so it also\n\
    restarts them without a failed request. A release command runs again. Nothing is sent or built anew\n\
    as long as it is stored.\n\n\
    Exit codes are those of `temps deployments watch`."
)]
pub struct Redeploy {
    /// Its number
    #[arg(value_name = "ID", value_parser = deployment_number)]
    number: u64,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(desk: &mut Desk, args: Redeploy) -> Result<Code, Failure> {
    let deployment = args.number;
    let agreed = desk.settings.agreed(args.consent);
    let client = desk.client()?;
    desk.screen.confirm(&format!("Deploy again what deployment #{deployment} brought?"), agreed)?;
    let accepted = client.call(|mut api| async move { api.redeploy(RedeployRequest { deployment }).await });
    wait(desk, &accepted.await?, args.waiting).await
}
