//! The transport between real nodes: gRPC over mutual TLS.

use async_trait::async_trait;
use bytes::Bytes;
use temps_wire::peers::Peers;
use temps_wire::proto::{ProposeRequest, ProposeResponse, RaftMessage, ReadIndexRequest, ReadIndexResponse};
use tonic::{Code, Status};

use crate::message::kind;
use crate::transport::{Peer, Transport, TransportError};

/// Carries messages over gRPC.
#[derive(Clone, Debug)]
pub struct GrpcTransport {
    peers: Peers,
}

impl GrpcTransport {
    /// Uses the connections of `peers`.
    #[must_use]
    pub fn new(peers: Peers) -> Self {
        Self { peers }
    }
}

#[async_trait]
impl Transport for GrpcTransport {
    async fn raft(&self, to: Peer<'_>, kind: &'static str, body: Bytes) -> Result<Bytes, TransportError> {
        // A snapshot must not delay a heartbeat behind it.
        let mut client = match kind {
            kind::SNAPSHOT => self.peers.bulk(to.node, to.address),
            _ => self.peers.client(to.node, to.address),
        };
        let answer = client.raft(RaftMessage { kind: kind.to_owned(), body }).await.map_err(failed)?;
        Ok(answer.into_inner().body)
    }

    async fn propose(
        &self,
        to: Peer<'_>,
        request: ProposeRequest,
    ) -> Result<ProposeResponse, TransportError> {
        let answer = self.peers.client(to.node, to.address).propose(request).await.map_err(failed)?;
        Ok(answer.into_inner())
    }

    async fn read_index(&self, to: Peer<'_>) -> Result<ReadIndexResponse, TransportError> {
        let mut client = self.peers.client(to.node, to.address);
        Ok(client.read_index(ReadIndexRequest {}).await.map_err(failed)?.into_inner())
    }
}

fn failed(status: Status) -> TransportError {
    let text = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied => {
            TransportError::Refused(text)
        }
        code => TransportError::Unreachable(format!("{code:?}: {text}")),
    }
}
