//! What changes something: one command for the log each.

use std::time::Duration;

use temps_core::command::{Command, Made, Outcome, Receipt};
use temps_core::model::{DeploymentId, Maintenance, Opaque};
use temps_ledger::Proposal;
use temps_wire::proto::{
    Accepted, CancelRequest, CreateJoinTokenRequest, CreateJoinTokenResponse, CreateProjectRequest,
    CreateProjectResponse, DeployRequest, PauseRequest, PromoteRequest, ResumeRequest, RollbackRequest,
    ScaleRequest, ScaleResponse, SetMaintenanceRequest, SetMaintenanceResponse, SetVariablesRequest,
    SetVariablesResponse,
};
use temps_wire::token::{Fingerprint, JoinToken};
use tonic::Status;

use crate::bundles;
use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::given;
use crate::limits;
use crate::refusal::{refused, unanswered};
use crate::settings;

/// How long a join token is valid unless asked otherwise.
const JOIN_TTL: Duration = Duration::from_secs(60 * 60);
/// How long a join token can be valid.
const JOIN_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many machines a join token can admit.
const JOIN_USES_MAX: u32 = 1_000;

pub(crate) async fn deploy(desk: &Desk, caller: Caller, request: DeployRequest) -> Answer<Accepted> {
    limits::environment(&request.project, &request.environment)?;
    let source = given::source(&request.source)?;
    let spec = given::spec(&request.spec)?;
    if let Some(file) = source.stored()
        && !bundles::is_anywhere(desk, &file.digest).await
    {
        return Err(Status::not_found(format!(
            "no reachable node stores bundle {}; send it again",
            file.digest
        )));
    }
    given::known_node(desk, &source).await?;
    let command = Command::Deploy {
        project: request.project,
        environment: request.environment,
        source,
        spec,
        supersede: request.supersede,
    };
    Ok(settings::told(desk, accepted(&desk.propose(&caller, command).await?)?).await)
}

pub(crate) async fn rollback(desk: &Desk, caller: Caller, request: RollbackRequest) -> Answer<Accepted> {
    limits::environment(&request.project, &request.environment)?;
    let command = Command::Rollback {
        project: request.project,
        environment: request.environment,
        to: request.to.map(DeploymentId),
    };
    accepted(&desk.propose(&caller, command).await?)
}

pub(crate) async fn cancel(desk: &Desk, caller: Caller, request: CancelRequest) -> Answer<Accepted> {
    let deployment = DeploymentId(request.deployment);
    direct(desk, &caller, deployment, Command::Cancel { deployment }).await
}

pub(crate) async fn pause(desk: &Desk, caller: Caller, request: PauseRequest) -> Answer<Accepted> {
    let deployment = DeploymentId(request.deployment);
    direct(desk, &caller, deployment, Command::Pause { deployment }).await
}

pub(crate) async fn resume(desk: &Desk, caller: Caller, request: ResumeRequest) -> Answer<Accepted> {
    let deployment = DeploymentId(request.deployment);
    direct(desk, &caller, deployment, Command::Resume { deployment }).await
}

pub(crate) async fn promote(desk: &Desk, caller: Caller, request: PromoteRequest) -> Answer<Accepted> {
    let deployment = DeploymentId(request.deployment);
    direct(desk, &caller, deployment, Command::Promote { deployment, all: request.all }).await
}

/// A command about a deployment that is under way.
async fn direct(
    desk: &Desk,
    caller: &Caller,
    deployment: DeploymentId,
    command: Command,
) -> Answer<Accepted> {
    let receipt = desk.propose(caller, command).await?;
    let no_change = matches!(receipt.outcome, Outcome::NoChange(_));
    Ok(Accepted { deployment: deployment.0, no_change, ..Accepted::default() })
}

pub(crate) async fn scale(desk: &Desk, caller: Caller, request: ScaleRequest) -> Answer<ScaleResponse> {
    limits::environment(&request.project, &request.environment)?;
    limits::names("process name", request.instances.keys())?;
    let command = Command::Scale {
        project: request.project,
        environment: request.environment,
        instances: request.instances,
    };
    desk.propose(&caller, command).await?;
    Ok(ScaleResponse {})
}

pub(crate) async fn set_variables(
    desk: &Desk,
    caller: Caller,
    request: SetVariablesRequest,
) -> Answer<SetVariablesResponse> {
    limits::environment(&request.project, &request.environment)?;
    limits::names("variable name", request.set.keys())?;
    limits::names("variable name", request.remove.iter())?;
    let command = Command::SetVariables {
        project: request.project,
        environment: request.environment,
        set: request.set.into_iter().map(|(name, value)| (name, Opaque(value))).collect(),
        remove: request.remove,
    };
    desk.propose(&caller, command).await?;
    Ok(SetVariablesResponse {})
}

pub(crate) async fn set_maintenance(
    desk: &Desk,
    caller: Caller,
    request: SetMaintenanceRequest,
) -> Answer<SetMaintenanceResponse> {
    let SetMaintenanceRequest { project, environment, maintenance } = request;
    limits::environment(&project, &environment)?;
    let on = maintenance.map(|asked| Maintenance {
        message: Some(asked.message).filter(|message| !message.is_empty()),
        retry_after: asked.retry_after_s,
    });
    let no_change = desk.change(&caller, Command::SetMaintenance { project, environment, on }).await?;
    Ok(SetMaintenanceResponse { no_change })
}

pub(crate) async fn create_project(
    desk: &Desk,
    caller: Caller,
    request: CreateProjectRequest,
) -> Answer<CreateProjectResponse> {
    limits::text("the project name", &request.name)?;
    desk.propose(&caller, Command::CreateProject { name: request.name }).await?;
    Ok(CreateProjectResponse {})
}

pub(crate) async fn create_join_token(
    desk: &Desk,
    caller: Caller,
    request: CreateJoinTokenRequest,
) -> Answer<CreateJoinTokenResponse> {
    let ttl = match request.ttl_ms {
        0 => JOIN_TTL,
        millis => Duration::from_millis(millis),
    };
    if ttl > JOIN_TTL_MAX {
        return Err(Status::invalid_argument("a join token is valid for at most 30 days"));
    }
    if request.uses > JOIN_USES_MAX {
        return Err(Status::invalid_argument(format!(
            "a join token admits at most {JOIN_USES_MAX} machines"
        )));
    }
    let token = desk.secret(&caller, JoinToken::random, JoinToken::derived)?;
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let command = Command::CreateJoinToken { hash: token.hash(), ttl, uses: request.uses.max(1) };
    desk.propose(&caller, command).await?;
    Ok(CreateJoinTokenResponse { token: token.reveal() })
}

impl Desk {
    /// Proposes a command in the caller's name and under its key.
    pub(crate) async fn propose(&self, caller: &Caller, command: Command) -> Answer<Receipt> {
        let proposal = Proposal { key: caller.key(), by: caller.by(), command };
        let receipt = self.ledger.propose(proposal).await.map_err(|e| unanswered(&e))?;
        receipt.made().map_err(|e| refused(&e))?;
        Ok(receipt)
    }

    /// Proposes a command that makes nothing with a number. `true`: the state was so already.
    pub(crate) async fn change(&self, caller: &Caller, command: Command) -> Answer<bool> {
        let receipt = self.propose(caller, command).await?;
        Ok(matches!(receipt.outcome, Outcome::NoChange(_)))
    }

    /// A new secret. Under one key it is the same however often, and on whichever node, it is asked
    /// for: the log takes the first, and the answer to a repetition has to be that one.
    pub(crate) fn secret<T>(
        &self,
        caller: &Caller,
        random: fn(Fingerprint) -> T,
        derived: fn(Fingerprint, &[u8], &str) -> T,
    ) -> Answer<T> {
        let cluster = self.identity.ca_fingerprint().map_err(|e| Status::internal(e.to_string()))?;
        Ok(match caller.key() {
            None => random(cluster),
            Some(key) => derived(cluster, self.identity.ca_key_pem.as_bytes(), &key),
        })
    }
}

pub(crate) fn accepted(receipt: &Receipt) -> Answer<Accepted> {
    let no_change = matches!(receipt.outcome, Outcome::NoChange(_));
    match receipt.made() {
        Ok(Made::Deployment(id)) => Ok(Accepted { deployment: id.0, no_change, ..Accepted::default() }),
        Ok(other) => Err(Status::internal(format!("the key was used for something else before ({other:?})"))),
        Err(why) => Err(refused(&why)),
    }
}
