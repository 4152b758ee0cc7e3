//! One instance as this node knows it.

use std::time::{Duration, Instant};

use temps_core::model::{Exit, Seen};
use tokio::task::AbortHandle;

use crate::diff::Phase;
use crate::drain::Drain;
use crate::health::Vitals;
use crate::runtime::{Condition, Found, Running};

/// How far an instance is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Prepared and never started: by a server that has ended since, or it could not be started yet.
    Unstarted,
    /// Being started.
    Starting,
    /// Running.
    Up(Running, Care),
    /// Asked to end.
    Stopping(Running),
    /// Ended; its traces are there.
    Ended(Exit),
    /// Its traces are being removed.
    Removing(Option<Exit>),
    /// Nothing is left.
    Removed(Option<Exit>),
}

/// How a running instance is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// It was only found or started.
    Nothing,
    /// Its health is checked.
    Health,
    /// What is in flight for it is watched.
    Drain,
}

/// One instance as this node knows it.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) stage: Stage,
    /// Since when it is at this stage. What was listed before then is older.
    pub(crate) since: Instant,
    /// The artifact that it needs.
    pub(crate) digest: String,
    /// Time between the stop signal and the kill, where it is not assigned any more.
    pub(crate) stop_grace: Duration,
    pub(crate) vitals: Vitals,
    pub(crate) drain: Drain,
    /// It does not run any more; how it ended is being found out.
    pub(crate) ended: bool,
    /// It runs and must not: it is ended, and this is how it counts as ended then.
    pub(crate) over: Option<Exit>,
    /// Requests that the stop cuts, and when that was seen.
    pub(crate) cut: Option<(u64, Instant)>,
    /// Something failed; it is tried again then.
    pub(crate) not_before: Option<Instant>,
    /// How often it could not be started yet.
    pub(crate) tries: u32,
    /// The last list did not show it.
    pub(crate) missed: bool,
    /// The task that checks its health.
    pub(crate) checks: Option<AbortHandle>,
}

impl Local {
    pub(crate) fn new(stage: Stage, digest: String, stop_grace: Duration) -> Self {
        Self {
            stage,
            since: Instant::now(),
            digest,
            stop_grace,
            vitals: Vitals::new(Seen::Starting),
            drain: Drain::default(),
            ended: false,
            over: None,
            cut: None,
            not_before: None,
            tries: 0,
            missed: false,
            checks: None,
        }
    }

    pub(crate) fn found(found: Found) -> Self {
        let stage = match found.condition {
            Condition::Running(running) => Stage::Up(running, Care::Nothing),
            Condition::Ended(exit) => Stage::Ended(exit),
            Condition::Unstarted => Stage::Unstarted,
        };
        Self::new(stage, found.digest, found.stop_grace)
    }

    /// Goes to another stage, now.
    pub(crate) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = Instant::now();
        self.missed = false;
    }

    /// It runs and must not any more. It counts as ended like this once it has, unless it was over before.
    pub(crate) fn call_over(&mut self, exit: Exit) {
        self.end_checks();
        self.over.get_or_insert(exit);
    }

    /// It has ended, like this unless it was over before.
    pub(crate) fn end(&mut self, exit: Exit) {
        self.end_checks();
        let killed_after_grace = exit.killed_after_grace;
        let exit = self.over.take().map_or(exit, |over| Exit { killed_after_grace, ..over });
        self.enter(Stage::Ended(exit));
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Unstarted => Phase::Unstarted,
            Stage::Starting => Phase::Starting,
            Stage::Up(..) if self.over.is_some() => Phase::Over,
            Stage::Up(_, Care::Nothing) => Phase::Found,
            Stage::Up(_, Care::Health) => Phase::Running,
            Stage::Up(_, Care::Drain) => Phase::Draining,
            Stage::Stopping(_) => Phase::Stopping,
            Stage::Ended(_) => Phase::Ended,
            Stage::Removing(_) => Phase::Removing,
            Stage::Removed(_) => Phase::Removed,
        }
    }

    /// What runs, where something does.
    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.stage {
            Stage::Up(running, _) | Stage::Stopping(running) => Some(running),
            Stage::Unstarted | Stage::Starting | Stage::Ended(_) | Stage::Removing(_) | Stage::Removed(_) => {
                None
            }
        }
    }

    /// Nothing of it runs that should, and nothing of it is about to.
    pub(crate) fn is_down(&self) -> bool {
        self.ended
            || self.over.is_some()
            || self.running().is_none() && !matches!(self.stage, Stage::Starting)
    }

    pub(crate) fn end_checks(&mut self) {
        if let Some(checks) = self.checks.take() {
            checks.abort();
        }
    }
}
