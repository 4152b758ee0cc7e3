//! What comes before the first new instance: the image is made and copied, the release command runs.
//! Until then nothing has changed for users.

use super::{Plan, judge, place};
use crate::assignment::COPIES;
use crate::command::Action;
use crate::model::{
    Cause, ClusterState, Deployment, Environment, Exit, Millis, Node, NodeId, NodeStatus, Phase, Release,
    Source,
};
use crate::schema;

/// Goes on with a deployment that is building or releasing.
pub(super) fn prepare(
    state: &ClusterState,
    environment: &Environment,
    live: &Deployment,
    now: Millis,
    plan: &mut Plan,
) {
    if let Some(deadline) = live.deadline {
        plan.due(now, deadline);
    }
    let Some(release) = state.releases.get(&live.to) else { return };
    let action = match live.phase {
        Phase::Building => build(state, environment, live, release),
        Phase::Releasing => command(state, environment, live, release),
        Phase::Queued
        | Phase::Stepping
        | Phase::Watching
        | Phase::Reverting
        | Phase::Succeeded
        | Phase::RolledBack
        | Phase::Failed
        | Phase::Cancelled
        | Phase::Superseded => None,
    };
    let goes_on = matches!(action, Some(Action::Proceed { .. }));
    plan.actions.extend(action.filter(|_| !goes_on || live.paused.is_none()));
}

/// The image is to be made once, and to be on so many nodes that losing one loses nothing.
fn build(
    state: &ClusterState,
    environment: &Environment,
    live: &Deployment,
    release: &Release,
) -> Option<Action> {
    let builds = |id: NodeId| state.nodes.get(&id).is_some_and(|n| n.status == NodeStatus::Up);
    if let Some(image) = &release.artifact {
        let has = |n: &&Node| n.artifacts.contains(&image.digest);
        // What a node that is being emptied has is about to go.
        if state.staying().filter(has).count() >= COPIES.min(state.staying().count()).max(1) {
            return Some(Action::Proceed { deployment: live.id });
        }
        if state.up().any(|n| has(&n)) {
            return None;
        }
        // The only node that had it is lost: it is made again.
    } else if live.builder.is_some_and(builds) {
        return None;
    }
    let node = match &release.source {
        // Only who has the image can hand it out.
        Source::Image { node, .. } => Some(*node).filter(|node| builds(*node)),
        Source::Build { .. } | Source::Bundle { .. } => {
            let file = release.source.stored().map(|a| a.digest.as_str());
            place::errand(state, environment, release, file)
        }
    };
    Some(Action::Build { deployment: live.id, node: node? })
}

/// The release command is started once; how it ended was judged before.
fn command(
    state: &ClusterState,
    environment: &Environment,
    live: &Deployment,
    release: &Release,
) -> Option<Action> {
    let Some(id) = live.command else {
        let file = release.artifact.as_ref().map(|a| a.digest.as_str());
        let node = place::errand(state, environment, release, file)?;
        return Some(Action::RunReleaseCommand { deployment: live.id, node });
    };
    let exit = state.instances.get(&id).and_then(|i| i.exit.as_ref());
    exit.filter(|exit| is_success(exit)).map(|_| Action::Proceed { deployment: live.id })
}

/// What takes something away from the schema comes last: once nothing of another release is left on any node.
pub(super) fn contract(
    state: &ClusterState,
    environment: &Environment,
    live: &Deployment,
    now: Millis,
    plan: &mut Plan,
) {
    let Some(release) = state.releases.get(&live.to) else { return };
    let deadline = live.deadline.unwrap_or(now);
    if live.command.is_none() && !schema::is_gone(state, |of| of != live.to, environment) {
        if plan.due(now, deadline) {
            let waiting_for = "instances of the release before to be gone on every node".to_owned();
            let after = release.spec.deploy.deadline;
            let cause = Cause::Deadline { after, waiting_for, log_tail: Vec::new() };
            plan.actions.push(Action::Fail { deployment: live.id, cause });
        }
        return;
    }
    if release.spec.release.is_none() {
        plan.actions.push(Action::End { deployment: live.id, phase: Phase::Succeeded });
    } else if let Some(cause) = judge::not_released(state, live, release, now) {
        plan.actions.push(Action::Fail { deployment: live.id, cause });
    } else {
        plan.due(now, deadline);
        plan.actions.extend(command(state, environment, live, release));
    }
}

/// Whether a release command did what it had to do.
pub(super) fn is_success(exit: &Exit) -> bool {
    exit.code == Some(0) && exit.error.is_none() && !exit.asked && !exit.excused
}
