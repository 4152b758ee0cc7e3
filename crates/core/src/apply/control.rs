//! A deployment that is under way, directed by hand.

use super::{Answer, Change, not_found};
use crate::command::{Made, Outcome, Rejection};
use crate::model::{Deployment, DeploymentId, Phase, What};

impl Change<'_> {
    pub(super) fn cancel(&mut self, id: DeploymentId) -> Answer {
        let by = self.by.to_owned();
        let found =
            self.state.deployments.get_mut(&id).ok_or_else(|| not_found(format!("deployment {id}")))?;
        match found.phase {
            Phase::Queued => {
                self.end(id, Phase::Cancelled);
                Ok(Outcome::Done(Made::Deployment(id)))
            }
            Phase::Watching if found.contracts && found.command.is_some() => Err(Rejection::Conflict {
                why: format!(
                    "deployment {id} cannot be cancelled any more: its release command takes away what the release before needs"
                ),
            }),
            Phase::Building | Phase::Releasing | Phase::Stepping | Phase::Watching
                if found.cancel.is_none() =>
            {
                found.cancel = Some(by);
                Ok(Outcome::Done(Made::Deployment(id)))
            }
            Phase::Building | Phase::Releasing | Phase::Stepping | Phase::Watching | Phase::Reverting => {
                Ok(Outcome::NoChange(Made::Deployment(id)))
            }
            Phase::Succeeded | Phase::RolledBack | Phase::Failed | Phase::Cancelled | Phase::Superseded => {
                Err(Rejection::Conflict {
                    why: format!(
                        "deployment {id} has ended ({}); to leave its release use `temps deployments rollback`",
                        found.phase.word()
                    ),
                })
            }
        }
    }

    /// It waits after its current step, as long as it takes: only what it does now has a time limit.
    pub(super) fn pause(&mut self, id: DeploymentId) -> Answer {
        let found = self.under_way(id, "paused")?;
        if found.paused.is_some() {
            return Ok(Outcome::NoChange(Made::Deployment(id)));
        }
        // A release command runs on, and its time, too.
        let keeps_time = found.phase == Phase::Releasing;
        let environment = found.environment;
        let by = self.by.to_owned();
        if let Some(found) = self.state.deployments.get_mut(&id) {
            found.paused = Some(by.clone());
            found.deadline = found.deadline.filter(|_| keeps_time);
        }
        self.emit(Some(id), Some(environment), What::Paused { by });
        Ok(Outcome::Done(Made::Deployment(id)))
    }

    pub(super) fn resume(&mut self, id: DeploymentId) -> Answer {
        let found = self.under_way(id, "resumed")?;
        if found.paused.is_none() {
            return Ok(Outcome::NoChange(Made::Deployment(id)));
        }
        let environment = found.environment;
        self.go_on(id);
        self.emit(Some(id), Some(environment), What::Resumed { by: self.by.to_owned() });
        Ok(Outcome::Done(Made::Deployment(id)))
    }

    pub(super) fn promote(&mut self, id: DeploymentId, all: bool) -> Answer {
        let found = self.under_way(id, "promoted")?;
        let reach = if all { usize::MAX } else { 1 };
        let holds =
            found.progress.values().any(|p| p.steps.iter().skip(p.at).take(reach).any(|s| s.hold > 0));
        if !holds && found.paused.is_none() {
            return Ok(Outcome::NoChange(Made::Deployment(id)));
        }
        let environment = found.environment;
        let clock = self.state.clock;
        if let Some(found) = self.state.deployments.get_mut(&id) {
            for progress in found.progress.values_mut() {
                progress.hold_until = progress.hold_until.map(|until| until.min(clock));
                progress.steps.iter_mut().skip(progress.at).take(reach).for_each(|step| step.hold = 0);
            }
        }
        self.go_on(id);
        self.emit(Some(id), Some(environment), What::Promoted { all, by: self.by.to_owned() });
        Ok(Outcome::Done(Made::Deployment(id)))
    }

    /// What comes next has all its time.
    fn go_on(&mut self, id: DeploymentId) {
        let Some(found) = self.state.deployments.get(&id) else { return };
        let deadline = self.state.clock.saturating_add(self.allowed(found.to, found.phase));
        let keeps_time = found.phase == Phase::Releasing;
        if let Some(found) = self.state.deployments.get_mut(&id) {
            found.paused = None;
            found.deadline = found.deadline.filter(|_| keeps_time).or(Some(deadline));
        }
    }

    /// A deployment that has begun and not come to its end.
    fn under_way(&self, id: DeploymentId, what: &str) -> Result<&Deployment, Rejection> {
        let found = self.state.deployments.get(&id).ok_or_else(|| not_found(format!("deployment {id}")))?;
        let why = match found.phase {
            Phase::Building | Phase::Releasing | Phase::Stepping if found.cancel.is_none() => {
                return Ok(found);
            }
            Phase::Building | Phase::Releasing | Phase::Stepping | Phase::Reverting => "is being taken back",
            Phase::Queued => "has not begun",
            Phase::Watching => "has replaced all instances and is being watched",
            Phase::Succeeded | Phase::RolledBack | Phase::Failed | Phase::Cancelled | Phase::Superseded => {
                "has ended"
            }
        };
        Err(Rejection::Conflict { why: format!("deployment {id} {why}, so it cannot be {what}") })
    }
}
