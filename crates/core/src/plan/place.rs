//! On which node, and in which place.

use std::collections::BTreeSet;

use super::converge::{Goal, holds_slot};
use super::leave::leaves;
use crate::model::{ClusterState, Environment, Instance, Node, NodeId, Release, ReleaseId};

/// What this plan starts already.
#[derive(Debug, Default)]
pub(super) struct Planned(Vec<(ReleaseId, u32, NodeId)>);

impl Planned {
    pub(super) fn push(&mut self, release: ReleaseId, slot: u32, node: NodeId) {
        self.0.push((release, slot, node));
    }
}

/// Nodes that can run instances of a release: they count, take instances, have what runs it and the labels it
/// requires. Where it has volumes, only the one that has them, or that will: all of one plan must come together.
pub(super) fn candidates<'a>(
    state: &'a ClusterState,
    environment: &'a Environment,
    release: &'a Release,
) -> impl Iterator<Item = &'a Node> {
    let able = || {
        state
            .up()
            .filter(|n| !n.cordoned && n.facts.trouble.is_none() && n.can_run(release.source.runtime()))
            .filter(|n| n.has_labels(&release.spec.placement.require))
    };
    let emptiest = || able().map(|n| n.id).min_by_key(|id| (load(state, *id), *id));
    let volumes = !release.spec.volumes.is_empty();
    let home = volumes.then(|| environment.home.or_else(emptiest)).flatten();
    able().filter(move |n| home.is_none_or(|home| home == n.id))
}

/// How many instances a node has.
fn load(state: &ClusterState, node: NodeId) -> usize {
    state.instances.values().filter(|i| i.node == node && i.occupies()).count()
}

/// The candidate with the fewest instances of the release's process, then of the process, then at all. Where
/// instances are spread over a label's values, the fewest for its value come first.
pub(super) fn node(
    state: &ClusterState,
    goal: &Goal<'_>,
    release: ReleaseId,
    planned: &Planned,
) -> Option<NodeId> {
    let release = state.releases.get(&release)?;
    let spread = release.spec.placement.spread.as_str();
    let zone = |id: NodeId| state.nodes.get(&id).and_then(|n| n.facts.labels.get(spread));
    let of_process =
        |i: &&Instance| i.environment == goal.environment.id && i.process == goal.process && i.occupies();
    candidates(state, goal.environment, release).map(|n| n.id).min_by_key(|node| {
        let here = || state.instances.values().filter(|i| i.node == *node && i.occupies());
        let new_here = planned.0.iter().filter(|(_, _, n)| n == node).count();
        let same_release =
            here().filter(of_process).filter(|i| i.release == release.id && i.counts()).count()
                + planned.0.iter().filter(|(r, _, n)| n == node && *r == release.id).count();
        let same_zone = if spread == "node" {
            0
        } else {
            let in_zone = |id: NodeId| zone(id) == zone(*node);
            let running = state.instances.values().filter(of_process);
            running.filter(|i| i.release == release.id && i.counts() && in_zone(i.node)).count()
                + planned.0.iter().filter(|(r, _, n)| *r == release.id && in_zone(*n)).count()
        };
        let on_node = here().filter(of_process).count() + new_here;
        (same_zone, same_release, on_node, here().count() + new_here, *node)
    })
}

/// Where something of a release that is not an instance of a process is done: on a candidate that has the file
/// already, if one has; the one with the fewest instances.
pub(super) fn errand(
    state: &ClusterState,
    environment: &Environment,
    release: &Release,
    file: Option<&str>,
) -> Option<NodeId> {
    candidates(state, environment, release)
        .min_by_key(|n| {
            let lacks = file.is_some_and(|digest| !n.artifacts.contains(digest));
            (lacks, load(state, n.id), n.id)
        })
        .map(|n| n.id)
}

/// The lowest place that no running instance of the release holds.
pub(super) fn slot(state: &ClusterState, goal: &Goal<'_>, release: ReleaseId, planned: &Planned) -> u32 {
    let taken: BTreeSet<u32> = state
        .instances_of(goal.environment.id, goal.process)
        .filter(|i| i.release == release && holds_slot(i) && !leaves(state, i))
        .map(|i| i.slot)
        .chain(planned.0.iter().filter(|(r, _, _)| *r == release).map(|(_, slot, _)| *slot))
        .collect();
    (0..).find(|slot| !taken.contains(slot)).unwrap_or(0)
}
