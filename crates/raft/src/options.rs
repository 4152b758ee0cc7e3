//! What a node is opened with, and why that can fail.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use temps_core::model::NodeId;

use crate::transport::Transport;

/// How long the transfer of a whole snapshot may take before it starts over.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of one message with a part of a snapshot.
const SNAPSHOT_CHUNK: u64 = 1024 * 1024;

/// How fast the group notices and acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// The leader tells the others this often that it leads.
    pub heartbeat: Duration,
    /// A node that has not heard a leader for some time between this ...
    pub election_min: Duration,
    /// ... and this stands for election. A leader that cannot reach a majority for this long takes no more
    /// proposals.
    pub election_max: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(250),
            election_max: Duration::from_millis(400),
        }
    }
}

/// When the log is folded into a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRules {
    /// After this many entries.
    pub every: u64,
    /// This many entries before it stay, so that a node that was away for a moment needs no snapshot.
    pub keep: u64,
}

impl Default for SnapshotRules {
    fn default() -> Self {
        Self { every: 5_000, keep: 1_000 }
    }
}

/// What a node is opened with.
#[derive(Clone)]
pub struct OpenOptions {
    /// Its number.
    pub node: NodeId,
    /// `host:port` of its gRPC endpoint, as the others reach it.
    pub address: String,
    /// Its data directory; the log is in `raft` below it.
    pub data: PathBuf,
    /// How fast it acts.
    pub timings: Timings,
    /// When it makes snapshots.
    pub snapshots: SnapshotRules,
    /// The way to the others.
    pub transport: Arc<dyn Transport>,
}

impl std::fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenOptions")
            .field("node", &self.node)
            .field("address", &self.address)
            .field("data", &self.data)
            .field("timings", &self.timings)
            .field("snapshots", &self.snapshots)
            .finish_non_exhaustive()
    }
}

/// Why a node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The timings contradict each other.
    #[error("the timings do not fit together: {0}")]
    Timings(String),
    /// A stored record is damaged. The text names it.
    #[error("the store in {} is damaged: {why}; move it away and let this node join again", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// Which record, and what is wrong.
        why: String,
    },
    /// The store belongs to another node.
    #[error("the store in {} belongs to {found}, and this is {wanted}", path.display())]
    OtherNode {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asks.
        wanted: NodeId,
    },
    /// The store cannot be opened or read: another process holds it, the disk is full, rights are missing.
    #[error("the store in {} cannot be opened: {why}", path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The stored log cannot be taken up.
    #[error("the log in {} cannot be taken up: {why}", path.display())]
    Log {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl OpenError {
    pub(crate) fn of_store(path: &std::path::Path, error: &std::io::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        // RocksDB tells damage to its own files only in words.
        match error.kind() {
            std::io::ErrorKind::InvalidData => Self::Damaged { path, why },
            _ if why.contains("Corruption") => Self::Damaged { path, why },
            _ => Self::Store { path, why },
        }
    }
}

/// The rules for openraft.
pub(crate) fn config(options: &OpenOptions) -> Result<Config, OpenError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: "temps".to_owned(),
        heartbeat_interval: millis(options.timings.heartbeat),
        election_timeout_min: millis(options.timings.election_min),
        election_timeout_max: millis(options.timings.election_max),
        install_snapshot_timeout: millis(SNAPSHOT_TIMEOUT),
        snapshot_max_chunk_size: SNAPSHOT_CHUNK,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshots.every.max(1)),
        max_in_snapshot_log_to_keep: options.snapshots.keep,
        // A node that was away is to be caught up at once when it is back, not a second later.
        backoff: "50ms 100ms 200ms ..400ms".to_owned(),
        // A node that was cut off must not unseat a working leader when it returns.
        enable_pre_vote: Some(true),
        // A leader that restarted stands for election like everybody else.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map_err(|error| OpenError::Timings(error.to_string()))
}
