//! How messages reach another node. What they say is not known here.

use async_trait::async_trait;
use bytes::Bytes;
use temps_core::model::NodeId;
use temps_wire::proto::{ProposeRequest, ProposeResponse, ReadIndexResponse};

/// Carries messages to other nodes. Each call is bounded by its caller, who drops it when it takes too long.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// A consensus message; both bodies are opaque.
    ///
    /// # Errors
    /// [`TransportError`].
    async fn raft(&self, to: Peer<'_>, kind: &'static str, body: Bytes) -> Result<Bytes, TransportError>;

    /// A proposal for the leader.
    ///
    /// # Errors
    /// [`TransportError`].
    async fn propose(&self, to: Peer<'_>, request: ProposeRequest)
    -> Result<ProposeResponse, TransportError>;

    /// The question for the index that a linearizable read has to wait for.
    ///
    /// # Errors
    /// [`TransportError`].
    async fn read_index(&self, to: Peer<'_>) -> Result<ReadIndexResponse, TransportError>;
}

/// A node and where it listens.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Which.
    pub node: NodeId,
    /// `host:port` of its gRPC endpoint.
    pub address: &'a str,
}

/// Why a message was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The node was not reached, or the connection broke before its answer.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// The node was reached and refused the message.
    #[error("refused: {0}")]
    Refused(String),
}
