//! Some nodes, and what tests do with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use temps_core::command::{Command, Receipt};
use temps_core::model::NodeId;
use temps_ledger::{Ledger, LedgerError, Proposal};
use temps_raft::{OpenError, OpenOptions, RaftLedger, SnapshotRules, Timings};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::net::{Link, Net, address};

/// How long anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Shared machines stall for longer than real ones.
pub(crate) const TIMINGS: Timings = Timings {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(600),
};

/// Snapshots all the time, and no log before them.
pub(crate) const OFTEN: SnapshotRules = SnapshotRules { every: 50, keep: 0 };

pub(crate) struct Cluster {
    pub(crate) net: Arc<Net>,
    directory: TempDir,
    snapshots: SnapshotRules,
    nodes: BTreeMap<u64, Node>,
}

struct Node {
    ledger: RaftLedger,
    runtime: Runtime,
}

impl Cluster {
    pub(crate) async fn of(count: u64) -> Self {
        Self::with(count, SnapshotRules::default()).await
    }

    pub(crate) async fn with(count: u64, snapshots: SnapshotRules) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut cluster = Self { net: Net::seeded(7), directory, snapshots, nodes: BTreeMap::new() };
        cluster.start(1).await.expect("the first node opens");
        cluster.node(1).found("test", found()).await.expect("the cluster is founded");
        for id in 2..=count {
            cluster.join(id).await;
        }
        cluster
    }

    pub(crate) async fn join(&mut self, id: u64) {
        self.start(id).await.expect("the node opens");
        self.any().add_member(NodeId(id), &address(id)).await.expect("the node joins");
    }

    pub(crate) fn data(&self, id: u64) -> PathBuf {
        self.directory.path().join(id.to_string())
    }

    /// Opens a node, waiting until a killed one has let go of its files.
    pub(crate) async fn start(&mut self, id: u64) -> Result<(), OpenError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.open(id).await {
                Err(OpenError::Store { why, .. })
                    if why.to_lowercase().contains("lock") && Instant::now() < until =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => return other,
            }
        }
    }

    async fn open(&mut self, id: u64) -> Result<(), OpenError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let options = OpenOptions {
            node: NodeId(id),
            address: address(id),
            data: self.data(id),
            timings: TIMINGS,
            snapshots: self.snapshots,
            transport: Arc::new(Link { net: Arc::clone(&self.net), from: id }),
        };
        let opened = runtime.spawn(RaftLedger::open(options)).await.expect("opening does not panic");
        match opened {
            Ok(ledger) => {
                self.net.listen(&address(id), ledger.clone());
                self.nodes.insert(id, Node { ledger, runtime });
                Ok(())
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Ends a node as it should.
    pub(crate) async fn stop(&mut self, id: u64) {
        let node = self.nodes.remove(&id).expect("the node runs");
        node.ledger.shutdown().await;
        self.net.hang_up(&address(id));
        node.runtime.shutdown_background();
    }

    /// Ends a node in the middle of whatever it does.
    pub(crate) fn kill(&mut self, id: u64) {
        let node = self.nodes.remove(&id).expect("the node runs");
        self.net.hang_up(&address(id));
        node.runtime.shutdown_background();
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn node(&self, id: u64) -> &RaftLedger {
        &self.nodes.get(&id).expect("the node runs").ledger
    }

    pub(crate) fn any(&self) -> &RaftLedger {
        &self.nodes.values().next().expect("some node runs").ledger
    }

    /// The node that all running nodes take for the leader.
    pub(crate) async fn leader(&self) -> u64 {
        let mut leader = 0;
        eventually("all agree on a leader that runs", || {
            let mut seen = self.nodes.values().map(|node| node.ledger.leadership().borrow().leader);
            let first = seen.next().flatten();
            leader = first.map_or(0, |id| id.0);
            self.nodes.contains_key(&leader) && seen.all(|other| other == first)
        })
        .await;
        leader
    }

    /// Some running node that does not lead.
    pub(crate) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        self.nodes.keys().copied().find(|id| *id != leader).expect("there is more than one node")
    }

    /// Waits until all running nodes have the same state, and compares their hashes.
    pub(crate) async fn converge(&self) {
        let states = || self.nodes.values().map(|node| node.ledger.state());
        let most = states().map(|state| state.index).max().expect("some node runs");
        eventually("all nodes have applied the same", || {
            let mut indexes = states().map(|state| state.index);
            let first = indexes.next();
            first >= Some(most) && indexes.all(|index| Some(index) == first)
        })
        .await;
        let hashes: Vec<String> = states().map(|state| state.hash()).collect();
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "the states differ: {hashes:?}");
    }

    /// Whether the state of every running node has the project.
    pub(crate) fn all_have(&self, project: &str) -> bool {
        self.nodes.values().all(|node| has(&node.ledger, project))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (id, node) in std::mem::take(&mut self.nodes) {
            self.net.hang_up(&address(id));
            node.runtime.shutdown_background();
        }
        // RocksDB aborts a process that exits while one of its threads still runs.
        let data = std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten();
        for held in data.map(|entry| entry.path().join("raft").join("held")) {
            wait_until_free(&held);
        }
    }
}

fn wait_until_free(held: &Path) {
    let until = std::time::Instant::now() + PATIENCE;
    while let Ok(file) = File::open(held)
        && file.try_lock().is_err()
        && std::time::Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Polls until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn has(node: &RaftLedger, project: &str) -> bool {
    node.state().project(project).is_some()
}

pub(crate) fn found() -> Command {
    Command::Found { domain: "localhost".to_owned(), token_hash: "0".repeat(64) }
}

pub(crate) fn create(name: &str) -> Command {
    Command::CreateProject { name: name.to_owned() }
}

pub(crate) async fn put(node: &RaftLedger, name: &str) -> Result<Receipt, LedgerError> {
    propose(node, None, name).await
}

pub(crate) async fn propose(
    node: &RaftLedger,
    key: Option<&str>,
    name: &str,
) -> Result<Receipt, LedgerError> {
    let key = key.map(ToOwned::to_owned);
    node.propose(Proposal { key, by: "test".to_owned(), command: create(name) }).await
}
