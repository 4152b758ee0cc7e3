//! Who leads, what a leader counts, and the clock it stamps with.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use openraft::Instant as _;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::metrics::RaftMetrics;
use temps_core::model::{Millis, NodeId};
use temps_ledger::{ClusterClock, Leadership, wall};

use super::Inner;
use super::member::is_joint;
use crate::types::TypeConfig;

type Metrics = RaftMetrics<TypeConfig>;

/// What a node remembers while it leads.
#[derive(Debug)]
pub(super) struct Leading {
    term: u64,
    /// When it was elected.
    since: Instant,
    /// Runs from the moment when everything of the terms before is applied here.
    clock: Option<ClusterClock>,
}

/// Follows openraft's metrics until the node is closed.
pub(super) async fn watch(inner: Weak<Inner>, mut metrics: WatchReceiverOf<TypeConfig, Metrics>) {
    loop {
        let now = metrics.borrow_watched().clone();
        let Some(inner) = inner.upgrade() else { return };
        if inner.observe(&now) == Office::Began && is_joint(&now.membership_config) {
            tokio::spawn(inner.finish_what_was_begun());
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// What a change of the metrics meant for this node's leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Office {
    /// It leads from now on.
    Began,
    /// Nothing.
    Same,
}

impl Inner {
    async fn finish_what_was_begun(self: Arc<Self>) {
        let _one_at_a_time = self.changing.lock().await;
        if let Err(error) = self.finish_change().await {
            tracing::warn!(node = %self.node, ?error, "a half-done change of the members stays half done");
        }
    }

    fn observe(&self, metrics: &Metrics) -> Office {
        self.book.update(metrics.membership_config.nodes());
        let running = metrics.running_state.is_ok();
        let leads = running && metrics.state.is_leader() && metrics.current_leader == Some(self.node.0);
        let ready = leads && applied_own_term(metrics);
        let office = self.keep_clock(metrics.current_term, leads, ready);

        // A leader says so once its state has everything of the terms before it, so that nobody plans on less.
        let leader = match metrics.current_leader.map(NodeId) {
            Some(leader) if leader == self.node => ready.then_some(leader),
            other => other.filter(|_| running),
        };
        let next = Leadership { term: metrics.current_term, leader };
        self.leadership.send_if_modified(|current| {
            let changed = *current != next;
            *current = next;
            changed
        });
        if let Err(fatal) = &metrics.running_state {
            self.stopped(fatal);
        }
        office
    }

    fn stopped(&self, fatal: &Fatal<TypeConfig>) {
        if matches!(fatal, Fatal::Stopped) && *self.closing.borrow() {
            return;
        }
        self.fatal.send_if_modified(|current| {
            if current.is_some() {
                return false;
            }
            tracing::error!(node = %self.node, error = %fatal, "this node cannot go on");
            *current = Some(fatal.to_string());
            true
        });
    }

    fn keep_clock(&self, term: u64, leads: bool, ready: bool) -> Office {
        let mut leading = self.leading.lock().unwrap_or_else(PoisonError::into_inner);
        if !leads {
            *leading = None;
            return Office::Same;
        }
        let current = match leading.take() {
            Some(current) if current.term == term => current,
            _ => Leading { term, since: Instant::now(), clock: None },
        };
        let current = leading.insert(current);
        if ready && current.clock.is_none() {
            current.clock = Some(ClusterClock::starting_at(self.base()));
            return Office::Began;
        }
        Office::Same
    }

    /// Where the clock of a leader begins: a cluster's clock begins with the wall clock of its founder.
    fn base(&self) -> Millis {
        match self.published.state().clock {
            0 => wall(),
            clock => clock,
        }
    }

    /// The cluster clock where this node leads, and the state's clock elsewhere.
    pub(super) fn now(&self) -> Millis {
        let leading = self.leading.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = leading.as_ref().and_then(|leading| leading.clock);
        let known = self.published.state().clock;
        clock.map_or(known, |clock| clock.now().max(known))
    }

    /// For how long each other member has not acknowledged anything.
    pub(super) fn silence(&self) -> BTreeMap<NodeId, Duration> {
        let leading = self.leading.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(leading) = leading.as_ref() else { return BTreeMap::new() };
        let elected = leading.since.elapsed();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let heard = |id: &u64| {
            let acknowledged = metrics.heartbeat.as_ref()?.get(id)?.as_ref()?;
            Some(acknowledged.elapsed())
        };
        let others = metrics.membership_config.nodes().map(|(id, _)| id).filter(|id| **id != self.node.0);
        others.map(|id| (NodeId(*id), heard(id).map_or(elected, |heard| heard.min(elected)))).collect()
    }

    /// The voter that can take over with the least to catch up, if one was heard of late.
    pub(super) fn successor(&self) -> Option<NodeId> {
        let silence = self.silence();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_leader != Some(self.node.0) {
            return None;
        }
        let matched = |id: u64| metrics.replication.as_ref().and_then(|all| all.get(&id)).copied().flatten();
        let voters = metrics.membership_config.membership().voter_ids().filter(|id| *id != self.node.0);
        let alive = voters.filter(|id| silence.get(&NodeId(*id)).is_some_and(|silent| *silent < self.lease));
        alive.max_by_key(|id| matched(*id)).map(NodeId)
    }
}

/// Whether the last applied entry is of this leader's own term.
fn applied_own_term(metrics: &Metrics) -> bool {
    metrics.last_applied.is_some_and(|id| id.leader_id == metrics.vote.leader_id)
}
