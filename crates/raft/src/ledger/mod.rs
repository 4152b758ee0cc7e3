//! A node of the Raft group, as the one door to the log.
//!
//! How entries are stored, applied and carried to others is known elsewhere; here is who leads, what
//! a proposal goes through until it is answered, and how a node is opened and closed.

mod forward;
mod lead;
mod member;
mod propose;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use temps_core::command::{Command, Receipt};
use temps_core::model::{ClusterState, Index, Millis, NodeId};
use temps_ledger::{Leadership, Ledger, LedgerError, Proposal};
use tokio::sync::watch;

use crate::machine::{Published, StateMachine};
use crate::message::kind;
use crate::network::{AddressBook, Network};
use crate::options::{OpenError, OpenOptions, config};
use crate::receive::{MessageError, Receiver};
use crate::store::{self, LogStore, Snapshots};
use crate::transport::Transport;
use crate::types::{Member, Raft};
use lead::Leading;

pub use member::MemberError;
pub use status::{MemberStatus, Status};

/// How long a proposal, a barrier, and the wait for their effect here may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long [`RaftLedger::step_down`] waits for a successor.
const HAND_OVER: Duration = Duration::from_secs(2);
/// The key of the first entry: founding twice is founding once.
const FOUND_KEY: &str = "found";

/// A node of the Raft group. Clones are the same node.
#[derive(Clone)]
pub struct RaftLedger {
    inner: Arc<Inner>,
}

struct Inner {
    node: NodeId,
    member: Member,
    lease: Duration,
    raft: Raft,
    receiver: Receiver,
    published: Arc<Published>,
    transport: Arc<dyn Transport>,
    book: Arc<AddressBook>,
    leading: Mutex<Option<Leading>>,
    leadership: watch::Sender<Leadership>,
    fatal: watch::Sender<Option<String>>,
    closing: watch::Sender<bool>,
    keys: propose::Keys,
    /// One change of the members at a time.
    changing: tokio::sync::Mutex<()>,
    /// Ends when the store is closed.
    open: watch::Receiver<()>,
    #[cfg(test)]
    disk: std::sync::Weak<store::Database>,
}

impl std::fmt::Debug for RaftLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftLedger").field("node", &self.inner.node).finish_non_exhaustive()
    }
}

impl RaftLedger {
    /// Opens or creates the store of a node, checks it, rebuilds the state from snapshot and log, and takes
    /// part in the group. A node with a new store waits to be founded or added.
    ///
    /// Has to be called inside a Tokio runtime, and [`RaftLedger::shutdown`] ends what it starts.
    ///
    /// # Errors
    /// [`OpenError`]; a damaged record is named.
    pub async fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let config = Arc::new(config(&options)?);
        let path = options.data.join("raft");
        let failed = |error: std::io::Error| OpenError::of_store(&path, &error);

        let (open_path, node) = (path.clone(), options.node.0);
        let opened = tokio::task::spawn_blocking(move || store::open(&open_path, node)).await;
        let (disk, owner) = opened.map_err(std::io::Error::other).flatten().map_err(failed)?;
        if owner.node != node {
            let (found, wanted) = (NodeId(owner.node), options.node);
            return Err(OpenError::OtherNode { path: path.clone(), found, wanted });
        }
        let open = disk.lifetime();
        #[cfg(test)]
        let weak_disk = Arc::downgrade(&disk);
        let published = Arc::new(Published::new());
        let snapshots = Snapshots::new(Arc::clone(&disk));
        let machine = StateMachine::load(snapshots, Arc::clone(&published)).map_err(failed)?;
        let log = LogStore::load(disk).map_err(failed)?;

        let book = Arc::new(AddressBook::default());
        let transport = options.transport;
        let network = Network { node, transport: Arc::clone(&transport), book: Arc::clone(&book) };
        let raft = Raft::new(node, config, network, log, machine)
            .await
            .map_err(|fatal| OpenError::Log { path: path.clone(), why: fatal.to_string() })?;

        let receiver = Receiver { owner, raft: raft.clone(), incoming: tokio::sync::Mutex::default() };
        let inner = Arc::new(Inner {
            node: options.node,
            member: Member { address: options.address, store: owner.store },
            lease: options.timings.election_max,
            raft,
            receiver,
            published,
            transport,
            book,
            leading: Mutex::default(),
            leadership: watch::Sender::new(Leadership::default()),
            fatal: watch::Sender::new(None),
            closing: watch::Sender::new(false),
            keys: propose::Keys::new(),
            changing: tokio::sync::Mutex::new(()),
            open,
            #[cfg(test)]
            disk: weak_disk,
        });
        tokio::spawn(lead::watch(Arc::downgrade(&inner), inner.raft.metrics()));
        Ok(Self { inner })
    }

    /// Makes this node the first of a new cluster and writes its first entry. Done twice, it is done once.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn found(&self, by: &str, command: Command) -> Result<Receipt, LedgerError> {
        let members = BTreeMap::from([(self.inner.node.0, self.inner.member.clone())]);
        match self.inner.raft.initialize(members).await {
            Ok(()) => {}
            // It has a log already; then the key makes the entry the one that is there.
            Err(openraft::errors::RaftError::APIError(_)) => {}
            Err(openraft::errors::RaftError::Fatal(_)) => return Err(LedgerError::Closing),
        }
        self.propose(Proposal { key: Some(FOUND_KEY.to_owned()), by: by.to_owned(), command }).await
    }

    /// Whether this node is, or ever was, part of a cluster.
    ///
    /// # Errors
    /// [`LedgerError::Closing`].
    pub async fn is_founded(&self) -> Result<bool, LedgerError> {
        self.inner.raft.is_initialized().await.map_err(|_| LedgerError::Closing)
    }

    /// Set once, to the reason, when this node cannot go on: its store failed or its log is damaged. It has
    /// stopped taking part by then, and its process must end.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.inner.fatal.subscribe()
    }

    /// Before a planned stop: where this node leads, another takes over within 2 s. Answers who.
    pub async fn step_down(&self) -> Option<NodeId> {
        let successor = self.inner.successor()?;
        self.inner.raft.trigger().transfer_leader(successor.0).await.ok()?;
        let me = self.inner.node.0;
        let wait = self.inner.raft.wait(Some(HAND_OVER));
        let handed =
            wait.metrics(|m| m.current_leader.is_some_and(|leader| leader != me), "another node leads").await;
        handed.ok().and_then(|metrics| metrics.current_leader).map(NodeId)
    }

    /// Stops taking part; waiting proposals answer [`LedgerError::Closing`]. The store is closed when this
    /// returns, unless that takes longer than 2 s.
    pub async fn shutdown(&self) {
        self.inner.closing.send_replace(true);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(node = %self.inner.node, %error, "the Raft task ended badly");
        }
        // Tasks of openraft that read the log end on their own a moment later.
        let mut open = self.inner.open.clone();
        let closed = async { while open.changed().await.is_ok() {} };
        if tokio::time::timeout(HAND_OVER, closed).await.is_err() {
            tracing::warn!(node = %self.inner.node, "the store is still in use");
        }
    }

    /// Answers a consensus message of another node.
    ///
    /// # Errors
    /// [`MessageError`]; it converts into a gRPC status.
    pub async fn handle_raft(&self, kind: &str, body: Bytes) -> Result<Bytes, MessageError> {
        let answer = match kind {
            kind::MEMBER => self.inner.handle_member(&body).await,
            _ => self.inner.receiver.answer(kind, &body).await,
        };
        // A node that cannot read what the leader writes falls behind while it looks healthy.
        if let Err(error @ MessageError::Malformed(_)) = &answer {
            tracing::warn!(node = %self.inner.node, kind, %error, "a consensus message was refused");
        }
        answer
    }
}

#[async_trait]
impl Ledger for RaftLedger {
    fn node(&self) -> NodeId {
        self.inner.node
    }

    fn state(&self) -> Arc<ClusterState> {
        self.inner.published.state()
    }

    fn changes(&self) -> watch::Receiver<Index> {
        self.inner.published.changes()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError> {
        self.inner.propose(proposal).await
    }

    async fn barrier(&self) -> Result<Index, LedgerError> {
        self.inner.barrier().await
    }

    fn silence(&self) -> BTreeMap<NodeId, Duration> {
        self.inner.silence()
    }

    fn now(&self) -> Millis {
        self.inner.now()
    }
}

impl Inner {
    /// Who leads, as far as this node has heard.
    fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow_watched().current_leader.map(NodeId)
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow() || self.fatal.borrow().is_some()
    }
}
