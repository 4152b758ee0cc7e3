//! The log turned into state, the same on every node.
//!
//! [`apply`] is total: it never panics and never fails. A refusal is an answer, and changes nothing but the audit
//! log, which tells of it.

mod access;
mod audit;
mod cluster;
mod control;
mod domains;
mod fit;
mod nodes;
mod notify;
mod operator;
mod planned;
mod prune;
mod report;
mod settings;
mod validate;

use crate::audit::who;
use crate::command::{Command, ENTRY_VERSION, Entry, Made, Outcome, Receipt, Rejection};
use crate::model::{ClusterState, DeploymentId, EnvironmentId, Event, EventId, Index, Millis, What};

/// How many answers are kept by idempotency key.
pub const KEYS_KEPT: usize = 4_096;

/// What an entry led to, or why it was refused.
type Answer = Result<Outcome, Rejection>;

/// Applies one entry at its log index.
pub fn apply(state: &mut ClusterState, index: Index, entry: &Entry) -> Receipt {
    state.index = index;
    if entry.version > ENTRY_VERSION {
        let why = format!("entry version {} is newer than this node knows ({ENTRY_VERSION})", entry.version);
        return Receipt { index, outcome: Outcome::Rejected(Rejection::Invalid { why }) };
    }
    state.clock = state.clock.max(entry.clock);
    if let Some(receipt) = entry.key.as_ref().and_then(|key| state.answered.get(key)) {
        return receipt.clone();
    }
    let draft = audit::draft(state, entry);
    let by = who(&entry.by).0;
    let mut change = Change { state, index, wall: entry.wall, by, place: 0 };
    let outcome = change.run(&entry.command).unwrap_or_else(Outcome::Rejected);
    if matches!(outcome, Outcome::Done(_)) {
        change.tell_drained();
    }
    if matches!(outcome, Outcome::Done(_)) && concerns_planner(&entry.command) {
        state.revision += 1;
    }
    if let Some(draft) = draft {
        audit::note(state, (index, entry.wall), &entry.command, draft, &outcome);
    }
    let receipt = Receipt { index, outcome };
    if let Some(key) = &entry.key {
        state.answered.insert(key.clone(), receipt.clone());
        state.answered_order.insert(index, key.clone());
    }
    prune::prune(state);
    receipt
}

fn concerns_planner(command: &Command) -> bool {
    use crate::command::Observation;
    match command {
        Command::AddChannel(_)
        | Command::RemoveChannel { .. }
        | Command::TestChannel { .. }
        | Command::Notify(_)
        | Command::CreateToken(_)
        | Command::Access(_)
        | Command::CreateJoinToken { .. }
        | Command::PutCertificate(_)
        | Command::SetAcme { .. }
        | Command::RetryCertificate { .. }
        | Command::SetSettings(_)
        | Command::Certify(_) => false,
        Command::Report { observations, .. } => {
            observations.iter().any(|o| !matches!(o, Observation::Traffic { .. } | Observation::Past { .. }))
        }
        Command::Found { .. }
        | Command::AddNode(_)
        | Command::UpdateNode { .. }
        | Command::CreateProject { .. }
        | Command::Deploy { .. }
        | Command::Rollback { .. }
        | Command::Redeploy { .. }
        | Command::Cancel { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Promote { .. }
        | Command::Scale { .. }
        | Command::SetVariables { .. }
        | Command::AddDomain { .. }
        | Command::RemoveDomain { .. }
        | Command::SetMaintenance { .. }
        | Command::CordonNode { .. }
        | Command::UncordonNode { .. }
        | Command::DrainNode { .. }
        | Command::RemoveNode { .. }
        | Command::Plan { .. }
        | Command::Liveness { .. } => true,
    }
}

/// One entry being applied.
struct Change<'a> {
    state: &'a mut ClusterState,
    index: Index,
    wall: Millis,
    by: &'a str,
    place: u32,
}

impl Change<'_> {
    fn run(&mut self, command: &Command) -> Answer {
        match command {
            Command::Found { domain, token_hash } => self.found(domain, token_hash),
            Command::AddNode(node) => self.add_node(node),
            Command::UpdateNode { node, control, edge_peer, edge_http, version } => {
                self.update_node(*node, [control, edge_peer, edge_http, version])
            }
            Command::CreateJoinToken { hash, ttl, uses } => self.create_join_token(hash, *ttl, *uses),
            Command::CreateToken(new) => self.create_token(new),
            Command::Access(access) => self.access(access),
            Command::CreateProject { name } => self.create_project(name),
            Command::Deploy { project, environment, source, spec, supersede } => {
                self.deploy(project, environment, source, spec, *supersede)
            }
            Command::Rollback { project, environment, to } => self.rollback(project, environment, *to),
            Command::Redeploy { deployment } => self.redeploy(*deployment),
            Command::Cancel { deployment } => self.cancel(*deployment),
            Command::Pause { deployment } => self.pause(*deployment),
            Command::Resume { deployment } => self.resume(*deployment),
            Command::Promote { deployment, all } => self.promote(*deployment, *all),
            Command::Scale { project, environment, instances } => self.scale(project, environment, instances),
            Command::SetVariables { project, environment, set, remove } => {
                self.set_variables(project, environment, set, remove)
            }
            Command::SetSettings(change) => self.set_settings(change),
            Command::AddDomain { project, environment, name } => self.add_domain(project, environment, name),
            Command::RemoveDomain { name } => self.remove_domain(name),
            Command::PutCertificate(certificate) => self.put_certificate(certificate),
            Command::SetAcme { acme } => self.set_acme(acme.as_ref()),
            Command::RetryCertificate { name } => self.retry_certificate(name),
            Command::Certify(certify) => self.certify(certify),
            Command::SetMaintenance { project, environment, on } => {
                self.set_maintenance(project, environment, on.as_ref())
            }
            Command::AddChannel(channel) => self.add_channel(channel),
            Command::RemoveChannel { name } => self.remove_channel(name),
            Command::TestChannel { name } => self.test_channel(name),
            Command::CordonNode { node } => self.cordon(*node),
            Command::UncordonNode { node } => self.uncordon(*node),
            Command::DrainNode { node } => self.drain_node(*node),
            Command::RemoveNode { node, force } => self.remove_node(*node, *force),
            Command::Plan { seen, actions } => self.planned(*seen, actions),
            Command::Report { node, boot, seq, observations } => {
                self.report(*node, *boot, *seq, observations)
            }
            Command::Liveness { lost, back } => Ok(self.liveness(lost, back)),
            Command::Notify(notify) => self.notify(notify),
        }
    }

    fn emit(&mut self, deployment: Option<DeploymentId>, environment: Option<EnvironmentId>, what: What) {
        let id = EventId { index: self.index, place: self.place };
        self.place += 1;
        let event = Event { id, wall: self.wall, deployment, environment, what };
        self.announce(&event);
        self.state.events.insert(id, event);
    }

    /// Emits an event into the timeline of the environment's live deployment.
    fn emit_live(&mut self, environment: EnvironmentId, what: What) {
        let live = self.state.live(environment).map(|d| d.id);
        self.emit(live, Some(environment), what);
    }
}

fn done() -> Answer {
    Ok(Outcome::Done(Made::Nothing))
}

fn unchanged() -> Answer {
    Ok(Outcome::NoChange(Made::Nothing))
}

fn not_found(what: impl Into<String>) -> Rejection {
    Rejection::NotFound { what: what.into() }
}

fn invalid(why: impl Into<String>) -> Rejection {
    Rejection::Invalid { why: why.into() }
}

#[cfg(test)]
mod tests;
