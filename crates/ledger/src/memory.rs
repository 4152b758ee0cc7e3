//! A ledger without replication, for tests of what stands on a ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use temps_core::apply::apply;
use temps_core::command::{ENTRY_VERSION, Entry, Receipt};
use temps_core::model::{ClusterState, Index, Millis, NodeId};
use tokio::sync::watch;

use crate::{ClusterClock, Leadership, Ledger, LedgerError, Proposal, wall};

/// One node that always leads and keeps its log in memory.
#[derive(Debug)]
pub struct MemoryLedger {
    node: NodeId,
    state: Mutex<Arc<ClusterState>>,
    changes: watch::Sender<Index>,
    leadership: watch::Sender<Leadership>,
    clock: ClusterClock,
}

impl MemoryLedger {
    /// A ledger that starts with `state`.
    #[must_use]
    pub fn new(node: NodeId, state: ClusterState) -> Self {
        Self {
            node,
            clock: ClusterClock::starting_at(state.clock),
            changes: watch::Sender::new(state.index),
            leadership: watch::Sender::new(Leadership { term: 1, leader: Some(node) }),
            state: Mutex::new(Arc::new(state)),
        }
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    fn node(&self) -> NodeId {
        self.node
    }

    fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn changes(&self) -> watch::Receiver<Index> {
        self.changes.subscribe()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError> {
        let entry = Entry {
            version: ENTRY_VERSION,
            clock: self.now(),
            wall: wall(),
            key: proposal.key,
            by: proposal.by,
            command: proposal.command,
        };
        let (receipt, index) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let state = Arc::make_mut(&mut state);
            let index = state.index + 1;
            (apply(state, index, &entry), index)
        };
        self.changes.send_replace(index);
        Ok(receipt)
    }

    async fn barrier(&self) -> Result<Index, LedgerError> {
        Ok(*self.changes.borrow())
    }

    fn silence(&self) -> BTreeMap<NodeId, Duration> {
        BTreeMap::new()
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }
}
