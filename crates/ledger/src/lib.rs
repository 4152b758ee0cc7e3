//! The one door to the replicated log.
//!
//! Who holds a [`Ledger`] can read the state that this node has applied, wait for changes and
//! propose commands. How the log is replicated is not known here.

mod clock;
mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use temps_core::command::{Command, Receipt};
use temps_core::model::{ClusterState, Index, NodeId};
use tokio::sync::watch;

pub use clock::{ClusterClock, wall};
pub use memory::MemoryLedger;

/// A command, who asks, and a key under which it takes effect once.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Idempotency key: proposals with one key take effect once and get one answer.
    pub key: Option<String>,
    /// The name of a token, `node n2`, or `planner`.
    pub by: String,
    /// What to change.
    pub command: Command,
}

/// Who leads, as far as this node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// The leader, where one is known.
    pub leader: Option<NodeId>,
}

/// Why the log gave no answer. The command may or may not have been written; the key makes asking again safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No leader could be reached that has a majority behind it.
    #[error("no quorum: {why}")]
    NoQuorum {
        /// What was tried.
        why: String,
    },
    /// This node is shutting down.
    #[error("this node is shutting down")]
    Closing,
}

/// The replicated log.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;

    /// The newest state that this node has applied.
    fn state(&self) -> Arc<ClusterState>;

    /// The index of that state; changes with each applied entry.
    fn changes(&self) -> watch::Receiver<Index>;

    /// Who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Writes a command, through the leader wherever it is, and returns its answer once this node has
    /// applied it. Tries again over a leader change for up to 5 s; the key of a proposal that has none
    /// is made up for these tries.
    ///
    /// # Errors
    /// [`LedgerError`]: whether it was written is then unknown.
    async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError>;

    /// Returns once this node's state reflects every write that was acknowledged anywhere before the call.
    ///
    /// # Errors
    /// [`LedgerError`] where no leader confirms within 5 s.
    async fn barrier(&self) -> Result<Index, LedgerError>;

    /// On the leader: for how long each other node has not been heard. Empty elsewhere. A new leader
    /// counts from the moment it was elected.
    fn silence(&self) -> BTreeMap<NodeId, Duration>;

    /// The leader's cluster clock now, to compare deadlines with.
    fn now(&self) -> temps_core::model::Millis;
}
