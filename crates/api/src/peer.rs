//! What other nodes ask.

use futures_util::StreamExt;
use temps_core::model::{InstanceId, NodeId};
use temps_wire::proto::peer_server::Peer;
use temps_wire::proto::{
    ArtifactChunk, FetchArtifactRequest, InstanceLogLine, InstanceLogsRequest, ProposeRequest,
    ProposeResponse, RaftMessage, ReadIndexRequest, ReadIndexResponse, StoreArtifactResponse,
};
use temps_wire::serve::PeerIdentity;
use tonic::{Request, Response, Status, Streaming};

use crate::desk::{Answer, Desk, Lines};
use crate::limits;
use crate::refusal::unstored;
use crate::transfer;

impl Desk {
    /// The node at the other end.
    ///
    /// A node that this state does not know yet was admitted by entries that have not arrived here,
    /// and may be the one to bring them; numbers are never given out twice. One that the state has
    /// left behind was removed.
    fn node_of<T>(&self, request: &Request<T>) -> Answer<NodeId> {
        let Some(PeerIdentity(Some(node))) = request.extensions().get::<PeerIdentity>().copied() else {
            return Err(Status::unauthenticated("a node's certificate is needed"));
        };
        let state = self.ledger.state();
        if state.nodes.contains_key(&node) || node.0 > state.last.node {
            return Ok(node);
        }
        Err(Status::permission_denied(format!("node {node} was removed from the cluster")))
    }
}

#[tonic::async_trait]
impl Peer for Desk {
    type FetchArtifactStream = Lines<ArtifactChunk>;
    type InstanceLogsStream = Lines<InstanceLogLine>;

    async fn raft(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        let from = self.node_of(&request)?;
        let RaftMessage { kind, body } = request.into_inner();
        let body = self.consensus.raft(from, &kind, body).await.map_err(Status::unavailable)?;
        Ok(Response::new(RaftMessage { kind, body }))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        self.node_of(&request)?;
        Ok(Response::new(self.consensus.propose(request.into_inner()).await))
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        self.node_of(&request)?;
        Ok(Response::new(self.consensus.read_index().await))
    }

    async fn fetch_artifact(
        &self,
        request: Request<FetchArtifactRequest>,
    ) -> Result<Response<Self::FetchArtifactStream>, Status> {
        self.node_of(&request)?;
        let FetchArtifactRequest { digest, offset } = request.into_inner();
        limits::digest_form(&digest)?;
        let stored = self.artifacts.open(&digest, offset).await.map_err(|e| unstored(&e))?;
        Ok(Response::new(transfer::chunks(&digest, stored)))
    }

    async fn store_artifact(
        &self,
        request: Request<Streaming<ArtifactChunk>>,
    ) -> Result<Response<StoreArtifactResponse>, Status> {
        self.node_of(&request)?;
        let incoming = transfer::receive(request.into_inner()).await?;
        if self.artifacts.has(&incoming.digest).await {
            transfer::discard(incoming).await?;
        } else {
            let digest = incoming.digest.clone();
            let stored = self.artifacts.store(&digest, incoming.bytes, incoming.content).await;
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
        let lines = self.logs.lines(instances, follow, tail).map(Ok);
        Ok(Response::new(lines.boxed()))
    }
}
