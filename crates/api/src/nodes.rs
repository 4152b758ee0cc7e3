//! Machines that are emptied, and that leave for good.

use std::time::Duration;

use temps_core::command::Command;
use temps_core::drain::{self, Left, Stay};
use temps_core::model::{ClusterState, Event, Node, NodeId, NodeStatus, What};
use temps_core::removal;
use temps_wire::proto::{
    self, CordonNodeRequest, DrainNodeRequest, GetNodeRequest, LeftOnNode, NodeChanged, NodeDetail,
    RemoveNodeRequest, UncordonNodeRequest,
};
use tonic::Status;
use tracing::warn;

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::refusal::{bounded, refused};
use crate::views;

/// How many of a machine's newest events are shown.
const EVENTS: usize = 20;
/// How long an answer waits until the log's members are changed. Whoever leads goes on with it.
const MEMBERS: Duration = Duration::from_secs(5);

pub(crate) async fn get_node(desk: &Desk, _: Caller, request: GetNodeRequest) -> Answer<NodeDetail> {
    let state = desk.at_hand().await.state;
    let node = found(&state, NodeId(request.node))?;
    let leader = desk.ledger.leadership().borrow().leader;
    let events: Vec<_> = state.events.values().filter(|e| is_about(e, node.id)).collect();
    let newest = events.iter().skip(events.len().saturating_sub(EVENTS));
    let left = if node.draining { drain::left(&state, node.id) } else { Vec::new() };
    Ok(NodeDetail {
        node: Some(views::node(&state, node, leader)),
        left: left.iter().map(|left| on_node(&state, node, left)).collect(),
        events: newest.map(|e| views::event(&state, e)).collect(),
    })
}

pub(crate) async fn cordon(desk: &Desk, caller: Caller, request: CordonNodeRequest) -> Answer<NodeChanged> {
    change(desk, &caller, Command::CordonNode { node: NodeId(request.node) }).await
}

pub(crate) async fn uncordon(
    desk: &Desk,
    caller: Caller,
    request: UncordonNodeRequest,
) -> Answer<NodeChanged> {
    change(desk, &caller, Command::UncordonNode { node: NodeId(request.node) }).await
}

pub(crate) async fn drain(desk: &Desk, caller: Caller, request: DrainNodeRequest) -> Answer<NodeChanged> {
    change(desk, &caller, Command::DrainNode { node: NodeId(request.node) }).await
}

/// First another node leads, then the state knows it no more, then it is no member of the log. What is missing
/// of that when this node ends is done by whoever leads.
pub(crate) async fn remove(desk: &Desk, caller: Caller, request: RemoveNodeRequest) -> Answer<NodeChanged> {
    let RemoveNodeRequest { node, force } = request;
    let node = NodeId(node);
    let state = desk.fresh().await?;
    let known = state.nodes.contains_key(&node);
    if !known && !state.removed.contains_key(&node) {
        return Err(Status::not_found(format!("there is no node {node}")));
    }
    if known {
        removal::check(&state, node, force).map_err(|why| refused(&why))?;
        let yielded = desk.membership.yield_leadership(node).await;
        yielded.map_err(|why| {
            Status::unavailable(bounded(format!("{node} leads, and no other node takes over: {why}")))
        })?;
        desk.propose(&caller, Command::RemoveNode { node, force }).await?;
    }
    // One that was removed is not heard by the others.
    if node != desk.ledger.node() {
        match tokio::time::timeout(MEMBERS, desk.membership.remove_member(node)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => warn!(%node, why, "it is still a member of the log; whoever leads goes on"),
            Err(_) => warn!(%node, "it is still a member of the log; whoever leads goes on"),
        }
    }
    Ok(NodeChanged { no_change: !known })
}

async fn change(desk: &Desk, caller: &Caller, command: Command) -> Answer<NodeChanged> {
    Ok(NodeChanged { no_change: desk.change(caller, command).await? })
}

/// Machines that do not simply take part.
pub(crate) fn noteworthy(state: &ClusterState, leader: Option<NodeId>) -> Vec<proto::Node> {
    let is_plain = |n: &&Node| n.status == NodeStatus::Up && !n.cordoned && n.facts.trouble.is_none();
    let others = state.nodes.values().filter(|n| !is_plain(n));
    others.map(|n| views::node(state, n, leader)).collect()
}

fn found(state: &ClusterState, id: NodeId) -> Answer<&Node> {
    state.nodes.get(&id).ok_or_else(|| match state.removed.get(&id) {
        Some(name) => Status::not_found(format!("node {name} was removed from the cluster")),
        None => Status::not_found(format!("there is no node {id}")),
    })
}

/// What happened to a machine itself; each is in the timelines of deployments, too, and only once here.
fn is_about(event: &Event, id: NodeId) -> bool {
    let about = matches!(
        &event.what,
        What::NodeJoined { node }
            | What::NodeLost { node }
            | What::QuorumAtRisk { node, .. }
            | What::DiskLow { node, .. }
            | What::NodeReturned { node }
            | What::NodeCordoned { node, .. }
            | What::NodeUncordoned { node, .. }
            | What::NodeDraining { node, .. }
            | What::NodeDrained { node }
            | What::NodeRemoved { node, .. } if *node == id
    );
    about && event.deployment.is_none()
}

fn on_node(state: &ClusterState, node: &Node, left: &Left) -> LeftOnNode {
    let why = left.sentence(state, &node.name);
    let of = |environment| views::names(state, state.environments.get(&environment));
    match left {
        Left::Instance(id, stay) => {
            let Some(instance) = state.instances.get(id) else { return LeftOnNode::default() };
            let (project, environment) = of(instance.environment);
            LeftOnNode {
                instance: id.to_string(),
                project,
                environment,
                process: instance.process.clone(),
                state: views::instance_state(instance).to_owned(),
                why,
                stuck: matches!(stay, Stay::Stuck(_)),
            }
        }
        Left::Build(id) => {
            let (project, environment) =
                state.deployments.get(id).map(|d| of(d.environment)).unwrap_or_default();
            LeftOnNode { project, environment, state: "building".to_owned(), why, ..LeftOnNode::default() }
        }
        Left::Copy(id) => {
            let (project, environment) =
                state.releases.get(id).map(|r| of(r.environment)).unwrap_or_default();
            LeftOnNode { project, environment, state: "copying".to_owned(), why, ..LeftOnNode::default() }
        }
    }
}
