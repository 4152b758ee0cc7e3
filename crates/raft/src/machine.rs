//! The log turned into the cluster's state, and the state into snapshots.
//!
//! The state lives in memory; on disk are snapshots of it and the entries since. What a command
//! means is known to `temps_core::apply` alone.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot as RaftSnapshot};
use temps_core::apply::apply;
use temps_core::command::{ENTRY_VERSION, Entry, Made, Outcome, Receipt};
use temps_core::model::{ClusterState, Index};
use temps_wire::codec;
use tokio::sync::watch;

use crate::store::Snapshots;
use crate::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// The newest applied state, for everybody in this process.
#[derive(Debug)]
pub(crate) struct Published {
    state: Mutex<Arc<ClusterState>>,
    changes: watch::Sender<Index>,
}

impl Published {
    /// Nothing is applied yet.
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// The newest applied state.
    pub(crate) fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its index.
    pub(crate) fn changes(&self) -> watch::Receiver<Index> {
        self.changes.subscribe()
    }

    /// Takes another state in the place of the current one.
    fn replace(&self, next: ClusterState) {
        let index = next.index;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.changes.send_replace(index);
    }

    /// Changes the state in place where nobody holds the old one, and a copy of it where somebody does.
    fn change<T>(&self, change: impl FnOnce(&mut ClusterState) -> T) -> T {
        let (answer, index) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let state = Arc::make_mut(&mut state);
            (change(state), state.index)
        };
        self.changes.send_replace(index);
        answer
    }
}

/// What openraft feeds with committed entries.
pub(crate) struct StateMachine {
    published: Arc<Published>,
    snapshots: Snapshots,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    /// Starts from the newest snapshot, or empty.
    pub(crate) fn load(snapshots: Snapshots, published: Arc<Published>) -> io::Result<Self> {
        let mut machine =
            Self { published, snapshots, applied: None, membership: StoredMembership::default() };
        if let Some(snapshot) = machine.snapshots.load()? {
            let state = unpack(&snapshot.meta, &snapshot.snapshot)?;
            machine.adopt(&snapshot.meta, state);
        }
        Ok(machine)
    }

    fn adopt(&mut self, meta: &SnapshotMeta, state: ClusterState) {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.published.replace(state);
    }

    fn apply_entry(&self, index: Index, entry: &Entry) -> io::Result<Receipt> {
        if entry.version > ENTRY_VERSION {
            return Err(io::Error::other(format!(
                "log entry {index} was written by a newer version of temps (entry version {}, this one knows \
                 {ENTRY_VERSION}); upgrade this node",
                entry.version
            )));
        }
        Ok(self.published.change(|state| apply(state, index, entry)))
    }

    /// Entries that are Raft's own leave everything but the index as it is.
    fn pass(&self, index: Index) -> Receipt {
        self.published.change(|state| state.index = index);
        Receipt { index, outcome: Outcome::NoChange(Made::Nothing) }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let index = entry.log_id.index;
            let receipt = match entry.payload {
                EntryPayload::Blank => self.pass(index),
                EntryPayload::Normal(stamped) => self.apply_entry(index, &stamped.0)?,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    self.pass(index)
                }
            };
            self.applied = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(receipt);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder { meta, state: self.published.state(), snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> io::Result<()> {
        let (meta, snapshots) = (meta.clone(), self.snapshots.clone());
        let (meta, state) = blocking(move || {
            let state = unpack(&meta, &data)?;
            snapshots.save(&meta, &data)?;
            Ok((meta, state))
        })
        .await?;
        self.adopt(&meta, state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        blocking(move || snapshots.load()).await
    }
}

/// One snapshot of the state as it was when this was made.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    state: Arc<ClusterState>,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (meta, state) = (self.meta.clone(), Arc::clone(&self.state));
        let snapshots = self.snapshots.clone();
        blocking(move || {
            let snapshot = Bytes::from(codec::encode(&*state));
            snapshots.save(&meta, &snapshot)?;
            Ok(RaftSnapshot { meta, snapshot })
        })
        .await
    }
}

/// The state in a snapshot.
pub(crate) fn unpack(meta: &SnapshotMeta, data: &[u8]) -> io::Result<ClusterState> {
    let refused = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let state: ClusterState =
        codec::decode(data).map_err(|error| refused(format!("the snapshot does not decode: {error}")))?;
    let index = meta.last_log_id.map_or(0, |id| id.index);
    if state.index != index {
        return Err(refused(format!("the snapshot is of index {}, and not of {index}", state.index)));
    }
    Ok(state)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
