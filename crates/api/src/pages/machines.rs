//! Nodes: the list, and one with what is left on it and what happened to it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use temps_wire::proto::{
    CordonNodeRequest, CreateJoinTokenRequest, DrainNodeRequest, GetNodeRequest, ListNodesRequest, Node,
    NodeDetail, RemoveNodeRequest, UncordonNodeRequest,
};
use tonic::Status;

use super::frame::Frame;
use super::lists::Once;
use super::sorry::Sorry;
use super::visitor::{Posted, Visitor};
use super::{Page, show, words};
use crate::desk::Desk;
use crate::operations::Operations;

/// How long a machine may take to join, in milliseconds.
const JOIN_TTL: u64 = 3_600_000;

#[derive(Template)]
#[template(path = "nodes.html")]
struct List {
    frame: Frame,
    nodes: Vec<Node>,
}

#[derive(Template)]
#[template(path = "node.html")]
struct One {
    frame: Frame,
    node: Node,
    detail: NodeDetail,
}

pub(super) async fn list(visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let nodes = Operations::list_nodes(desk, visitor.caller.clone(), ListNodesRequest {}).await?.nodes;
    show(&List { frame: Frame::new(&visitor, "/nodes").await, nodes })
}

pub(super) async fn one(Path(node): Path<u64>, visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let detail = Operations::get_node(desk, visitor.caller.clone(), GetNodeRequest { node }).await?;
    let node = detail.node.clone().ok_or_else(|| Status::internal("it has no head"))?;
    show(&One { frame: Frame::new(&visitor, "/nodes").await, node, detail })
}

/// A token with which one machine joins, and how it is used.
pub(super) async fn join(State(desk): State<Desk>, posted: Posted) -> Page {
    let asked = CreateJoinTokenRequest { ttl_ms: JOIN_TTL, uses: 1 };
    let made = Operations::create_join_token(&desk, posted.visitor.caller.clone(), asked).await?;
    let here = desk.ledger.state().nodes.get(&desk.ledger.node()).map(|node| node.control.clone());
    let secret = format!("temps server --join {} --token {}", here.unwrap_or_default(), made.token);
    let what = "On the new machine, within an hour, with its own --data-dir and --config";
    let frame = Frame::new(&posted.visitor, "/nodes").await;
    show(&Once { frame, what, secret: &secret, back: "/nodes" })
}

pub(super) async fn act(
    State(desk): State<Desk>,
    Path((node, action)): Path<(u64, String)>,
    posted: Posted,
) -> Page {
    let caller = posted.visitor.caller;
    match action.as_str() {
        "cordon" => drop(Operations::cordon_node(&desk, caller, CordonNodeRequest { node }).await?),
        "uncordon" => drop(Operations::uncordon_node(&desk, caller, UncordonNodeRequest { node }).await?),
        "drain" => drop(Operations::drain_node(&desk, caller, DrainNodeRequest { node }).await?),
        "remove" => {
            Operations::remove_node(&desk, caller, RemoveNodeRequest { node, force: false }).await?;
            return Ok(Redirect::to("/nodes").into_response());
        }
        other => return Err(Sorry(Status::not_found(format!("there is no button {other:?}")))),
    }
    Ok(Redirect::to(&format!("/nodes/{node}")).into_response())
}
