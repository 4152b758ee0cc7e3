//! What a list of everything on this node says, compared with what is known here.
//!
//! A list that cannot be had says nothing: what is known stands. One that was asked for before an instance
//! went to its stage says nothing about that.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::model::{Exit, InstanceId};

use super::{Event, Hands};
use crate::local::{Care, Local, Stage};
use crate::runtime::{Condition, Found, Running};

/// Time between lists where nothing is known to have changed.
const EVERY: Duration = Duration::from_secs(10);
/// Time between two lists at least, however much changes.
const GAP: Duration = Duration::from_millis(100);
/// Until what a list did not show is looked for again: meanwhile whoever waits for it may tell how it ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A list that takes longer is given up.
const LIMIT: Duration = Duration::from_secs(60);
/// The first wait after a list that failed; doubled with each further one.
const FAILED: Duration = Duration::from_millis(500);
/// The longest.
const FAILED_MAX: Duration = Duration::from_secs(5);

/// When everything is listed.
#[derive(Debug)]
pub(super) struct Listing {
    /// There was one.
    done: bool,
    under_way: bool,
    due: Instant,
    failures: u32,
}

impl Listing {
    pub(super) fn new() -> Self {
        Self { done: false, under_way: false, due: Instant::now(), failures: 0 }
    }

    /// Whether everything was listed since the start of the server.
    pub(super) fn done(&self) -> bool {
        self.done
    }

    /// A list that is asked for at `at` or later is wanted.
    pub(super) fn want(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    fn begins(&mut self, now: Instant) -> bool {
        let begins = !self.under_way && now >= self.due;
        if begins {
            self.under_way = true;
            self.due = now + EVERY;
        }
        begins
    }

    fn ended(&mut self, asked: Instant, worked: bool, now: Instant) {
        self.under_way = false;
        if worked {
            self.done = true;
            self.failures = 0;
            self.due = self.due.max(asked + GAP);
        } else {
            let wait = FAILED.saturating_mul(1 << self.failures.min(8)).min(FAILED_MAX);
            self.failures = self.failures.saturating_add(1);
            self.due = now + wait;
        }
    }
}

impl Hands {
    /// Tells of every change that only a list shows.
    pub(super) fn watch_changes(&mut self) {
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            loop {
                runtime.changed().await;
                let _ = tell.send(Event::Changed);
                tokio::time::sleep(GAP).await;
            }
        });
    }

    pub(super) fn list_if_due(&mut self, now: Instant) {
        if !self.listing.begins(now) {
            return;
        }
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            let asked = Instant::now();
            let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
            let outcome = tokio::time::timeout(LIMIT, runtime.list()).await.unwrap_or_else(late);
            let _ = tell.send(Event::Listed(asked, outcome));
        });
    }

    pub(super) fn listed(&mut self, asked: Instant, outcome: io::Result<Vec<Found>>) {
        let now = Instant::now();
        self.listing.ended(asked, outcome.is_ok(), now);
        let found = match outcome {
            Ok(found) => found,
            Err(error) if self.listing.failures == 1 => {
                tracing::warn!(%error, "the instances on this node cannot be listed");
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the instances on this node still cannot be listed");
                return;
            }
        };
        let known = self.locals.iter().filter(|(_, local)| local.since <= asked && local.running().is_some());
        let mut unseen: BTreeSet<InstanceId> = known.map(|(id, _)| *id).collect();
        for found in found {
            unseen.remove(&found.instance);
            self.compare(asked, found);
        }
        for id in unseen {
            self.not_found(id, now);
        }
    }

    fn compare(&mut self, asked: Instant, found: Found) {
        let id = found.instance;
        let Some(local) = self.locals.get_mut(&id) else {
            let local = Local::found(found);
            tracing::info!(instance = %id, phase = ?local.phase(), "found on this node");
            let runs = local.running().is_some();
            self.locals.insert(id, local);
            if runs {
                self.wait_for_end(id);
            }
            return;
        };
        if local.since > asked {
            return;
        }
        local.missed = false;
        match (&local.stage, found.condition) {
            (Stage::Up(known, _) | Stage::Stopping(known), Condition::Running(now)) => {
                if known.incarnation != now.incarnation {
                    local.call_over(anew());
                } else if known.endpoint != now.endpoint {
                    self.moved(id, now);
                }
            }
            (Stage::Up(..) | Stage::Stopping(_), Condition::Ended(exit)) => self.ended(id, exit),
            (Stage::Unstarted, Condition::Running(running)) => {
                tracing::info!(instance = %id, incarnation = running.incarnation, "runs after all");
                local.enter(Stage::Up(running, Care::Nothing));
                self.wait_for_end(id);
            }
            (Stage::Unstarted, Condition::Ended(exit)) => local.enter(Stage::Ended(exit)),
            // Whatever started it again, it was over.
            (Stage::Ended(exit), Condition::Running(running)) => {
                local.over = Some(exit.clone());
                local.enter(Stage::Up(running, Care::Nothing));
            }
            (Stage::Up(..) | Stage::Stopping(_) | Stage::Unstarted | Stage::Ended(_), _)
            | (Stage::Starting | Stage::Removing(_) | Stage::Removed(_), _) => {}
        }
    }

    /// The same start answers at another address: the old one may be another's by now.
    fn moved(&mut self, id: InstanceId, now: Running) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        tracing::info!(instance = %id, endpoint = ?now.endpoint, "has another address");
        match &mut local.stage {
            Stage::Up(running, Care::Health) => {
                *running = now;
                let vitals = local.vitals.clone();
                self.begin_checks(id, vitals);
            }
            Stage::Up(running, Care::Nothing | Care::Drain) | Stage::Stopping(running) => *running = now,
            Stage::Unstarted | Stage::Starting | Stage::Ended(_) | Stage::Removing(_) | Stage::Removed(_) => {
            }
        }
    }

    fn not_found(&mut self, id: InstanceId, now: Instant) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        if !local.missed {
            local.missed = true;
            self.listing.want(now + LOOK_AGAIN);
            return;
        }
        let asked = matches!(local.stage, Stage::Stopping(_));
        let error = Some("nothing of it is left on this node, and it was not removed by it".to_owned());
        self.ended(id, Exit { error, asked, excused: true, ..Exit::default() });
    }
}

/// How an instance has ended that somebody else started again.
pub(super) fn anew() -> Exit {
    let error = Some("something else started it again".to_owned());
    Exit { error, excused: true, ..Exit::default() }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Listing;

    #[test]
    fn a_change_is_looked_at_at_once_also_while_a_list_is_made() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut listing = Listing { due: start, ..Listing::new() };
        assert!(listing.begins(start) && !listing.begins(at(20_000)), "one at a time");
        listing.want(at(40));
        listing.ended(start, true, at(50));
        assert!(listing.done());
        assert!(!listing.begins(at(99)) && listing.begins(at(100)));
        listing.ended(at(100), true, at(110));
        assert!(!listing.begins(at(10_099)) && listing.begins(at(10_100)), "every ten seconds");
    }

    #[test]
    fn lists_that_fail_are_tried_again_ever_later() {
        let start = Instant::now();
        let mut listing = Listing { due: start, ..Listing::new() };
        let mut now = start;
        for wait in [500, 1_000, 2_000, 4_000, 5_000, 5_000] {
            assert!(listing.begins(now));
            listing.ended(now, false, now);
            assert!(!listing.done());
            now += Duration::from_millis(wait);
            assert!(!listing.begins(now - Duration::from_millis(1)));
        }
        assert!(listing.begins(now));
        listing.ended(now, true, now);
        assert!(listing.done());
    }
}
