//! Which nodes count: judged by the leader's own monotonic clock alone.

use std::collections::BTreeMap;
use std::time::Duration;

use temps_core::command::Command;
use temps_core::model::{ClusterState, NodeId, NodeStatus};

/// The change of standing that follows from how long each node has been silent, if any does.
///
/// The leader itself always counts. Another node without an entry in `silence` keeps its standing.
pub(crate) fn liveness(
    state: &ClusterState,
    leader: NodeId,
    silence: &BTreeMap<NodeId, Duration>,
    lease: Duration,
) -> Option<Command> {
    let (mut lost, mut back) = (Vec::new(), Vec::new());
    let own = (&leader, &Duration::ZERO);
    for (id, silent) in silence.iter().filter(|(id, _)| **id != leader).chain([own]) {
        match state.nodes.get(id).map(|n| n.status) {
            Some(NodeStatus::Up) if *silent > lease => lost.push(*id),
            Some(NodeStatus::Lost) if *silent < lease / 2 => back.push(*id),
            Some(NodeStatus::Up | NodeStatus::Lost) | None => {}
        }
    }
    (!lost.is_empty() || !back.is_empty()).then_some(Command::Liveness { lost, back })
}
