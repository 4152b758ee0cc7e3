//! What the front desk needs of the rest of the node.

use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use temps_core::model::{InstanceId, NodeId};
use temps_wire::proto::{InstanceLogLine, ProposeRequest, ProposeResponse, ReadIndexResponse};
use tokio::io::AsyncRead;

/// The replicated log's side of the talk between nodes.
#[async_trait]
pub trait Consensus: Send + Sync + 'static {
    /// A consensus message of another node; both bodies are opaque here.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    async fn raft(&self, from: NodeId, kind: &str, body: Bytes) -> Result<Bytes, String>;

    /// A proposal that another node forwards.
    async fn propose(&self, request: ProposeRequest) -> ProposeResponse;

    /// The question for the index that a linearizable read has to wait for.
    async fn read_index(&self) -> ReadIndexResponse;
}

/// Who takes part in the replicated log.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// Makes a node, whose gRPC endpoint will be `control`, a member; the same again changes nothing.
    /// The node does not listen yet: it starts once it has its certificate, which it gets afterwards.
    ///
    /// # Errors
    /// Why it is not a member, in words.
    async fn add_member(&self, node: NodeId, control: String) -> Result<(), String>;
}

/// A stored artifact, from some offset on.
pub struct Stored {
    /// The size of the whole artifact in bytes.
    pub bytes: u64,
    /// What follows the offset.
    pub content: Pin<Box<dyn AsyncRead + Send>>,
}

/// The artifacts that lie on this node. Digests are always 64 lower-case hexadecimal digits.
#[async_trait]
pub trait Artifacts: Send + Sync + 'static {
    /// Whether it is stored completely.
    async fn has(&self, digest: &str) -> bool;

    /// Reads it.
    ///
    /// # Errors
    /// `NotFound` where it is not stored; `InvalidInput` where `offset` is behind its end.
    async fn open(&self, digest: &str, offset: u64) -> io::Result<Stored>;

    /// Stores it: it is there, completely and surviving a power loss, once this returns. `content`
    /// ends with an error unless it has that size and that digest; then nothing may remain.
    ///
    /// # Errors
    /// That of `content`, or that of the disk.
    async fn store(
        &self,
        digest: &str,
        bytes: u64,
        content: BoxStream<'static, io::Result<Bytes>>,
    ) -> io::Result<()>;
}

/// The logs of the instances of this node.
pub trait LogSource: Send + Sync + 'static {
    /// Of each instance the last `tail` lines, oldest first, and with `follow` those that come, until
    /// the instance has ended and its log was read. Instances without a log give nothing.
    fn lines(
        &self,
        instances: Vec<InstanceId>,
        follow: bool,
        tail: u32,
    ) -> BoxStream<'static, InstanceLogLine>;
}
