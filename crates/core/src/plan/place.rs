//! On which node, and in which place.

use std::collections::BTreeSet;

use super::converge::{Goal, holds_slot};
use crate::model::{ClusterState, NodeId, ReleaseId};

/// What this plan starts already.
#[derive(Debug, Default)]
pub(super) struct Planned(Vec<(ReleaseId, u32, NodeId)>);

impl Planned {
    pub(super) fn push(&mut self, release: ReleaseId, slot: u32, node: NodeId) {
        self.0.push((release, slot, node));
    }
}

/// The node with the fewest instances of the release's process, then of the process, then at all.
pub(super) fn node(
    state: &ClusterState,
    goal: &Goal<'_>,
    release: ReleaseId,
    planned: &Planned,
) -> Option<NodeId> {
    state.up().filter(|n| !n.cordoned).map(|n| n.id).min_by_key(|node| {
        let here = || state.instances.values().filter(|i| i.node == *node && i.occupies());
        let of_process =
            |i: &&crate::model::Instance| i.environment == goal.environment.id && i.process == goal.process;
        let new_here = planned.0.iter().filter(|(_, _, n)| n == node).count();
        let same_release = here().filter(of_process).filter(|i| i.release == release && i.counts()).count()
            + planned.0.iter().filter(|(r, _, n)| n == node && *r == release).count();
        (same_release, here().filter(of_process).count() + new_here, here().count() + new_here, *node)
    })
}

/// The lowest place that no running instance of the release holds.
pub(super) fn slot(state: &ClusterState, goal: &Goal<'_>, release: ReleaseId, planned: &Planned) -> u32 {
    let taken: BTreeSet<u32> = state
        .instances_of(goal.environment.id, goal.process)
        .filter(|i| i.release == release && holds_slot(i))
        .map(|i| i.slot)
        .chain(planned.0.iter().filter(|(r, _, _)| *r == release).map(|(_, slot, _)| *slot))
        .collect();
    (0..).find(|slot| !taken.contains(slot)).unwrap_or(0)
}
