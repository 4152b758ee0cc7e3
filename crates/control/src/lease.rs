//! Which nodes count: judged by the leader's own monotonic clock alone.

use std::collections::BTreeMap;
use std::time::Duration;

use temps_core::command::Command;
use temps_core::model::{ClusterState, NodeId, NodeStatus};

/// The change of standing that follows from how long each node has been silent, if any does.
///
/// A node without an entry in `silence` is this one, or not heard of yet: it keeps its standing,
/// except that the leader itself always counts.
pub(crate) fn liveness(
    state: &ClusterState,
    silence: &BTreeMap<NodeId, Duration>,
    lease: Duration,
) -> Option<Command> {
    let (mut lost, mut back) = (Vec::new(), Vec::new());
    for (id, silent) in silence {
        match state.nodes.get(id).map(|n| n.status) {
            Some(NodeStatus::Up) if *silent > lease => lost.push(*id),
            Some(NodeStatus::Lost) if *silent < lease / 2 => back.push(*id),
            Some(NodeStatus::Up | NodeStatus::Lost) | None => {}
        }
    }
    (!lost.is_empty() || !back.is_empty()).then_some(Command::Liveness { lost, back })
}
