//! What came of acts on instances.

use std::time::{Duration, Instant};

use temps_core::model::{Exit, InstanceId};

use super::{Hands, TRY_AGAIN};
use crate::health::Vitals;
use crate::local::{Care, Stage};
use crate::runtime::{Running, StartError};

/// The first wait for what could not be started yet; doubled with each further one.
const NOT_NOW: Duration = Duration::from_millis(500);
/// The longest.
const NOT_NOW_MAX: Duration = Duration::from_secs(5);

impl Hands {
    pub(super) fn started(&mut self, id: InstanceId, outcome: Result<Running, StartError>) {
        let can_fetch_again = self.somebody_has(id);
        let Some(local) = self.locals.get_mut(&id) else { return };
        match outcome {
            Ok(running) => {
                tracing::info!(instance = %id, incarnation = running.incarnation, "started");
                local.tries = 0;
                local.vitals.last_check = None;
                local.enter(Stage::Up(running, Care::Nothing));
                self.wait_for_end(id);
            }
            Err(StartError::NotNow(why)) => {
                tracing::warn!(instance = %id, why, "not started yet");
                let wait = NOT_NOW.saturating_mul(1 << local.tries.min(8)).min(NOT_NOW_MAX);
                local.tries = local.tries.saturating_add(1);
                local.not_before = Some(Instant::now() + wait);
                local.vitals.last_check = Some(format!("waiting: {why}"));
                local.enter(Stage::Unstarted);
            }
            Err(StartError::Damaged) if can_fetch_again => {
                tracing::warn!(instance = %id, "the stored artifact is damaged and is fetched again");
                if let Some(local) = self.locals.remove(&id) {
                    self.forget_artifact(local.digest);
                }
            }
            Err(error) => {
                tracing::warn!(instance = %id, %error, "not started");
                let error = Some(error.to_string());
                local.enter(Stage::Ended(Exit { error, ..Exit::default() }));
            }
        }
    }

    fn somebody_has(&self, id: InstanceId) -> bool {
        let digest = self.assigned.instances.get(&id).map(|work| &work.artifact.digest);
        digest.and_then(|d| self.assigned.artifacts.get(d)).is_some_and(|wanted| !wanted.holders.is_empty())
    }

    pub(super) fn checked(&mut self, id: InstanceId, vitals: Vitals) {
        if let Some(local) = self.locals.get_mut(&id)
            && matches!(local.stage, Stage::Up(_, Care::Health))
        {
            tracing::info!(instance = %id, seen = ?vitals.seen, last_check = vitals.last_check, "checked");
            local.vitals = vitals;
        }
    }

    /// Nothing is sent to it from now on.
    pub(super) fn ends(&mut self, id: InstanceId) {
        if let Some(local) = self.locals.get_mut(&id)
            && local.running().is_some()
        {
            local.end_checks();
            local.ended = true;
        }
    }

    pub(super) fn ended(&mut self, id: InstanceId, exit: Exit) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        match &local.stage {
            Stage::Starting | Stage::Up(..) | Stage::Stopping(_) => {}
            // How it ended is known already, or it is another start that ended.
            Stage::Unstarted | Stage::Ended(_) | Stage::Removing(_) | Stage::Removed(_) => return,
        }
        tracing::info!(instance = %id, how = exit.how(), asked = exit.asked, excused = exit.excused, "ended");
        local.end(exit);
    }

    pub(super) fn stopped(&mut self, id: InstanceId, outcome: std::io::Result<()>) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        let Stage::Stopping(running) = &local.stage else { return };
        match outcome {
            // How this start ended is nobody's business.
            Ok(()) if local.over.is_some() => local.end(Exit::default()),
            // That it has ended, and how, is told by the task that waits for it.
            Ok(()) => {}
            Err(error) => {
                tracing::error!(instance = %id, %error, "not stopped");
                local.enter(Stage::Up(running.clone(), Care::Drain));
                local.not_before = Some(Instant::now() + TRY_AGAIN);
            }
        }
    }

    pub(super) fn removed(&mut self, id: InstanceId, outcome: std::io::Result<()>) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        let Stage::Removing(exit) = &mut local.stage else { return };
        let exit = exit.take();
        match outcome {
            Ok(()) => {
                tracing::info!(instance = %id, "removed");
                local.enter(Stage::Removed(exit));
            }
            Err(error) => {
                tracing::error!(instance = %id, %error, "not removed");
                local.enter(exit.map_or(Stage::Unstarted, Stage::Ended));
                local.not_before = Some(Instant::now() + TRY_AGAIN);
            }
        }
    }
}
