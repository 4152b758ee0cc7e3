//! Bundles on their way into the cluster: on two nodes, where there are two, before anybody relies on them.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use temps_core::model::{ClusterState, Node};
use temps_wire::proto::{
    BundleChunk, FetchArtifactRequest, HasBundleRequest, HasBundleResponse, PutBundleResponse,
};
use tonic::{Status, Streaming};
use tracing::{info, warn};

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::limits;
use crate::refusal::unstored;
use crate::transfer::{self, Incoming};

/// How long another node may take to say whether it has a bundle.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// How long a copy may take, and how much longer for each megabyte.
const COPY_WITHIN: Duration = Duration::from_secs(15);
const COPY_PER_MEGABYTE: Duration = Duration::from_secs(1);

pub(crate) async fn put_bundle(
    desk: &Desk,
    _: Caller,
    chunks: Streaming<BundleChunk>,
) -> Answer<PutBundleResponse> {
    take(desk, transfer::receive(chunks).await?).await
}

/// Has it on two nodes, where there are two, once this returns.
pub(crate) async fn take(desk: &Desk, incoming: Incoming) -> Answer<PutBundleResponse> {
    let (digest, bytes) = (incoming.digest.clone(), incoming.bytes);
    if desk.artifacts.has(&digest).await {
        transfer::discard(incoming).await?;
    } else {
        desk.artifacts.store(&digest, bytes, incoming.content).await.map_err(|e| unstored(&e))?;
    }
    let nodes = spread(desk, &digest).await?;
    info!(%digest, bytes, ?nodes, "a bundle is stored");
    Ok(PutBundleResponse { nodes })
}

pub(crate) async fn has_bundle(
    desk: &Desk,
    _: Caller,
    request: HasBundleRequest,
) -> Answer<HasBundleResponse> {
    limits::digest_form(&request.digest)?;
    // Stored on one node alone is not stored; sending it again puts that right where this does not.
    let stored = if desk.artifacts.has(&request.digest).await {
        spread(desk, &request.digest).await.is_ok()
    } else {
        let state = desk.ledger.state();
        holders(&state, &request.digest) >= 2.min(state.up().count().max(1))
    };
    Ok(HasBundleResponse { stored })
}

/// Whether any reachable node has it.
pub(crate) async fn is_anywhere(desk: &Desk, digest: &str) -> bool {
    let state = desk.ledger.state();
    if desk.artifacts.has(digest).await || holders(&state, digest) > 0 {
        return true;
    }
    // Nodes report what they store a little later than they store it.
    let asked: Vec<_> = desk.others(&state).map(|node| holds(desk, node, digest)).collect();
    futures_util::future::join_all(asked).await.contains(&true)
}

fn holders(state: &ClusterState, digest: &str) -> usize {
    state.up().filter(|node| node.artifacts.contains(digest)).count()
}

/// Makes sure that another node has it too, where the cluster has another; names both.
async fn spread(desk: &Desk, digest: &str) -> Answer<Vec<String>> {
    let state = desk.ledger.state();
    let own = desk.name(&state);
    if state.nodes.len() <= 1 {
        return Ok(vec![own]);
    }
    let mut others: Vec<_> = desk.others(&state).collect();
    others.sort_by_key(|node| (!node.artifacts.contains(digest), node.cordoned, node.id));
    let mut tried = Vec::new();
    for node in others {
        match hold(desk, node, digest).await {
            Ok(()) => return Ok(vec![own, node.name.clone()]),
            Err(status) => {
                warn!(node = %node.id, %digest, status = status.message(), "a bundle could not be copied");
                tried.push(format!("{}: {}", node.name, status.message()));
            }
        }
    }
    let tried = if tried.is_empty() { "no other node is up".to_owned() } else { tried.join("; ") };
    Err(Status::unavailable(format!(
        "the bundle is stored on {own} alone, and a second node is needed in case that one is lost ({tried})"
    )))
}

/// Copies it to a node unless that has it.
async fn hold(desk: &Desk, node: &Node, digest: &str) -> Answer<()> {
    if holds(desk, node, digest).await {
        return Ok(());
    }
    let stored = desk.artifacts.open(digest, 0).await.map_err(|e| unstored(&e))?;
    let megabytes = u32::try_from(stored.bytes >> 20).unwrap_or(u32::MAX);
    let within = COPY_WITHIN + COPY_PER_MEGABYTE * megabytes;
    // Nothing follows an error, so where reading fails the copy ends early and the other node refuses it.
    let chunks = transfer::chunks(digest, stored).filter_map(|chunk| std::future::ready(chunk.ok())).boxed();
    let mut client = desk.peers.bulk(node.id, &node.control);
    let copying = client.store_artifact(chunks).boxed();
    match tokio::time::timeout(within, copying).await {
        Ok(answer) => answer.map(|_| ()),
        Err(_) => Err(Status::deadline_exceeded("it takes too long")),
    }
}

/// Whether a node has it, which its announcement says.
async fn holds(desk: &Desk, node: &Node, digest: &str) -> bool {
    let request = FetchArtifactRequest { digest: digest.to_owned(), offset: 0 };
    let mut client = desk.peers.bulk(node.id, &node.control);
    let ask = async { client.fetch_artifact(request).await?.into_inner().message().await };
    // Only the announcement is read; dropping the stream ends it.
    matches!(tokio::time::timeout(ASK_WITHIN, ask).await, Ok(Ok(Some(_))))
}
