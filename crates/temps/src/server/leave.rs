//! How a node leaves: the leader takes those that were removed out of the log's members, and one that was
//! removed itself notices, ends what it runs, and stays away.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use temps_agent::store::Store;
use temps_core::model::{ClusterState, NodeId};
use temps_ledger::Ledger;
use temps_raft::RaftLedger;
use temps_wire::identity::NodeIdentity;
use temps_wire::peers::Peers;
use temps_wire::proto::ReadIndexRequest;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{debug, error, info, warn};

use super::{edge, files, runtime};
use crate::config::Config;

/// How often the leader looks for members that were removed, and a node whether anybody leads it.
const LOOK: Duration = Duration::from_secs(1);
/// How long it may take to find that out, and how long one node is asked.
const ASK: Duration = Duration::from_secs(2);
/// How long a node that was removed goes on as a member of the log, until the others can do without it, and
/// answers whoever asked it for that.
const LINGER: Duration = Duration::from_secs(10);
/// How long after that at least.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long its edge may finish its requests.
const EDGE_GRACE: Duration = Duration::from_secs(10);

/// The exit code of a server whose node was removed: it is no use to start it again.
pub(crate) const REMOVED_CODE: u8 = 9;

/// This node was removed from its cluster.
#[derive(Debug)]
pub(crate) struct Removed {
    data_dir: PathBuf,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this node was removed from its cluster, and runs nothing any more; to let the machine join again, \
             delete {} and start the server with --join ENDPOINT --token TOKEN (from `temps cluster token`)",
            self.data_dir.display()
        )
    }
}

impl std::error::Error for Removed {}

/// Whenever this node leads: nodes that the state does not know any more are no members of the log either.
pub(super) async fn expel(ledger: RaftLedger, shutdown: CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        if ledger.leadership().borrow().leader != Some(ledger.node()) {
            continue;
        }
        let removed = ledger.state().removed.clone();
        for node in ledger.status().members.keys().filter(|id| removed.contains_key(id)) {
            let done = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                done = ledger.remove_member(*node) => done,
            };
            match done {
                Ok(()) => info!(%node, "a node that was removed is no member of the log any more"),
                Err(why) => warn!(%node, %why, "a node that was removed is still a member of the log"),
            }
        }
    }
}

/// Returns once this node was removed: its own log says so, or, where no leader answers it, another node does. Who
/// led when it went away is no answer.
pub(super) async fn removed(ledger: RaftLedger, peers: Peers) {
    let node = ledger.node();
    let mut changes = ledger.changes();
    loop {
        changes.mark_unchanged();
        let state = ledger.state();
        if state.removed.contains_key(&node) {
            return;
        }
        let led = tokio::time::timeout(ASK, ledger.barrier()).await;
        if !matches!(led, Ok(Ok(_))) && others_refuse(&peers, &state, node).await {
            return;
        }
        let again = tokio::time::sleep(LOOK);
        let gone = async {
            // Without a sender nothing changes any more, and this is about to end.
            while changes.changed().await.is_ok() {
                if ledger.state().removed.contains_key(&node) {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = gone => return,
            () = again => {}
        }
    }
}

/// Whether a node that knows says that this one was removed.
async fn others_refuse(peers: &Peers, state: &ClusterState, node: NodeId) -> bool {
    let others = state.nodes.values().filter(|other| other.id != node);
    let asks = others.map(|other| async move {
        let mut peer = peers.client(other.id, &other.control);
        let asked = tokio::time::timeout(ASK, peer.read_index(ReadIndexRequest {})).await;
        let refusal = asked.ok().and_then(Result::err);
        refusal.is_some_and(|why| {
            debug!(other = %other.id, why = why.message(), "asked why nobody leads");
            why.code() == Code::PermissionDenied && why.message().contains("was removed")
        })
    });
    futures_util::future::join_all(asks).await.into_iter().any(|refused| refused)
}

/// Before its parts end: the others may need this node's word to do without it.
pub(super) async fn linger(ledger: &RaftLedger) {
    let node = ledger.node();
    let until = tokio::time::Instant::now() + LINGER;
    tokio::time::sleep(LAST_ANSWERS).await;
    while tokio::time::Instant::now() < until {
        let status = ledger.status();
        let alone = status.members.get(&node).is_none_or(|member| !member.voter) || status.leader.is_none();
        if alone {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether this directory's node was removed at an earlier start.
pub(super) fn is_noted(data_dir: &Path) -> bool {
    note(data_dir).exists()
}

fn note(data_dir: &Path) -> PathBuf {
    data_dir.join("removed")
}

/// Remembers it, so that no later start takes part in anything.
pub(super) fn remember(data_dir: &Path) -> Result<()> {
    files::replace(&note(data_dir), b"this node was removed from its cluster\n")
}

/// Ends the node's edge and everything that it runs, and answers with the error to end with.
pub(super) async fn end(config: &Config, identity: &NodeIdentity, choice: &runtime::Choice) -> anyhow::Error {
    let (edge, applications) = tokio::join!(end_edge(config), end_applications(config, identity, choice));
    for (what, ended) in [("edge", edge), ("applications", applications)] {
        if let Err(why) = ended {
            error!(what, why = format!("{why:#}"), "cannot end it; end it by hand");
        }
    }
    Removed { data_dir: config.data_dir.clone() }.into()
}

async fn end_edge(config: &Config) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(config.data_dir.join("edge.pid")) else { return Ok(()) };
    let pid: i32 = text.trim().parse().context("edge.pid is damaged")?;
    let dir = config.data_dir.clone();
    Ok(tokio::task::spawn_blocking(move || edge::stop(pid, &dir, EDGE_GRACE)).await?)
}

async fn end_applications(config: &Config, identity: &NodeIdentity, choice: &runtime::Choice) -> Result<()> {
    let store = Arc::new(Store::open(config.data_dir.join("artifacts"))?);
    runtime::end_all(config, identity, choice, &store).await
}
