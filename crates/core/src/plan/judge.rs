//! Whether a deployment is to be taken back. Everything it looks at is replicated.

use super::place::candidates;
use super::prepare::is_success;
use crate::judging::finding;
use crate::model::{
    Cause, ClusterState, Deployment, Exit, Instance, Millis, NodeId, NodeStatus, Phase, RELEASE_PROCESS,
    Release, Seen, Source, Verdict, Want,
};

/// The cause, if there is one.
pub(super) fn judge(state: &ClusterState, live: &Deployment, now: Millis) -> Option<Cause> {
    if let Some(by) = &live.cancel {
        return Some(Cause::Cancelled { by: by.clone() });
    }
    let release = state.releases.get(&live.to)?;
    match live.phase {
        Phase::Building => return not_built(state, live, release, now),
        Phase::Releasing => return not_released(state, live, release, now),
        Phase::Queued
        | Phase::Stepping
        | Phase::Watching
        | Phase::Reverting
        | Phase::Succeeded
        | Phase::RolledBack
        | Phase::Failed
        | Phase::Cancelled
        | Phase::Superseded => {}
    }
    let new = || {
        let ours = state.instances.values().filter(|i| i.deployment == Some(live.id) && i.release == live.to);
        ours.filter(|i| i.process != RELEASE_PROCESS)
    };
    for instance in new().filter(|i| !i.lost) {
        if let Some(exit) = unasked(instance).filter(|_| !instance.was_ready) {
            return Some(Cause::Exited {
                instance: instance.id,
                node: instance.node,
                how: exit.how(),
                log_tail: exit.log_tail.clone(),
            });
        }
        let unhealthy = instance.seen == Seen::Unready && instance.want == Want::Run;
        if unhealthy && !is_shared(state, live, instance) {
            return Some(Cause::Unhealthy {
                instance: instance.id,
                node: instance.node,
                failures: release.spec.health.unhealthy_threshold,
                last_check: instance.last_check.clone().unwrap_or_else(|| "none".to_owned()),
                log_tail: instance.log_tail.clone(),
            });
        }
    }
    if live.crashes >= release.spec.rollback.crash_limit {
        let last = new().filter_map(unasked).next_back();
        return Some(Cause::CrashLoop {
            crashes: live.crashes,
            how: last.map_or_else(|| "unknown".to_owned(), Exit::how),
            log_tail: last.map(|e| e.log_tail.clone()).unwrap_or_default(),
        });
    }
    let found = finding(live, &release.spec.rollback, now);
    if matches!(found.verdict, Verdict::Failing | Verdict::Slow) {
        return Some(Cause::Traffic { finding: found });
    }
    if live.phase == Phase::Stepping && live.deadline.is_some_and(|deadline| now >= deadline) {
        let waiting = new().find(|i| i.counts() && !i.was_ready);
        let waiting_for = match waiting {
            Some(i) => {
                let check = i.last_check.clone().unwrap_or_else(|| "nothing reported".to_owned());
                format!("{} on {} ({check})", i.id, state.node_name(i.node))
            }
            None => {
                missing_node(state, live, release).unwrap_or_else(|| "instances to be replaced".to_owned())
            }
        };
        let log_tail = waiting.map(|i| i.log_tail.clone()).unwrap_or_default();
        return Some(Cause::Deadline { after: release.spec.deploy.deadline, waiting_for, log_tail });
    }
    None
}

/// An instance that was healthy is not at fault while the release before is not healthy either: both lack the same
/// thing. The deadline ends what this does not.
fn is_shared(state: &ClusterState, live: &Deployment, instance: &Instance) -> bool {
    let mut before = state
        .instances_of(live.environment, &instance.process)
        .filter(|i| Some(i.release) == live.from && i.release != live.to && i.counts());
    instance.was_ready && before.any(|i| i.seen == Seen::Unready)
}

/// How an instance ended by itself.
fn unasked(instance: &Instance) -> Option<&Exit> {
    instance.exit.as_ref().filter(|exit| exit.is_crash())
}

/// Why no node can run a release, where that is so.
fn missing_node(state: &ClusterState, live: &Deployment, release: &Release) -> Option<String> {
    let environment = state.environments.get(&live.environment)?;
    if candidates(state, environment, release).next().is_some() {
        return None;
    }
    let home = environment.home.filter(|_| !release.spec.volumes.is_empty());
    Some(match (home, state.up().find_map(|n| n.facts.trouble.as_ref().map(|why| (n, why)))) {
        (Some(home), _) => format!("{}, which has the volumes", state.node_name(home)),
        (None, Some((node, why))) => format!("a node that can run it ({}: {why})", node.name),
        (None, None) => "a node that takes instances".to_owned(),
    })
}

fn not_built(state: &ClusterState, live: &Deployment, release: &Release, now: Millis) -> Option<Cause> {
    if live.not_built.is_some() {
        return live.not_built.clone();
    }
    let lost_image = |node: &NodeId| state.nodes.get(node).is_none_or(|n| n.status == NodeStatus::Lost);
    if let (Source::Image { node, reference, .. }, None) = (&release.source, &release.artifact)
        && lost_image(node)
    {
        let why = format!("{reference} was only there, and the node was lost; deploy again");
        return Some(Cause::Build { node: *node, why, log_tail: Vec::new() });
    }
    live.deadline.filter(|deadline| now >= *deadline)?;
    let why = match (&release.artifact, live.builder) {
        (Some(_), _) => "no second node took a copy of the image in time".to_owned(),
        (None, Some(_)) => "it was not done in time".to_owned(),
        (None, None) => missing_node(state, live, release)
            .map_or_else(|| "it did not begin in time".to_owned(), |what| format!("it waited for {what}")),
    };
    let node = live.builder.or_else(|| state.nodes.keys().next().copied())?;
    Some(Cause::Build { node, why, log_tail: Vec::new() })
}

pub(super) fn not_released(
    state: &ClusterState,
    live: &Deployment,
    release: &Release,
    now: Millis,
) -> Option<Cause> {
    let late = live.deadline.is_some_and(|deadline| now >= deadline);
    let Some(instance) = live.command.and_then(|id| state.instances.get(&id)) else {
        let waiting_for =
            missing_node(state, live, release).unwrap_or_else(|| "its release command".to_owned());
        let after = release.spec.deploy.deadline;
        return late.then_some(Cause::Deadline { after, waiting_for, log_tail: Vec::new() });
    };
    let timeout = release.spec.release.as_ref().map_or(0, |r| r.timeout);
    let again = "whether it did anything is unknown, so it is not run again";
    let why = match &instance.exit {
        Some(exit) if is_success(exit) => return None,
        Some(exit) if exit.excused => format!("{}; {again}", exit.how()),
        Some(exit) => exit.how(),
        None if instance.lost => format!("its node was lost; {again}"),
        None if late && instance.seen == Seen::Pending => "it could not be started in time".to_owned(),
        None if late => format!("it ran longer than {}", crate::text::duration(timeout)),
        None => return None,
    };
    let log_tail = instance.exit.as_ref().map(|e| e.log_tail.clone()).unwrap_or_default();
    Some(Cause::ReleaseCommand { instance: instance.id, node: instance.node, why, log_tail })
}
