//! Artifacts: getting what is missing, deleting what nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::{Event, Hands};
use crate::diff::Standing;
use crate::store::StoreError;

/// How long an artifact that nobody here needs is kept: a deployment may be about to name it.
const UNNEEDED: Duration = Duration::from_secs(600);
/// How often parts of what nobody needs are thrown away.
const TIDY: Duration = Duration::from_secs(60);
/// How many artifacts come from other nodes at the same time.
const AT_ONCE: usize = 2;

/// A fetch that is under way, or that failed and waits.
#[derive(Debug)]
struct Fetching {
    failures: u32,
    task: AbortHandle,
    /// `None` while it is under way.
    again_at: Option<Instant>,
}

/// What is being fetched, and what nobody needs.
#[derive(Debug)]
pub(super) struct Fetches {
    turns: Arc<Semaphore>,
    fetching: BTreeMap<String, Fetching>,
    unneeded: BTreeMap<String, Instant>,
    /// When parts of what nobody needs were last thrown away.
    tidied: Option<Instant>,
}

impl Fetches {
    pub(super) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            fetching: BTreeMap::new(),
            unneeded: BTreeMap::new(),
            tidied: None,
        }
    }

    /// Artifacts that are being fetched, or that failed just now.
    pub(super) fn busy(&self, now: Instant) -> BTreeSet<String> {
        let is_busy = |f: &Fetching| f.again_at.is_none_or(|at| now < at);
        self.fetching.iter().filter(|(_, f)| is_busy(f)).map(|(digest, _)| digest.clone()).collect()
    }

    /// Stored artifacts that nobody here has needed for long.
    pub(super) fn long_unneeded(&self, now: Instant) -> BTreeSet<String> {
        let is_long = |since: &Instant| now.duration_since(*since) >= UNNEEDED;
        self.unneeded.iter().filter(|(_, s)| is_long(s)).map(|(digest, _)| digest.clone()).collect()
    }
}

impl Hands {
    pub(super) fn note_unneeded(&mut self, stored: &BTreeSet<String>, now: Instant) {
        let assigned = &self.assigned.artifacts;
        // What nobody asks for any more must not take the turn of what is needed.
        self.fetches.fetching.retain(|digest, fetching| {
            let wanted = assigned.contains_key(digest);
            if !wanted {
                fetching.task.abort();
            }
            wanted
        });
        let needed: BTreeSet<&String> = self
            .locals
            .values()
            .map(|local| &local.digest)
            .chain(assigned.keys())
            .chain(self.builds.images().map(|image| &image.digest))
            .collect();
        let unneeded = &mut self.fetches.unneeded;
        unneeded.retain(|digest, _| stored.contains(digest) && !needed.contains(digest));
        for digest in stored.iter().filter(|d| !needed.contains(d)) {
            unneeded.entry(digest.clone()).or_insert(now);
        }
    }

    pub(super) fn fetch(&mut self, digest: String) {
        let Some(wanted) = self.assigned.artifacts.get(&digest).cloned() else { return };
        let (store, fetch, tell) = (Arc::clone(&self.store), Arc::clone(&self.fetch), self.tell.clone());
        let turns = Arc::clone(&self.fetches.turns);
        let name = digest.clone();
        let task = self.tasks.spawn(async move {
            // They are never closed.
            let _turn = turns.acquire().await;
            let outcome = store.fetch(&wanted.artifact, &wanted.holders, fetch.as_ref()).await;
            let _ = tell.send(Event::Fetched(name, outcome));
        });
        let failures = self.fetches.fetching.get(&digest).map_or(0, |f| f.failures);
        self.fetches.fetching.insert(digest, Fetching { failures, task, again_at: None });
    }

    /// Throws away parts of artifacts whose fetch was given up.
    pub(super) fn tidy(&mut self, now: Instant) {
        let due = self.fetches.tidied.is_none_or(|at| now.saturating_duration_since(at) >= TIDY);
        if !due || self.standing() != Standing::Current {
            return;
        }
        self.fetches.tidied = Some(now);
        let keep = self.assigned.artifacts.keys().cloned().collect();
        let store = Arc::clone(&self.store);
        self.tasks.spawn_blocking(move || {
            if let Err(error) = store.tidy(&keep) {
                tracing::warn!(%error, "parts of artifacts cannot be removed");
            }
        });
    }

    pub(super) fn fetched(&mut self, digest: &str, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => {
                tracing::info!(digest, "artifact fetched");
                self.fetches.fetching.remove(digest);
            }
            Err(error) => {
                tracing::warn!(digest, %error, "artifact not fetched");
                if let Some(fetching) = self.fetches.fetching.get_mut(digest) {
                    fetching.failures += 1;
                    let wait = Duration::from_millis(500 << fetching.failures.min(4));
                    fetching.again_at = Some(Instant::now() + wait);
                }
            }
        }
    }

    pub(super) fn forget_artifact(&mut self, digest: String) {
        self.fetches.unneeded.remove(&digest);
        // At once, so that nothing is started from it meanwhile.
        self.store.hide(&digest);
        let (store, runtime) = (Arc::clone(&self.store), Arc::clone(&self.runtime));
        self.tasks.spawn(async move {
            tracing::info!(digest, "artifact deleted");
            if let Err(error) = store.delete(&digest).await {
                tracing::warn!(digest, %error, "artifact not deleted");
            }
            if let Err(error) = runtime.discard(&digest).await {
                tracing::warn!(digest, %error, "what was made from it is not removed");
            }
        });
    }
}
