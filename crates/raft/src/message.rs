//! The bodies of messages between the Raft groups of two nodes, and their form on the wire.
//!
//! A body is a format version, then MessagePack with field names. Which node, and which of its
//! stores, is meant stands in every message: an address alone may belong to somebody else by now.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use temps_wire::codec;

use crate::types::{SnapshotMeta, TypeConfig, Vote};

/// The format of bodies that this version writes and the newest that it reads.
const FORMAT: u8 = 1;

/// Kinds of messages; the names are part of the wire format.
pub(crate) mod kind {
    /// Entries and heartbeats.
    pub(crate) const APPEND: &str = "append";
    /// A candidate asks for a vote.
    pub(crate) const VOTE: &str = "vote";
    /// A node asks whether it would get a vote.
    pub(crate) const PRE_VOTE: &str = "pre_vote";
    /// A part of a snapshot.
    pub(crate) const SNAPSHOT: &str = "snapshot";
    /// The leader hands over.
    pub(crate) const TRANSFER: &str = "transfer";
    /// Who answers at this address.
    pub(crate) const HELLO: &str = "hello";
    /// A change of the members, for the leader.
    pub(crate) const MEMBER: &str = "member";
}

/// A message and for whom it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    /// The node.
    pub(crate) to: u64,
    /// The store of that node, where it is known.
    pub(crate) store: Option<u64>,
    /// What is asked.
    pub(crate) body: T,
}

/// A part of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// The leader that sends it.
    pub(crate) vote: Vote,
    /// What the snapshot is of.
    pub(crate) meta: SnapshotMeta,
    /// SHA-256 of the whole.
    pub(crate) digest: [u8; 32],
    /// Bytes of the whole.
    pub(crate) total: u64,
    /// Where this part begins.
    pub(crate) offset: u64,
    /// The part.
    pub(crate) data: Bytes,
}

/// The answer to a part of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChunkAnswer {
    /// The next part is to begin here.
    Next(u64),
    /// The snapshot is installed, or the vote is too old for it.
    Installed(openraft::raft::SnapshotResponse<TypeConfig>),
}

/// A change of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemberChange {
    /// A node becomes a voter.
    Add {
        /// Which.
        node: u64,
        /// Where it listens.
        address: String,
    },
    /// A node leaves.
    Remove {
        /// Which.
        node: u64,
    },
    /// Another node leads than this one.
    Yield {
        /// Which.
        node: u64,
    },
    /// A node listens elsewhere now.
    Move {
        /// Which.
        node: u64,
        /// Where.
        address: String,
    },
}

/// What became of a change of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemberAnswer {
    /// It is so.
    Done,
    /// Another node leads, or none that is known here.
    NotLeader(Option<u64>),
    /// It may work later.
    NotYet(String),
    /// It will not work.
    Refused(String),
}

/// Bytes that are no message of the expected kind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MalformedError {
    /// There is nothing.
    #[error("the message is empty")]
    Empty,
    /// It was written by a newer version.
    #[error("the message has format {0}, and this version reads up to {FORMAT}")]
    Newer(u8),
    /// It does not decode.
    #[error(transparent)]
    Decode(#[from] codec::DecodeError),
}

/// The bytes of a message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Bytes {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&codec::encode(message));
    Bytes::from(bytes)
}

/// The message in some bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MalformedError> {
    match bytes.split_first() {
        None => Err(MalformedError::Empty),
        Some((&FORMAT, rest)) => Ok(codec::decode(rest)?),
        Some((&format, _)) => Err(MalformedError::Newer(format)),
    }
}
