//! What a node can tell about the group.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use temps_core::model::{Index, NodeId};

use super::RaftLedger;

/// What a node knows of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The term.
    pub term: u64,
    /// Who leads, where one is known.
    pub leader: Option<NodeId>,
    /// The last entry in this node's log.
    pub last: Index,
    /// The last entry that is applied here.
    pub applied: Index,
    /// The last entry in this node's newest snapshot.
    pub snapshot: Index,
    /// The last entry that was dropped from this node's log.
    pub purged: Index,
    /// On the leader: whether a majority answered of late. Elsewhere: whether a leader is known.
    pub quorum: bool,
    /// All members, this node included.
    pub members: BTreeMap<NodeId, MemberStatus>,
}

/// What a node knows of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberStatus {
    /// `host:port` of its gRPC endpoint.
    pub address: String,
    /// Whether it counts for majorities. One that is being caught up does not yet.
    pub voter: bool,
    /// On the leader: the last entry that it is known to have.
    pub matched: Option<Index>,
    /// On the leader: for how long it has not been heard.
    pub silent: Option<Duration>,
}

impl RaftLedger {
    /// What this node knows of the group.
    #[must_use]
    pub fn status(&self) -> Status {
        let silence = self.inner.silence();
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.map(NodeId);
        let index = |id: Option<crate::types::LogId>| id.map_or(0, |id| id.index);
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let matched = |id: &u64| metrics.replication.as_ref()?.get(id)?.map(|log_id| log_id.index);
        let members = metrics.membership_config.nodes().map(|(id, member)| {
            let node = NodeId(*id);
            let status = MemberStatus {
                address: member.address.clone(),
                voter: voters.contains(id),
                matched: matched(id),
                silent: silence.get(&node).copied(),
            };
            (node, status)
        });
        let acknowledged = metrics.last_quorum_acked.is_some_and(|at| at.elapsed() < self.inner.lease);
        Status {
            term: metrics.current_term,
            leader,
            last: metrics.last_log_index.unwrap_or(0),
            applied: index(metrics.last_applied),
            snapshot: index(metrics.snapshot),
            purged: index(metrics.purged),
            quorum: if leader == Some(self.inner.node) { acknowledged } else { leader.is_some() },
            members: members.collect(),
        }
    }
}
