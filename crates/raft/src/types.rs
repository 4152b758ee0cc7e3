//! What openraft is told about this cluster: its node ids, its members, its entries and answers.

use std::fmt;

use serde::{Deserialize, Serialize};
use temps_core::command::{Entry, Receipt};

openraft::declare_raft_types!(
    /// The types of this cluster.
    pub(crate) TypeConfig:
        D = Stamped,
        R = Receipt,
        NodeId = u64,
        Node = Member,
);

pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type LogEntry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, bytes::Bytes>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::machine::StateMachine>;

/// A member of the Raft group.
///
/// The store's number is drawn when a store is created, so a machine that lost its data and comes
/// back under its old node number is not mistaken for the one that voted and acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// `host:port` of its gRPC endpoint.
    pub(crate) address: String,
    /// The number of its store.
    pub(crate) store: u64,
}

/// An entry of the log, stamped by the leader that proposed it. What its command means is not known here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Stamped(pub(crate) Entry);

impl fmt::Display for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry by {}", self.0.by)
    }
}

/// Commands carry hashes of tokens and variables of users, and openraft prints entries when it traces.
impl fmt::Debug for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
