//! What this node knows of itself: its disks, what runs instances here, and whether it still belongs to
//! the cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::model::{Exit, InstanceId, RuntimeKind, Seen};
use temps_core::text;

use super::{Event, Hands};
use crate::condition::Condition;
use crate::lease::{Lease, Moment};
use crate::local::Stage;
use crate::store::free_space;

/// How often what runs instances is asked how it is.
const TROUBLE: Duration = Duration::from_secs(2);
/// How long that may take.
const TROUBLE_LIMIT: Duration = Duration::from_secs(5);
/// How often disks are measured.
const FREE: Duration = Duration::from_secs(5);
/// How long a quorum may take to answer.
const QUORUM_LIMIT: Duration = Duration::from_secs(10);

/// What this node knows of itself.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) condition: Condition,
    pub(super) lease: Lease,
    /// Remembers over a restart when there was a quorum.
    proof: PathBuf,
    disks: Vec<PathBuf>,
    trouble: Turn,
    free: Turn,
}

/// When something is asked that is asked now and then.
#[derive(Debug, Default)]
struct Turn {
    under_way: bool,
    last: Option<Instant>,
}

impl Turn {
    fn begins(&mut self, now: Instant, every: Duration) -> bool {
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= every);
        if self.under_way || !due {
            return false;
        }
        (self.under_way, self.last) = (true, Some(now));
        true
    }
}

impl Own {
    pub(super) fn new(
        kind: RuntimeKind,
        labels: BTreeMap<String, String>,
        disks: Vec<PathBuf>,
        lease: Duration,
        data: &Path,
    ) -> Self {
        let proof = data.join("quorum.json");
        Self {
            condition: Condition::new(kind, labels),
            lease: Lease::new(lease, Moment::age(&proof), Instant::now()),
            proof,
            disks,
            trouble: Turn::default(),
            free: Turn::default(),
        }
    }

    pub(super) fn heard(&mut self, trouble: Option<String>) {
        self.trouble.under_way = false;
        self.condition.set_trouble(trouble, Instant::now());
    }

    pub(super) fn measured(&mut self, free: Option<u64>) {
        self.free.under_way = false;
        self.condition.set_free(free);
    }

    pub(super) fn quorum(&mut self, asked: Instant, has: bool) {
        self.lease.answered();
        if has {
            self.lease.prove(asked);
        }
    }
}

impl Hands {
    pub(super) fn look_at_node(&mut self, now: Instant) {
        if self.own.trouble.begins(now, TROUBLE) {
            let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
            self.tasks.spawn(async move {
                let silent = |_| Some("what runs instances on this node does not answer".to_owned());
                let trouble = tokio::time::timeout(TROUBLE_LIMIT, runtime.trouble()).await;
                let _ = tell.send(Event::Trouble(trouble.unwrap_or_else(silent)));
            });
        }
        if !self.own.disks.is_empty() && self.own.free.begins(now, FREE) {
            let (disks, tell) = (self.own.disks.clone(), self.tell.clone());
            // A disk that hangs holds up nothing but this.
            self.tasks.spawn_blocking(move || {
                let _ = tell.send(Event::Free(disks.iter().filter_map(|disk| free_space(disk).ok()).min()));
            });
        }
    }

    /// Ends what is exclusive once others may run it.
    pub(super) fn keep_lease(&mut self, now: Instant) {
        let exclusive = self.exclusive();
        if exclusive.is_empty() {
            return;
        }
        if self.own.lease.asks(now) {
            let (ledger, tell, file) = (Arc::clone(&self.ledger), self.tell.clone(), self.own.proof.clone());
            self.tasks.spawn(async move {
                let (asked, moment) = (Instant::now(), Moment::now());
                let has = matches!(tokio::time::timeout(QUORUM_LIMIT, ledger.barrier()).await, Ok(Ok(_)));
                let _ = tell.send(Event::Quorum(asked, has));
                if has {
                    let written = tokio::task::spawn_blocking(move || moment.write(&file)).await;
                    if let Ok(Err(error)) = written {
                        tracing::warn!(%error, "that there is a quorum cannot be remembered");
                    }
                }
            });
        }
        if !self.own.lease.is_over(now) {
            return;
        }
        let limit = u64::try_from(self.own.lease.limit().as_millis()).unwrap_or(u64::MAX);
        let error = format!("stopped: its node had no quorum for {}", text::duration(limit));
        for id in exclusive {
            if let Some(local) = self.locals.get_mut(&id)
                && matches!(local.stage, Stage::Up(..))
                && local.over.is_none()
            {
                tracing::warn!(instance = %id, error, "others may run it now");
                let error = Some(error.clone());
                local.call_over(Exit { error, excused: true, ..Exit::default() });
            }
        }
    }

    /// Assigned instances of which never two may run, and that run here or are to.
    fn exclusive(&self) -> Vec<InstanceId> {
        let all = self.assigned.instances.values().filter(|work| work.process.exclusive);
        all.filter(|work| {
            let local = self.locals.get(&work.instance.id);
            // Before it was looked for, it may run.
            local.map_or(work.instance.seen < Seen::Exited, |local| {
                matches!(local.stage, Stage::Unstarted | Stage::Starting | Stage::Up(..))
            })
        })
        .map(|work| work.instance.id)
        .collect()
    }
}
