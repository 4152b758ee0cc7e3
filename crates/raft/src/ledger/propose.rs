//! A proposal from the moment it is made until it is answered, wherever the leader is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, Fatal, LinearizableReadError, RaftError};
use temps_core::command::{Command, ENTRY_VERSION, Entry, Receipt};
use temps_core::model::{Index, NodeId};
use temps_ledger::{LedgerError, Proposal, wall};
use tokio::time::{Instant, timeout_at};

use super::{Inner, PATIENCE};
use crate::types::Stamped;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(25);

/// How a try ended.
#[derive(Debug)]
pub(super) enum Try<T> {
    /// It was answered.
    Done(T),
    /// This node does not lead; the other one may, as far as is known.
    Elsewhere(Option<NodeId>),
    /// Something that may pass.
    Failed(String),
    /// The node is closing.
    Closing,
}

/// Makes up keys for proposals that have none.
#[derive(Debug)]
pub(super) struct Keys {
    run: u64,
    next: AtomicU64,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { run: rand::random(), next: AtomicU64::new(0) }
    }

    fn make(&self, node: NodeId) -> String {
        format!("{node}-{:016x}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The search for the leader that answers.
struct Search {
    until: Instant,
    /// Whom the last one who was asked takes for the leader.
    hint: Option<NodeId>,
    /// How the last try failed.
    why: String,
    /// The next try comes after a pause.
    pause: bool,
    /// The last try followed a hint.
    believed: bool,
}

impl Search {
    fn new(until: Instant) -> Self {
        Self { until, hint: None, why: "no leader is known".to_owned(), pause: false, believed: false }
    }

    /// Whom to ask next; pauses before all but the first, and before that until one is known.
    async fn next(&mut self, inner: &Inner) -> Result<NodeId, LedgerError> {
        loop {
            if self.pause {
                inner.pause(self.until).await;
            }
            self.pause = true;
            if inner.is_closing() {
                return Err(LedgerError::Closing);
            }
            if Instant::now() >= self.until {
                return Err(LedgerError::NoQuorum { why: std::mem::take(&mut self.why) });
            }
            if let Some(leader) = self.hint.take().or_else(|| inner.leader()) {
                return Ok(leader);
            }
        }
    }

    /// The answer, where there is one.
    fn take<T>(&mut self, asked: NodeId, tried: Try<T>) -> Result<Option<T>, LedgerError> {
        match tried {
            Try::Done(answer) => return Ok(Some(answer)),
            Try::Closing => return Err(LedgerError::Closing),
            Try::Failed(why) => self.why = why,
            Try::Elsewhere(other) => {
                // Somebody who was asked may know better than this node, and then is believed at once. But
                // two that point to each other are not to be asked in turn without a pause.
                let known = other.filter(|other| *other != asked);
                self.pause = known.is_none() || self.believed;
                self.believed = known.is_some();
                self.hint = known;
                self.why = format!("{asked} does not lead or has no majority");
            }
        }
        Ok(None)
    }
}

impl Inner {
    pub(super) async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError> {
        let Proposal { key, by, command } = proposal;
        let key = key.unwrap_or_else(|| self.keys.make(self.node));
        let mut search = Search::new(Instant::now() + PATIENCE);
        loop {
            let leader = search.next(self).await?;
            let tried = if leader == self.node {
                self.write(&key, &by, command.clone(), search.until).await
            } else {
                self.forward(leader, &key, &by, &command, search.until).await
            };
            if let Some(receipt) = search.take(leader, tried)? {
                self.wait_applied(receipt.index, search.until).await?;
                return Ok(receipt);
            }
        }
    }

    pub(super) async fn barrier(&self) -> Result<Index, LedgerError> {
        let mut search = Search::new(Instant::now() + PATIENCE);
        loop {
            let leader = search.next(self).await?;
            let tried = if leader == self.node {
                self.read_index().await
            } else {
                self.ask_read_index(leader, search.until).await
            };
            if let Some(index) = search.take(leader, tried)? {
                self.wait_applied(index, search.until).await?;
                return Ok(index);
            }
        }
    }

    /// A moment, or less where the leader changes or the node closes.
    async fn pause(&self, until: Instant) {
        let mut leadership = self.leadership.subscribe();
        let mut closing = self.closing.subscribe();
        tokio::select! {
            _ = leadership.changed() => {}
            _ = closing.changed() => {}
            () = tokio::time::sleep_until(until.min(Instant::now() + PAUSE)) => {}
        }
    }

    /// Writes an entry as the leader.
    pub(super) async fn write(&self, key: &str, by: &str, command: Command, until: Instant) -> Try<Receipt> {
        let entry = Entry {
            version: ENTRY_VERSION,
            clock: self.now(),
            wall: wall(),
            key: Some(key.to_owned()),
            by: by.to_owned(),
            command,
        };
        match timeout_at(until, self.raft.client_write(Stamped(entry))).await {
            Err(_) => Try::Failed("no majority acknowledged the entry in time".to_owned()),
            Ok(Ok(written)) => Try::Done(written.data),
            Ok(Err(RaftError::APIError(error))) => match error {
                ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to) => {
                    Try::Elsewhere(to.leader_id.map(NodeId))
                }
                other => Try::Failed(other.to_string()),
            },
            Ok(Err(RaftError::Fatal(fatal))) => self.broken(&fatal),
        }
    }

    /// The index that a linearizable read has to wait for, confirmed by a majority.
    pub(super) async fn read_index(&self) -> Try<Index> {
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(read) => Try::Done(read.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                Try::Elsewhere(to.leader_id.map(NodeId))
            }
            Err(RaftError::APIError(other)) => Try::Failed(other.to_string()),
            Err(RaftError::Fatal(fatal)) => self.broken(&fatal),
        }
    }

    fn broken<T>(&self, fatal: &Fatal<crate::types::TypeConfig>) -> Try<T> {
        tracing::debug!(node = %self.node, error = %fatal, "the group has stopped");
        Try::Closing
    }

    /// Returns once this node's state is of `index` or newer.
    async fn wait_applied(&self, index: Index, until: Instant) -> Result<(), LedgerError> {
        let mut changes = self.published.changes();
        let mut closing = self.closing.subscribe();
        let mut fatal = self.fatal.subscribe();
        tokio::select! {
            applied = timeout_at(until, changes.wait_for(|applied| *applied >= index)) => match applied {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(LedgerError::Closing),
                Err(_) => Err(LedgerError::NoQuorum {
                    why: format!("this node has not applied entry {index} in time"),
                }),
            },
            _ = closing.wait_for(|closing| *closing) => Err(LedgerError::Closing),
            _ = fatal.wait_for(Option::is_some) => Err(LedgerError::Closing),
        }
    }
}
