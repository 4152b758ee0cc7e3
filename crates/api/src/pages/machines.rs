//! Nodes: the list, and one with what runs there, what is left on it and what happened to it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use temps_core::model::NodeId;
use temps_core::removal;
use temps_core::written::duration;
use temps_ledger::wall;
use temps_wire::machine;
use temps_wire::proto::{
    CordonNodeRequest, CreateJoinTokenRequest, DrainNodeRequest, GetNodeRequest, Instance, ListNodesRequest,
    Node, NodeDetail, RemoveNodeRequest, StatusRequest, UncordonNodeRequest,
};
use tonic::Status;

use super::frame::Frame;
use super::lists::Once;
use super::sorry::Sorry;
use super::visitor::{Fields, Posted, Visitor};
use super::{Page, show, words};
use crate::desk::Desk;
use crate::operations::Operations;
use crate::refusal::refused;

/// How long machines may take to join unless asked otherwise.
const JOIN_WITHIN: &str = "1h";

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
    instances: Vec<Instance>,
    /// For whoever may remove it, once it can be.
    removal: Option<Removal>,
    /// The day it is, by UTC.
    today: String,
}

impl One {
    fn is_past(&self, wall_ms: &u64) -> bool {
        words::date(wall_ms) != self.today
    }
}

/// What comes of removing a node.
struct Removal {
    /// What it means.
    question: String,
    /// What keeps it from being removed as it is; empty where nothing does.
    why: String,
    /// It can be removed all the same, and data is lost with it.
    forces: bool,
}

impl Removal {
    async fn of(desk: &Desk, node: &Node) -> Self {
        let state = desk.at_hand().await.state;
        let id = NodeId(node.id);
        let why = removal::check(&state, id, false).err();
        Self {
            question: machine::removal(node),
            forces: why.is_some() && removal::check(&state, id, true).is_ok(),
            why: why.map(|why| refused(&why).message().to_owned()).unwrap_or_default(),
        }
    }
}

/// What colour the tag of a node has.
pub(super) fn tone(n: &Node) -> &'static str {
    match n.status.as_str() {
        "lost" => "bad",
        _ if !n.trouble.is_empty() || (n.draining && !n.drained) => "busy",
        _ if n.cordoned || n.draining => "",
        _ => "good",
    }
}

pub(super) async fn list(visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let nodes = Operations::list_nodes(desk, visitor.caller.clone(), ListNodesRequest {}).await?.nodes;
    show(&List { frame: Frame::new(&visitor, "/nodes").await, nodes })
}

pub(super) async fn one(Path(node): Path<u64>, visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let caller = || visitor.caller.clone();
    let detail = Operations::get_node(desk, caller(), GetNodeRequest { node }).await?;
    let node = detail.node.clone().ok_or_else(|| Status::internal("it has no head"))?;
    let status = Operations::status(desk, caller(), StatusRequest::default()).await?;
    let all = status.environments.into_iter().flat_map(|e| e.instances);
    let instances = all.filter(|i| i.node == node.name).collect();
    let frame = Frame::new(&visitor, "/nodes").await;
    let is_ready = node.drained || node.status == "lost";
    let removal = if frame.is_admin() && is_ready { Some(Removal::of(desk, &node).await) } else { None };
    show(&One { frame, node, detail, instances, removal, today: words::date(&wall()) })
}

/// A token with which machines join, and how it is used.
pub(super) async fn join(State(desk): State<Desk>, posted: Posted) -> Page {
    let asked = token(&posted.fields)?;
    let made = Operations::create_join_token(&desk, posted.visitor.caller.clone(), asked).await?;
    let here = desk.ledger.state().nodes.get(&desk.ledger.node()).map(|node| node.control.clone());
    let secret = format!("temps server --join {} --token {}", here.unwrap_or_default(), made.token);
    let machines = if asked.uses == 1 { "On the new machine" } else { "On each new machine" };
    let admits = machine::admits(asked.ttl_ms, asked.uses);
    let what = format!("{admits}. {machines}, with its own --data-dir and --config:");
    let frame = Frame::new(&posted.visitor, "/nodes").await;
    show(&Once { frame, what: &what, secret: &secret, back: "/nodes" })
}

fn token(fields: &Fields) -> Result<CreateJoinTokenRequest, Status> {
    let given = |name: &str, otherwise: &'static str| match fields.get(name) {
        "" => otherwise.to_owned(),
        text => text.to_owned(),
    };
    let ttl_ms = duration::parse(&given("ttl", JOIN_WITHIN))
        .map_err(|why| Status::invalid_argument(format!("how long it can be used: {why}")))?;
    let uses = given("uses", "1");
    let uses =
        uses.parse().map_err(|_| Status::invalid_argument(format!("{uses:?} is no number of machines")))?;
    // To the API these mean that nothing was asked for.
    if ttl_ms == 0 || uses == 0 {
        let why = "a token that is valid for no time, or for no machine, lets nobody join";
        return Err(Status::invalid_argument(why));
    }
    Ok(CreateJoinTokenRequest { ttl_ms, uses })
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
            let force = posted.fields.is_set("force");
            Operations::remove_node(&desk, caller, RemoveNodeRequest { node, force }).await?;
            return Ok(Redirect::to("/nodes").into_response());
        }
        other => return Err(Sorry(Status::not_found(format!("there is no button {other:?}")))),
    }
    Ok(Redirect::to(&format!("/nodes/{node}")).into_response())
}
