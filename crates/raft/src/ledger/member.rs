//! Who belongs to the group: asked for on any node, done by the leader, and safe to ask for again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use temps_core::model::NodeId;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Inner, PATIENCE, RaftLedger};
use crate::message::{self, Envelope, MemberAnswer, MemberChange, kind};
use crate::receive::MessageError;
use crate::store::Owner;
use crate::transport::{Peer, TransportError};
use crate::types::{Member, StoredMembership, TypeConfig};

/// How long a change may take altogether: the first copy of the state is part of it.
const CHANGE: Duration = Duration::from_secs(30);
/// How long one request to the leader may take.
const TRY: Duration = Duration::from_secs(10);
/// How long a leader waits within one request until the new member has the log.
const CATCH_UP: Duration = Duration::from_secs(8);
/// How long a node may take to say who it is.
const HELLO: Duration = Duration::from_secs(2);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// A new member that lacks no more entries than this has the log.
const LAG: u64 = 16;

/// Why the members could not be changed. Asking again is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// No leader could be reached that has a majority behind it.
    #[error("no quorum: {why}")]
    NoQuorum {
        /// What was tried.
        why: String,
    },
    /// The node could not be reached, or did not get the whole log in time.
    #[error("the node is not ready: {why}")]
    NotReady {
        /// What was tried.
        why: String,
    },
    /// It can never work.
    #[error("{why}")]
    Refused {
        /// What is wrong and what to do.
        why: String,
    },
    /// This node is shutting down.
    #[error("this node is shutting down")]
    Closing,
}

impl RaftLedger {
    /// Adds a node: it gets the log first and counts for majorities once it has it. Returns when it does.
    /// The node has to be open and its endpoint has to answer.
    ///
    /// # Errors
    /// [`MemberError`], after at most 30 s.
    pub async fn add_member(&self, node: NodeId, control: &str) -> Result<(), MemberError> {
        self.inner.change(MemberChange::Add { node: node.0, address: control.to_owned() }).await
    }

    /// Removes a node. Its number must never be given out again.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn remove_member(&self, node: NodeId) -> Result<(), MemberError> {
        self.inner.change(MemberChange::Remove { node: node.0 }).await
    }

    /// Makes sure that another node leads than this one: before it is removed, for example.
    ///
    /// # Errors
    /// [`MemberError`]; no other node may be able to lead.
    pub async fn yield_leadership(&self, node: NodeId) -> Result<(), MemberError> {
        self.inner.change(MemberChange::Yield { node: node.0 }).await
    }

    /// Tells the group that a member listens elsewhere now. The member has to answer there.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn update_address(&self, node: NodeId, control: &str) -> Result<(), MemberError> {
        self.inner.change(MemberChange::Move { node: node.0, address: control.to_owned() }).await
    }
}

impl Inner {
    /// Asks whoever leads until it is done.
    async fn change(&self, change: MemberChange) -> Result<(), MemberError> {
        let until = Instant::now() + CHANGE;
        let mut last_led = Instant::now();
        let mut why = MemberError::NoQuorum { why: "no leader is known".to_owned() };
        let mut hint = None;
        loop {
            let now = Instant::now();
            if self.is_closing() {
                return Err(MemberError::Closing);
            }
            if now >= until || now.duration_since(last_led) >= PATIENCE {
                return Err(why);
            }
            if let Some(leader) = hint.take().or_else(|| self.leader()) {
                match self.ask_change(leader, &change, until).await {
                    MemberAnswer::Done => return Ok(()),
                    MemberAnswer::Refused(reason) => return Err(MemberError::Refused { why: reason }),
                    MemberAnswer::NotYet(reason) => {
                        why = MemberError::NotReady { why: reason };
                        last_led = Instant::now();
                    }
                    MemberAnswer::NotLeader(other) => {
                        why = MemberError::NoQuorum {
                            why: format!("{leader} does not lead or has no majority"),
                        };
                        hint = other.map(NodeId).filter(|other| *other != leader);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask_change(&self, leader: NodeId, change: &MemberChange, until: Instant) -> MemberAnswer {
        let until = until.min(Instant::now() + TRY);
        if leader == self.node {
            let here = timeout_at(until, self.change_here(change)).await;
            return here.unwrap_or_else(|_| MemberAnswer::NotYet("the change takes long".to_owned()));
        }
        let Some(member) = self.book.get(leader.0) else {
            return MemberAnswer::NotLeader(None);
        };
        let envelope = Envelope { to: leader.0, store: Some(member.store), body: change };
        let peer = Peer { node: leader, address: &member.address };
        let sent = self.transport.raft(peer, kind::MEMBER, message::encode(&envelope));
        match timeout_at(until, sent).await {
            Err(_) => MemberAnswer::NotYet(format!("{leader} takes long")),
            Ok(Err(error)) => {
                tracing::debug!(%leader, %error, "the leader does not answer");
                MemberAnswer::NotLeader(None)
            }
            Ok(Ok(answer)) => {
                message::decode(&answer).unwrap_or_else(|error| MemberAnswer::Refused(error.to_string()))
            }
        }
    }

    /// Answers a change that another node sends to the leader.
    pub(super) async fn handle_member(&self, body: &[u8]) -> Result<Bytes, MessageError> {
        let change: MemberChange = self.receiver.open(body)?;
        Ok(message::encode(&self.change_here(&change).await))
    }

    async fn change_here(&self, change: &MemberChange) -> MemberAnswer {
        let leader = self.leader();
        if leader != Some(self.node) {
            return MemberAnswer::NotLeader(leader.map(|leader| leader.0));
        }
        let _one_at_a_time = self.changing.lock().await;
        let done = match change {
            MemberChange::Add { node, address } => self.add(*node, address).await,
            MemberChange::Remove { node } => self.remove(*node).await,
            MemberChange::Yield { node } => self.make_way(*node).await,
            MemberChange::Move { node, address } => self.relocate(*node, address).await,
        };
        done.err().unwrap_or(MemberAnswer::Done)
    }

    async fn add(&self, node: u64, address: &str) -> Result<(), MemberAnswer> {
        self.finish_change().await?;
        let owner = self.hello(node, address).await?;
        let member = Member { address: address.to_owned(), store: owner.store };
        match self.membership().get_node(&node) {
            None => {
                self.raft.add_learner(node, member, false).await.map_err(|error| answer_to(&error))?;
            }
            Some(known) if known.store != owner.store => return Err(lost_its_data(node)),
            Some(known) if known.address != address => self.set(node, member).await?,
            Some(_) => {}
        }
        if self.membership().voter_ids().any(|voter| voter == node) {
            return Ok(());
        }
        self.caught_up(node).await?;
        self.reconfigure(ChangeMembers::AddVoterIds(BTreeSet::from([node]))).await
    }

    async fn remove(&self, node: u64) -> Result<(), MemberAnswer> {
        self.finish_change().await?;
        let membership = self.membership();
        if membership.get_node(&node).is_none() {
            return Ok(());
        }
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        if !voters.contains(&node) {
            return self.reconfigure(ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await;
        }
        if voters.len() == 1 {
            return Err(MemberAnswer::Refused(format!("n{node} is the last member")));
        }
        if node == self.node.0 && self.successor().is_some() {
            // Whoever is removed should not be the one to confirm it.
            return self.make_way(node).await;
        }
        self.reconfigure(ChangeMembers::RemoveVoters(BTreeSet::from([node]))).await
    }

    /// Hands the leadership on where it is this node's, which then answers for the change no longer.
    async fn make_way(&self, node: u64) -> Result<(), MemberAnswer> {
        if node != self.node.0 {
            return Ok(());
        }
        let nobody = || MemberAnswer::NotYet("no other member that could lead answers".to_owned());
        let successor = self.successor().ok_or_else(nobody)?;
        let handed = self.raft.trigger().transfer_leader(successor.0).await;
        handed.map_err(|fatal| MemberAnswer::NotYet(fatal.to_string()))?;
        Err(MemberAnswer::NotLeader(Some(successor.0)))
    }

    async fn relocate(&self, node: u64, address: &str) -> Result<(), MemberAnswer> {
        self.finish_change().await?;
        let membership = self.membership();
        let Some(known) = membership.get_node(&node) else {
            return Err(MemberAnswer::Refused(format!("n{node} is not a member")));
        };
        if known.address == address {
            return Ok(());
        }
        // An address that belongs to somebody else could make two majorities, so the node has to answer there.
        let owner = self.hello(node, address).await?;
        if owner.store != known.store {
            return Err(lost_its_data(node));
        }
        self.set(node, Member { address: address.to_owned(), store: owner.store }).await
    }

    async fn set(&self, node: u64, member: Member) -> Result<(), MemberAnswer> {
        self.reconfigure(ChangeMembers::SetNodes(BTreeMap::from([(node, member)]))).await
    }

    /// Completes a change that a former leader left half done.
    pub(super) async fn finish_change(&self) -> Result<(), MemberAnswer> {
        if !is_joint(&self.membership()) {
            return Ok(());
        }
        self.reconfigure(ChangeMembers::AddVoterIds(BTreeSet::new())).await
    }

    async fn reconfigure(&self, changes: ChangeMembers<u64, Member>) -> Result<(), MemberAnswer> {
        // Whoever stops being a voter leaves altogether.
        let changed = self.raft.change_membership(changes, false).await;
        changed.map(|_| ()).map_err(|error| answer_to(&error))
    }

    async fn caught_up(&self, node: u64) -> Result<(), MemberAnswer> {
        let ready = |m: &openraft::metrics::RaftMetrics<TypeConfig>| {
            let Some(replication) = &m.replication else { return true };
            let matched = replication.get(&node).copied().flatten();
            matched.is_some_and(|id| id.index + LAG >= m.last_log_index.unwrap_or(0))
        };
        match self.raft.wait(Some(CATCH_UP)).metrics(ready, "the new member has the log").await {
            Ok(metrics) if metrics.replication.is_some() => Ok(()),
            Ok(metrics) => Err(MemberAnswer::NotLeader(metrics.current_leader)),
            Err(_) => Err(MemberAnswer::NotYet(format!("n{node} does not have the whole log yet"))),
        }
    }

    /// Asks who answers at an address.
    async fn hello(&self, node: u64, address: &str) -> Result<Owner, MemberAnswer> {
        if node == self.node.0 {
            return Ok(self.receiver.owner);
        }
        let envelope = Envelope { to: node, store: None, body: () };
        let peer = Peer { node: NodeId(node), address };
        let sent = self.transport.raft(peer, kind::HELLO, message::encode(&envelope));
        match timeout(HELLO, sent).await {
            Err(_) => Err(MemberAnswer::NotYet(format!("n{node} does not answer at {address}"))),
            Ok(Err(TransportError::Refused(why))) => {
                Err(MemberAnswer::Refused(format!("n{node} was not found at {address}: {why}")))
            }
            Ok(Err(error)) => Err(MemberAnswer::NotYet(format!("n{node} at {address}: {error}"))),
            Ok(Ok(answer)) => match message::decode::<Owner>(&answer) {
                Ok(owner) if owner.node == node => Ok(owner),
                Ok(other) => Err(MemberAnswer::Refused(format!(
                    "n{} answers at {address}, and not n{node}",
                    other.node
                ))),
                Err(error) => Err(MemberAnswer::NotYet(format!("n{node} at {address}: {error}"))),
            },
        }
    }

    fn membership(&self) -> StoredMembership {
        self.raft.metrics().borrow_watched().membership_config.as_ref().clone()
    }
}

/// Whether two majorities are needed, because a change of the members is half done.
pub(super) fn is_joint(membership: &StoredMembership) -> bool {
    membership.get_joint_config().len() > 1
}

fn lost_its_data(node: u64) -> MemberAnswer {
    MemberAnswer::Refused(format!(
        "n{node} lost its data and is not the member it was; remove it and let the machine join under a new number"
    ))
}

fn answer_to(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MemberAnswer {
    match error {
        RaftError::APIError(
            ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to),
        ) => MemberAnswer::NotLeader(to.leader_id),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            error @ (ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_)),
        )) => MemberAnswer::NotYet(error.to_string()),
        RaftError::APIError(error) => MemberAnswer::Refused(error.to_string()),
        RaftError::Fatal(fatal) => MemberAnswer::NotYet(fatal.to_string()),
    }
}
