//! What to do next. Pure: the same state and time give the same plan on every leader.

mod converge;
mod judge;
mod leave;
mod place;
mod prepare;
mod reason;

use crate::command::Action;
use crate::model::{
    Cause, ClusterState, Deployment, Environment, Instance, Millis, Phase, RELEASE_PROCESS, Reason,
    ReleaseId, Seen, Want,
};
use crate::strategy::{limits, peak};
pub(crate) use converge::UNHEARD_STOP;
use converge::{Course, Goal, converge};

/// What to do now, and when to look again although nothing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// On the cluster clock.
    pub wake_at: Option<Millis>,
}

impl Plan {
    fn wake(&mut self, at: Millis) {
        self.wake_at = Some(self.wake_at.map_or(at, |old| old.min(at)));
    }

    /// True once `at` has come; otherwise makes sure that somebody looks again then.
    fn due(&mut self, now: Millis, at: Millis) -> bool {
        let due = now >= at;
        if !due {
            self.wake(at);
        }
        due
    }
}

/// What the leader should write next. `now` is its cluster clock.
#[must_use]
pub fn plan(state: &ClusterState, now: Millis) -> Plan {
    let now = now.max(state.clock);
    let mut plan = Plan::default();
    for environment in state.environments.values() {
        finish(state, environment, now, &mut plan);
        match state.live(environment.id) {
            Some(live) => carry_on(state, environment, live, now, &mut plan),
            None => match state.queued(environment.id) {
                Some(next) => plan.actions.push(Action::Begin { deployment: next.id }),
                None => settle(state, environment, now, &mut plan),
            },
        }
    }
    plan
}

/// Stops what has drained, timed out or ended.
fn finish(state: &ClusterState, environment: &Environment, now: Millis, plan: &mut Plan) {
    for instance in state.instances.values().filter(|i| i.environment == environment.id && !i.lost) {
        let exited = instance.seen == Seen::Exited;
        let why = match instance.want {
            Want::Run | Want::Drain if exited => Some(Reason::Exited),
            Want::Drain if instance.drained => Some(Reason::Drained),
            Want::Drain => {
                let due = plan.due(now, instance.drain_deadline.unwrap_or(now));
                due.then_some(Reason::TimedOut)
            }
            Want::Run | Want::Stop | Want::Gone => None,
        };
        if why.is_some() {
            plan.actions.push(Action::Stop { instance: instance.id, why });
        }
    }
}

/// No deployment is under way: the current release runs as wanted.
fn settle(state: &ClusterState, environment: &Environment, now: Millis, plan: &mut Plan) {
    for process in processes(state, environment, environment.current) {
        let goal = Goal::whole(state, environment, &process, environment.current, None);
        converge(state, &goal, now, plan);
    }
}

/// The processes that are wanted, and those of which anything is left.
fn processes(
    state: &ClusterState,
    environment: &Environment,
    release: Option<ReleaseId>,
) -> std::collections::BTreeSet<String> {
    let wanted = state.release(release).into_iter().flat_map(|r| r.spec.processes.keys().cloned());
    let left = state
        .instances
        .values()
        .filter(|i| i.environment == environment.id && i.want != Want::Gone && i.process != RELEASE_PROCESS);
    wanted.chain(left.map(|i| i.process.clone())).collect()
}

fn carry_on(
    state: &ClusterState,
    environment: &Environment,
    live: &Deployment,
    now: Millis,
    plan: &mut Plan,
) {
    match live.phase {
        Phase::Reverting => return revert(state, environment, live, now, plan),
        Phase::Building | Phase::Releasing | Phase::Stepping | Phase::Watching => {
            // What is taken away from the schema cannot be given back.
            let contracting = live.contracts && live.command.is_some();
            if let Some(cause) = judge::judge(state, live, now).filter(|_| !contracting) {
                plan.actions.push(Action::Revert { deployment: live.id, cause });
                return;
            }
            if let Some(next) = live.evidence.next() {
                plan.due(now, next);
            }
        }
        Phase::Queued
        | Phase::Succeeded
        | Phase::RolledBack
        | Phase::Failed
        | Phase::Cancelled
        | Phase::Superseded => return,
    }
    if live.phase < Phase::Stepping {
        // The release before goes on as if nothing were under way.
        settle(state, environment, now, plan);
        return prepare::prepare(state, environment, live, now, plan);
    }
    if live.phase == Phase::Watching {
        let watched = plan.due(now, live.watch_until.unwrap_or(now));
        if watched && live.contracts {
            prepare::contract(state, environment, live, now, plan);
        } else if watched {
            plan.actions.push(Action::End { deployment: live.id, phase: Phase::Succeeded });
        }
        for process in processes(state, environment, Some(live.to)) {
            let mut goal = Goal::whole(state, environment, &process, Some(live.to), Some(live.id));
            goal.judged = true;
            if !watched {
                goal.keep_warm(state, live);
            }
            converge(state, &goal, now, plan);
        }
        return;
    }
    if let Some(deadline) = live.deadline {
        plan.due(now, deadline);
    }
    let mut complete = live.paused.is_none();
    let leading = live.leading().map(|(process, _)| process);
    for process in processes(state, environment, Some(live.to)) {
        if leading.is_some_and(|leading| leading != process) {
            // As long as requests can go back to the release before, it is all there.
            let goal = Goal::whole(state, environment, &process, live.from, None);
            converge(state, &goal, now, plan);
            complete = false;
            continue;
        }
        complete &= step(state, environment, live, &process, now, plan);
    }
    if complete {
        plan.actions.push(Action::Watch { deployment: live.id });
    }
}

/// Works on the current step of one process; true once all its steps are complete.
fn step(
    state: &ClusterState,
    environment: &Environment,
    live: &Deployment,
    process: &str,
    now: Millis,
    plan: &mut Plan,
) -> bool {
    let progress = live.progress.get(process);
    let Some((progress, step)) = progress.and_then(|p| Some((p, p.steps.get(p.at)?))) else {
        // All steps are done, or the new release does not have the process.
        let mut goal = Goal::whole(state, environment, process, Some(live.to), Some(live.id));
        goal.keep_warm(state, live);
        return converge(state, &goal, now, plan);
    };
    let mut goal = Goal::whole(state, environment, process, Some(live.to), Some(live.id));
    if let Some(last) = progress.steps.last() {
        goal.want(last.ready);
        goal.most = peak(&progress.steps, goal.limits, last.ready);
    }
    goal.judged = true;
    goal.ready = step.ready;
    goal.keep = step.keep_old;
    goal.refill = live.from;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (at, of) = (number(progress.at).saturating_add(1), number(progress.steps.len()));
    goal.course = Course::Step { deployment: live.id, step: at, of };
    // Otherwise the next step moves what is on a node that is emptied.
    goal.waits = step.hold > 0 || live.paused.is_some();
    if !converge(state, &goal, now, plan) || live.paused.is_some() {
        return false;
    }
    match progress.hold_until {
        None if step.hold > 0 => {
            plan.actions.push(Action::Hold { deployment: live.id, process: process.to_owned() });
        }
        Some(until) if !plan.due(now, until) => {}
        None | Some(_) => {
            plan.actions.push(Action::Advance { deployment: live.id, process: process.to_owned() });
        }
    }
    false
}

/// The release before runs as wanted again, and nothing of the new one is left.
fn revert(state: &ClusterState, environment: &Environment, live: &Deployment, now: Millis, plan: &mut Plan) {
    let mut complete = true;
    let command = live.command.and_then(|id| state.instances.get(&id)).filter(|i| i.occupies());
    if let Some(command) = command {
        complete = false;
        if command.want == Want::Run {
            let why = Some(Reason::TakenBack { deployment: live.id });
            plan.actions.push(Action::Stop { instance: command.id, why });
        }
    }
    for process in processes(state, environment, live.from) {
        let mut goal = Goal::whole(state, environment, &process, live.from, Some(live.id));
        goal.course = Course::Back { deployment: live.id };
        // What must not run beside another release must not do so on the way back either.
        let from_alone = state.release(Some(live.to)).map(|r| limits(&r.spec, &process)).filter(|l| l.alone);
        if let Some(limits) = from_alone {
            goal.limit(limits);
        }
        complete &= converge(state, &goal, now, plan);
    }
    let cancelled = matches!(live.cause, Some(Cause::Cancelled { .. }));
    let phase = match (complete, live.from) {
        (true, _) if cancelled => Phase::Cancelled,
        (true, Some(_)) => Phase::RolledBack,
        (true, None) => Phase::Failed,
        (false, _) if plan.due(now, live.deadline.unwrap_or(now)) => Phase::Failed,
        (false, _) => return,
    };
    plan.actions.push(Action::End { deployment: live.id, phase });
}

/// Instances whose admission every live edge knows.
fn serving<'a>(state: &'a ClusterState, goal: &'a Goal<'_>) -> impl Iterator<Item = &'a Instance> {
    state.instances_of(goal.environment.id, goal.process).filter(|i| {
        i.serves() && i.admitted.is_some_and(|index| crate::assignment::served_everywhere(state, index))
    })
}

#[cfg(test)]
pub(crate) mod tests;
