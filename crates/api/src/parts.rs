//! What the front desk needs of the rest of the node.

use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use temps_core::history::{Recorded, Span};
use temps_core::model::{DeploymentId, EnvironmentId, InstanceId, NodeId};
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

    /// Makes sure that another node leads than this one.
    ///
    /// # Errors
    /// Why it still leads, in words.
    async fn yield_leadership(&self, node: NodeId) -> Result<(), String>;

    /// Takes a node, which the state does not know any more, out of the log's members; the same again changes
    /// nothing.
    ///
    /// # Errors
    /// Why it is still a member, in words. It is tried again by whoever leads.
    async fn remove_member(&self, node: NodeId) -> Result<(), String>;
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

/// What this node's edge counted over time.
#[async_trait]
pub trait Past: Send + Sync + 'static {
    /// What is known here of an environment; see [`temps_core::history`].
    async fn recorded(&self, environment: EnvironmentId, span: Span) -> Recorded;
}

/// What an image's name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The image's identity for Docker, `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// What a person should know, such as that the name's registry did not answer.
    pub warning: Option<String>,
}

/// Why an image's name means nothing here. The texts are for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindFailed {
    /// Neither this node has it, nor the registry if that was asked.
    NotFound(String),
    /// This node runs no containers.
    NoContainers,
    /// The engine does not answer now.
    Unavailable(String),
}

/// The container images of this node.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// What a name means here; with `pull` its registry is asked first, and the image is here afterwards.
    ///
    /// # Errors
    /// [`FindFailed`].
    async fn find(&self, reference: &str, pull: bool) -> Result<Found, FindFailed>;
}

/// The logs of builds on this node.
pub trait BuildLogs: Send + Sync + 'static {
    /// The last `tail` lines of a build, all where 0, and with `follow` those that come until the build has
    /// ended; `instance` is 0 in them. `None` where this node has no log of it, or none yet.
    fn lines(
        &self,
        deployment: DeploymentId,
        follow: bool,
        tail: u32,
    ) -> Option<BoxStream<'static, InstanceLogLine>>;
}
