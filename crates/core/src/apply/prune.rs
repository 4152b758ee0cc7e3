//! What is forgotten, so that the state stays small.

use std::collections::BTreeSet;

use super::KEYS_KEPT;
use crate::model::{ClusterState, DeploymentId, EventId, InstanceId, Want};

/// Ended deployments that are remembered of one environment.
pub(super) const DEPLOYMENTS_KEPT: usize = 50;
/// Gone instances without a remembered deployment, and events without one, that are remembered.
const LOOSE_KEPT: usize = 1_000;

pub(super) fn prune(state: &mut ClusterState) {
    while state.answered_order.len() > KEYS_KEPT {
        if let Some((_, key)) = state.answered_order.pop_first() {
            state.answered.remove(&key);
        }
    }
    let ended = state.deployments.values().filter(|d| d.phase.is_terminal()).count();
    let loose = state.instances.len() + state.events.len();
    // The common entry forgets nothing and pays nothing more for it.
    if ended > DEPLOYMENTS_KEPT || loose > LOOSE_KEPT * 2 {
        forget(state);
    }
}

fn forget(state: &mut ClusterState) {
    let kept_releases = state.kept_releases();
    let mut forgotten = BTreeSet::<DeploymentId>::new();
    for environment in state.environments.keys() {
        let ended = state.deployments_of(*environment).filter(|d| d.phase.is_terminal());
        let old = ended.skip(DEPLOYMENTS_KEPT);
        forgotten.extend(old.filter(|d| !kept_releases.contains(&d.to)).map(|d| d.id));
    }
    state.deployments.retain(|id, _| !forgotten.contains(id));
    state.events.retain(|_, e| e.deployment.is_none_or(|d| !forgotten.contains(&d)));

    let known = &state.deployments;
    let is_loose = |d: Option<DeploymentId>| d.is_none_or(|d| !known.contains_key(&d));
    let loose: Vec<InstanceId> = state
        .instances
        .values()
        .filter(|i| i.want == Want::Gone && is_loose(i.deployment))
        .map(|i| i.id)
        .collect();
    for id in oldest(&loose) {
        state.instances.remove(id);
    }
    let loose: Vec<EventId> =
        state.events.values().filter(|e| e.deployment.is_none()).map(|e| e.id).collect();
    for id in oldest(&loose) {
        state.events.remove(id);
    }
    let mut used: BTreeSet<_> =
        state.deployments.values().flat_map(|d| d.from.into_iter().chain([d.to])).collect();
    used.extend(state.instances.values().map(|i| i.release));
    used.extend(kept_releases);
    state.releases.retain(|id, _| used.contains(id));
}

fn oldest<T>(ids: &[T]) -> &[T] {
    &ids[..ids.len().saturating_sub(LOOSE_KEPT)]
}
