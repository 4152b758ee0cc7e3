//! What other nodes ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use temps_core::model::{DeploymentId, InstanceId, NodeId};
use temps_wire::proto::peer_server::Peer;
use temps_wire::proto::{
    ArtifactChunk, BuildLinesRequest, FetchArtifactRequest, FindImageRequest, FindImageResponse,
    InstanceLogLine, InstanceLogsRequest, NodeHistoryRequest, NodeHistoryResponse, ProposeRequest,
    ProposeResponse, RaftMessage, ReadIndexRequest, ReadIndexResponse, StoreArtifactResponse,
};
use temps_wire::serve::PeerIdentity;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use crate::desk::{Answer, Desk, Lines};
use crate::parts::FindFailed;
use crate::refusal::{bounded, unstored};
use crate::{given, history, limits, transfer};

/// How many artifacts one node reads from this one at a time; what it asks for beyond these waits.
const STREAMS: usize = 2;

/// The desk as other nodes see it.
pub(crate) struct Colleagues {
    desk: Desk,
    /// For each node, how many more artifacts it may read now.
    reading: Mutex<BTreeMap<NodeId, Arc<Semaphore>>>,
}

impl Colleagues {
    pub(crate) fn new(desk: Desk) -> Self {
        Self { desk, reading: Mutex::default() }
    }

    fn reading(&self, node: NodeId) -> Arc<Semaphore> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(reading.entry(node).or_insert_with(|| Arc::new(Semaphore::new(STREAMS))))
    }

    /// The node at the other end.
    ///
    /// A node that this state does not know yet was admitted by entries that have not arrived here,
    /// and may be the one to bring them; numbers are never given out twice. One that the state has
    /// left behind was removed.
    fn node_of<T>(&self, request: &Request<T>) -> Answer<NodeId> {
        let Some(PeerIdentity(Some(node))) = request.extensions().get::<PeerIdentity>().copied() else {
            return Err(Status::unauthenticated("a node's certificate is needed"));
        };
        let state = self.desk.ledger.state();
        if state.nodes.contains_key(&node) || node.0 > state.last.node {
            return Ok(node);
        }
        Err(Status::permission_denied(format!("node {node} was removed from the cluster")))
    }
}

#[tonic::async_trait]
impl Peer for Colleagues {
    type FetchArtifactStream = Lines<ArtifactChunk>;
    type BuildLinesStream = Lines<InstanceLogLine>;
    type InstanceLogsStream = Lines<InstanceLogLine>;

    async fn raft(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        let from = self.node_of(&request)?;
        let RaftMessage { kind, body } = request.into_inner();
        let body = self.desk.consensus.raft(from, &kind, body).await.map_err(Status::unavailable)?;
        Ok(Response::new(RaftMessage { kind, body }))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        self.node_of(&request)?;
        Ok(Response::new(self.desk.consensus.propose(request.into_inner()).await))
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        self.node_of(&request)?;
        Ok(Response::new(self.desk.consensus.read_index().await))
    }

    async fn fetch_artifact(
        &self,
        request: Request<FetchArtifactRequest>,
    ) -> Result<Response<Self::FetchArtifactStream>, Status> {
        let node = self.node_of(&request)?;
        let FetchArtifactRequest { digest, offset } = request.into_inner();
        limits::digest_form(&digest)?;
        let stored = self.desk.artifacts.open(&digest, offset).await.map_err(|e| unstored(&e))?;
        Ok(Response::new(transfer::chunks_in_turn(&digest, stored, self.reading(node))))
    }

    async fn store_artifact(
        &self,
        request: Request<Streaming<ArtifactChunk>>,
    ) -> Result<Response<StoreArtifactResponse>, Status> {
        self.node_of(&request)?;
        let incoming = transfer::receive(request.into_inner()).await?;
        if self.desk.artifacts.has(&incoming.digest).await {
            transfer::discard(incoming).await?;
        } else {
            let digest = incoming.digest.clone();
            let stored = self.desk.artifacts.store(&digest, incoming.bytes, incoming.content).await;
            stored.map_err(|e| unstored(&e))?;
        }
        Ok(Response::new(StoreArtifactResponse {}))
    }

    async fn instance_logs(
        &self,
        request: Request<InstanceLogsRequest>,
    ) -> Result<Response<Self::InstanceLogsStream>, Status> {
        self.node_of(&request)?;
        let InstanceLogsRequest { instances, follow, tail } = request.into_inner();
        let instances = instances.into_iter().map(InstanceId).collect();
        let lines = self.desk.logs.lines(instances, follow, tail).map(Ok);
        Ok(Response::new(lines.boxed()))
    }
    async fn build_lines(
        &self,
        request: Request<BuildLinesRequest>,
    ) -> Result<Response<Self::BuildLinesStream>, Status> {
        self.node_of(&request)?;
        let BuildLinesRequest { deployment, follow, tail } = request.into_inner();
        let id = DeploymentId(deployment);
        let lines = self.desk.builds.lines(id, follow, tail);
        let lines =
            lines.ok_or_else(|| Status::not_found(format!("there is no log of a build for {id} here")))?;
        Ok(Response::new(lines.map(Ok).boxed()))
    }

    async fn node_history(
        &self,
        request: Request<NodeHistoryRequest>,
    ) -> Result<Response<NodeHistoryResponse>, Status> {
        self.node_of(&request)?;
        history::own(&self.desk, request.into_inner()).await.map(Response::new)
    }

    async fn find_image(
        &self,
        request: Request<FindImageRequest>,
    ) -> Result<Response<FindImageResponse>, Status> {
        self.node_of(&request)?;
        let FindImageRequest { reference, pull } = request.into_inner();
        given::reference(&reference)?;
        let found = self.desk.images.find(&reference, pull).await.map_err(|failed| match failed {
            FindFailed::NotFound(why) => Status::not_found(bounded(why)),
            FindFailed::NoContainers => Status::failed_precondition("this node runs no containers"),
            FindFailed::Unavailable(why) => Status::unavailable(bounded(why)),
        })?;
        Ok(Response::new(FindImageResponse { id: found.id, warning: found.warning.unwrap_or_default() }))
    }
}
