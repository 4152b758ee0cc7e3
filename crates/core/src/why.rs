//! Why an instance exists, and what became of it: its decisions and its events, as one story for a person.

use crate::model::{
    ClusterState, Deployment, DeploymentId, EventId, Exit, Instance, InstanceId, Kind, Millis, Reason,
    Strategy, Told, What,
};

/// One line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Wall time of the leader, in Unix milliseconds.
    pub wall: Millis,
    /// `started`, `withdrawn` or `stopped` for a decision, else the kind of the event.
    pub kind: &'static str,
    /// One sentence, without a full stop.
    pub text: String,
}

/// What is decided about an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Start,
    Withdraw,
    Stop,
}

/// The story of an instance, from its start on.
#[must_use]
pub fn story(state: &ClusterState, instance: &Instance) -> Vec<Line> {
    let mut lines: Vec<((u64, u32), Line)> = Vec::new();
    let decisions = [
        (Act::Start, "started", &instance.story.started),
        (Act::Withdraw, "withdrawn", &instance.story.withdrawn),
        (Act::Stop, "stopped", &instance.story.stopped),
    ];
    for (act, kind, told) in decisions {
        let Some(Told { index, wall, why }) = told else { continue };
        lines.push(((*index, 0), Line { wall: *wall, kind, text: decision(state, instance, act, why) }));
    }
    let from = instance.story.started.as_ref().map_or(0, |told| told.index);
    let events = state.events.range(EventId { index: from, place: 0 }..);
    for (id, event) in events {
        if let Some((kind, text)) = told_by(state, instance, &event.what, event.deployment.is_none()) {
            lines.push(((id.index, id.place + 1), Line { wall: event.wall, kind, text }));
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// What an event says about an instance, if it does. What concerns its node is told once, and while it ran.
fn told_by(
    state: &ClusterState,
    instance: &Instance,
    what: &What,
    once: bool,
) -> Option<(&'static str, String)> {
    let started = instance.story.started.is_some();
    let line = || what.line_with(&|node| state.node_name(node));
    let kind = match what {
        What::NodeLost { node } if *node == instance.node && once && instance.exit.is_none() => {
            return Some(("node_lost", line()));
        }
        What::NodeReturned { node } if *node == instance.node && once && instance.exit.is_none() => {
            return Some(("node_returned", line()));
        }
        What::Starting { .. } | What::ReleaseStarted { .. } if started => return None,
        What::Starting { .. } => "starting",
        What::ReleaseStarted { .. } => "release_started",
        What::ReleaseDone { .. } => "release_done",
        What::Healthy { .. } => "healthy",
        What::Admitted { .. } => "admitted",
        What::Unhealthy { .. } => "unhealthy",
        What::Draining { .. } => "draining",
        What::Drained { .. } => "drained",
        What::DrainTimedOut { .. } => "drain_timed_out",
        What::Removed { .. } => "removed",
        What::Crashed { .. } => "crashed",
        What::Accepted { .. }
        | What::Building { .. }
        | What::Built { .. }
        | What::Share { .. }
        | What::Paused { .. }
        | What::Resumed { .. }
        | What::Promoted { .. }
        | What::Judged { .. }
        | What::Failed { .. }
        | What::Watching { .. }
        | What::Reverting { .. }
        | What::Ended { .. }
        | What::Scaled { .. }
        | What::SettingsChanged(_)
        | What::DomainAdded { .. }
        | What::DomainRemoved { .. }
        | What::CertificateIssued { .. }
        | What::CertificateFailed { .. }
        | What::CertificateExpiring { .. }
        | What::MaintenanceBegan { .. }
        | What::MaintenanceEnded { .. }
        | What::NodeLost { .. }
        | What::QuorumAtRisk { .. }
        | What::DiskLow { .. }
        | What::NodeReturned { .. }
        | What::NodeJoined { .. }
        | What::NodeCordoned { .. }
        | What::NodeUncordoned { .. }
        | What::NodeDraining { .. }
        | What::NodeDrained { .. }
        | What::NodeRemoved { .. } => return None,
    };
    let about = what.instance().is_some_and(|(id, _)| id == instance.id);
    about.then(|| (kind, format!("{}{}", line(), ended(what, instance.exit.as_ref()))))
}

/// How an instance ended that was asked to; one that was not says so itself.
fn ended(what: &What, exit: Option<&Exit>) -> String {
    let removed = matches!(what, What::Removed { .. });
    let known = exit.filter(|exit| removed && (exit.code.is_some() || exit.signal.is_some()));
    known.map_or_else(String::new, |exit| format!(" ({})", exit.how()))
}

/// A decision, as a sentence.
fn decision(state: &ClusterState, instance: &Instance, act: Act, why: &Reason) -> String {
    let node = state.node_name(instance.node);
    let why = reason(state, instance, act, why);
    match act {
        Act::Start => format!("Started on {node} {why}"),
        Act::Withdraw => format!("Withdrawn, it gets no new requests: {why}"),
        Act::Stop => format!("Asked to end: {why}"),
    }
}

fn reason(state: &ClusterState, instance: &Instance, act: Act, why: &Reason) -> String {
    let release = instance.release;
    let starts = act == Act::Start;
    match why {
        Reason::Step { deployment, step, of } => {
            let place =
                format!("step {step} of {of} of deployment {deployment}{}", strategy(state, *deployment));
            if starts { format!("for {place}") } else { format!("another takes its place in {place}") }
        }
        Reason::Deployment { deployment } if starts => {
            format!("for deployment {deployment}, after its last step")
        }
        Reason::Deployment { deployment } => format!("deployment {deployment} replaced it"),
        Reason::ReleaseCommand { deployment } => {
            format!("to run the release command of deployment {deployment}")
        }
        Reason::Refill { deployment } => {
            format!("to keep release {release} complete while deployment {deployment} goes on")
        }
        Reason::TakenBack { deployment } => {
            let cause = state.deployments.get(deployment).and_then(|d| d.cause.as_ref());
            let cause = cause.map(|c| format!(": {}", c.sentence_with(&|node| state.node_name(node))));
            let cause = cause.unwrap_or_default();
            if starts {
                format!(
                    "as release {release} is needed again, deployment {deployment} being taken back{cause}"
                )
            } else {
                format!("deployment {deployment} is taken back{cause}")
            }
        }
        Reason::Crashed { instance } => {
            format!("in place of {instance}, which ended by itself{}", how(state, *instance))
        }
        Reason::Ended { instance } => {
            format!(
                "in place of {instance}, which something else than the application ended{}",
                how(state, *instance)
            )
        }
        Reason::Unhealthy { instance: other } if starts => {
            format!("in place of {other}, whose health check fails")
        }
        Reason::Unhealthy { .. } => "its health check fails".to_owned(),
        Reason::NodeLost { instance, node } => {
            format!("in place of {instance} on {}, which was lost", state.node_name(*node))
        }
        Reason::NodeDrained { instance, node } if starts => {
            format!("in place of {instance} on {}, which is drained", state.node_name(*node))
        }
        Reason::NodeDrained { node, .. } => format!("node {} is drained", state.node_name(*node)),
        Reason::More => "as more were wanted than ran".to_owned(),
        Reason::Fewer => "fewer are wanted".to_owned(),
        Reason::Returned { node } => {
            format!("one too many since node {} returned", state.node_name(*node))
        }
        Reason::Uncordoned { node } => {
            format!("one too many since node {} is not drained any more", state.node_name(*node))
        }
        Reason::NoProcess => format!("the release has no process {:?} any more", instance.process),
        Reason::NotCurrent => format!("release {release} is not the current one"),
        Reason::Drained => "nothing was in flight any more".to_owned(),
        Reason::TimedOut => "the drain timeout passed".to_owned(),
        Reason::Exited => {
            format!("it had ended by itself{}", how(state, instance.id))
        }
    }
}

/// ` (exit code 1)`, where it is known.
fn how(state: &ClusterState, instance: InstanceId) -> String {
    let exit = state.instances.get(&instance).and_then(|i| i.exit.as_ref());
    exit.map_or_else(String::new, |exit| format!(" ({})", exit.how()))
}

/// ` (canary)`: on what way a deployment goes.
fn strategy(state: &ClusterState, deployment: DeploymentId) -> String {
    let Some(Deployment { kind, to, .. }) = state.deployments.get(&deployment) else { return String::new() };
    let word = match (kind, state.releases.get(to).map(|r| r.spec.deploy.strategy)) {
        (Kind::Rollback { .. }, _) => "rollback",
        (Kind::Deploy, Some(Strategy::Rolling)) => "rolling",
        (Kind::Deploy, Some(Strategy::BlueGreen)) => "blue_green",
        (Kind::Deploy, Some(Strategy::Canary)) => "canary",
        (Kind::Deploy, Some(Strategy::Recreate)) => "recreate",
        (Kind::Deploy, None) => return String::new(),
    };
    format!(" ({word})")
}
