//! What an image's name means: this node is asked first, then the others that run containers.
//!
//! A name is resolved once, before a deployment; from then on the image's identity is what counts. What a
//! registry is, and how images are stored, is not known here.

use std::time::Duration;

use temps_core::model::{ClusterState, Node, NodeId, RuntimeKind};
use temps_wire::proto::{FindImageRequest, ResolveImageRequest, ResolveImageResponse};
use tonic::{Code, Status};
use tracing::info;

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::given;
use crate::parts::{FindFailed, Found};
use crate::refusal::bounded;

/// How long a node may take to look at what it has.
const FIND_WITHIN: Duration = Duration::from_secs(30);
/// How long a node may take that asks a registry first, which brings the image as well. A registry that is
/// silent is given up by the node itself long before.
const PULL_WITHIN: Duration = Duration::from_secs(20 * 60);

pub(crate) async fn resolve_image(
    desk: &Desk,
    _: Caller,
    request: ResolveImageRequest,
) -> Answer<ResolveImageResponse> {
    let reference = request.reference;
    given::reference(&reference)?;
    let state = desk.ledger.state();
    let mut said = Vec::new();
    // Once a node has answered, what the registry has is known, and asking it again from elsewhere is in vain.
    let mut pull = true;
    let here = limited(pull, desk.images.find(&reference, pull)).await;
    if let Some(found) = heard(here, &desk.name(&state), &mut pull, &mut said) {
        return Ok(answer(&state, desk.ledger.node(), &reference, found));
    }
    for node in desk.others(&state).filter(|node| node.facts.runtime == Some(RuntimeKind::Docker)) {
        let there = limited(pull, ask(desk, node, &reference, pull)).await;
        if let Some(found) = heard(there, &node.name, &mut pull, &mut said) {
            return Ok(answer(&state, node.id, &reference, found));
        }
    }
    Err(Status::not_found(bounded(if said.is_empty() {
        "no node that is up runs containers; start one with `runtime = \"docker\"`, or deploy a directory without a Dockerfile"
            .to_owned()
    } else {
        format!(
            "no node knows the image {reference} ({}); push it to its registry, or load it on one of these nodes, and try again",
            said.join("; ")
        )
    })))
}

/// Notes what a node that runs containers said, where it has no such image.
fn heard(
    answer: Result<Found, FindFailed>,
    name: &str,
    pull: &mut bool,
    said: &mut Vec<String>,
) -> Option<Found> {
    match answer {
        Ok(found) => return Some(found),
        Err(FindFailed::NoContainers) => {}
        Err(FindFailed::NotFound(why)) => {
            *pull = false;
            said.push(format!("{name}: {why}"));
        }
        Err(FindFailed::Unavailable(why)) => said.push(format!("{name}: {why}")),
    }
    None
}

fn answer(state: &ClusterState, node: NodeId, reference: &str, found: Found) -> ResolveImageResponse {
    info!(reference, id = found.id, %node, "an image's name was looked up");
    ResolveImageResponse {
        id: found.id,
        node: node.0,
        node_name: state.node_name(node),
        warning: found.warning.unwrap_or_default(),
    }
}

async fn limited(
    pull: bool,
    asking: impl Future<Output = Result<Found, FindFailed>>,
) -> Result<Found, FindFailed> {
    let limit = if pull { PULL_WITHIN } else { FIND_WITHIN };
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|_| Err(FindFailed::Unavailable(format!("no answer within {} s", limit.as_secs()))))
}

async fn ask(desk: &Desk, node: &Node, reference: &str, pull: bool) -> Result<Found, FindFailed> {
    let request = FindImageRequest { reference: reference.to_owned(), pull };
    // A node that pulls answers late, and messages of consensus must not wait behind it.
    match desk.peers.bulk(node.id, &node.control).find_image(request).await {
        Ok(found) => {
            let found = found.into_inner();
            Ok(Found { id: found.id, warning: Some(found.warning).filter(|warning| !warning.is_empty()) })
        }
        Err(status) => Err(match status.code() {
            Code::NotFound => FindFailed::NotFound(status.message().to_owned()),
            Code::FailedPrecondition => FindFailed::NoContainers,
            _ => FindFailed::Unavailable(status.message().to_owned()),
        }),
    }
}
