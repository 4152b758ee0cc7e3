//! One process of one environment, moved towards a goal without ever serving with too few
//! or running too many.
//!
//! Rollout, rollback, scaling and repair are all this one function with different goals.

use super::leave::{self, leaves};
use super::reason;
use super::{Plan, place, serving};
use crate::assignment::grace;
use crate::command::Action;
use crate::model::{
    ClusterState, Deployment, DeploymentId, Environment, Instance, Millis, ReleaseId, Seen, Want,
};
use crate::strategy::{Limits, limits, stops_first};

/// A node that is cut off stops what is exclusive after the lease, as the leader counts it as lost after the
/// lease; this is for the difference between their clocks and for a slow machine, beyond the stop grace.
pub(crate) const UNHEARD_STOP: Millis = 5_000;

/// On what way a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// No deployment concerns it.
    Settled,
    /// A step of a deployment.
    Step { deployment: DeploymentId, step: u32, of: u32 },
    /// A deployment, past its steps.
    Rest { deployment: DeploymentId },
    /// A deployment is taken back.
    Back { deployment: DeploymentId },
}

/// Where one process is to go.
#[derive(Debug)]
pub(super) struct Goal<'a> {
    pub(super) environment: &'a Environment,
    pub(super) process: &'a str,
    /// The release that is to run; none: nothing is.
    pub(super) release: Option<ReleaseId>,
    pub(super) course: Course,
    /// On whose behalf instances are started.
    pub(super) deployment: Option<DeploymentId>,
    /// Instances of the release that are to serve.
    pub(super) ready: u32,
    /// Instances of other releases that stay.
    pub(super) keep: u32,
    /// The release that fills up those that stay, should one of them end.
    pub(super) refill: Option<ReleaseId>,
    /// The step lasts, so that instances that stay and whose node is emptied are moved meanwhile.
    pub(super) waits: bool,
    /// The release is being judged: ends of its instances lead to a rollback, not to slower starts.
    pub(super) judged: bool,
    /// The whole number wanted, from which the limits are counted.
    pub(super) wanted: u32,
    pub(super) limits: Limits,
    /// An instance ends before the one that takes its place starts.
    pub(super) stops_first: bool,
    /// How many may run at once.
    pub(super) most: u32,
    /// Never two at a time: how long after its node was lost an instance may still run.
    pub(super) exclusive: Option<Millis>,
}

impl<'a> Goal<'a> {
    /// The release alone, with all the instances wanted of it.
    pub(super) fn whole(
        state: &ClusterState,
        environment: &'a Environment,
        process: &'a str,
        release: Option<ReleaseId>,
        deployment: Option<DeploymentId>,
    ) -> Self {
        let spec = state.release(release).map(|r| &r.spec);
        let wanted = spec.map_or(0, |spec| state.wanted(environment, spec, process));
        let mut goal = Goal {
            environment,
            process,
            release,
            course: deployment.map_or(Course::Settled, |deployment| Course::Rest { deployment }),
            deployment,
            ready: wanted,
            keep: 0,
            refill: None,
            waits: false,
            judged: false,
            wanted,
            limits: spec.map_or_else(Limits::default, |s| limits(s, process)),
            stops_first: spec.is_some_and(|s| stops_first(s, process)),
            most: 0,
            exclusive: spec
                .and_then(|s| s.processes.get(process).map(|p| (s, p)))
                .and_then(|(s, p)| p.exclusive.then(|| grace(s, p).saturating_add(UNHEARD_STOP))),
        };
        goal.want(wanted);
        goal
    }

    /// Wants so many in all. Where as many could be missing as are wanted, one more is started instead:
    /// the last one that serves is never taken away.
    pub(super) fn want(&mut self, wanted: u32) {
        self.wanted = wanted;
        if wanted > 0 && self.limits.unavailable >= wanted && !self.limits.to_none {
            self.limits.unavailable = wanted - 1;
            self.limits.surge = self.limits.surge.max(1);
        }
        self.most = wanted.saturating_add(self.limits.surge);
    }

    /// What the release before has stays while the new one is watched, where it is to be kept warm.
    pub(super) fn keep_warm(&mut self, state: &ClusterState, live: &Deployment) {
        let kept = live.progress.get(self.process).and_then(|p| p.steps.last()).map_or(0, |s| s.keep_old);
        let old = |i: &&Instance| i.counts() && Some(i.release) != self.release;
        let there = state.instances_of(self.environment.id, self.process).filter(old).count();
        self.keep = kept.min(u32::try_from(there).unwrap_or(u32::MAX));
        self.most = self.most.max(self.wanted.saturating_add(self.keep));
    }

    /// Within other limits.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
        self.want(self.wanted);
    }

    /// Nothing is being rolled out or taken back to.
    fn settled(&self) -> bool {
        self.keep == 0 && self.refill.is_none()
    }

    /// The fewest that serve. A step on the way to more has fewer than are wanted in the end.
    pub(super) fn least(&self, limits: Limits) -> u32 {
        self.wanted.min(self.ready.saturating_add(self.keep)).saturating_sub(limits.unavailable)
    }

    pub(super) fn is_ours(&self, instance: &Instance) -> bool {
        Some(instance.release) == self.release
    }
}

/// Adds what can be done now; true once the goal is reached.
pub(super) fn converge(state: &ClusterState, goal: &Goal<'_>, now: Millis, plan: &mut Plan) -> bool {
    let all: Vec<&Instance> =
        state.instances_of(goal.environment.id, goal.process).filter(|i| i.occupies()).collect();
    let running: Vec<&Instance> = all.iter().copied().filter(|i| i.counts()).collect();

    for instance in &running {
        let wanted_here = goal.is_ours(instance) || Some(instance.release) == goal.refill;
        if instance.seen == Seen::Ready && instance.admitted.is_none() && wanted_here {
            plan.actions.push(Action::Admit { instance: instance.id });
        }
    }
    withdraw(state, goal, &running, plan);
    start(state, goal, &all, &running, now, plan);

    let serving_ours = serving(state, goal).filter(|i| goal.is_ours(i)).count();
    let ours = running.iter().filter(|i| goal.is_ours(i)).count();
    let others = running.len() - ours;
    let leaving = all.len() - running.len();
    serving_ours >= goal.ready as usize
        && ours == serving_ours
        && others <= goal.keep as usize
        && leaving == 0
}

/// Takes instances that are too many out of the tables, as far as enough others serve.
fn withdraw(state: &ClusterState, goal: &Goal<'_>, running: &[&Instance], plan: &mut Plan) {
    let least = goal.least(goal.limits) as usize;
    let mut serving_now: Vec<_> = serving(state, goal).map(|i| i.id).collect();
    let (ours, mut others): (Vec<&Instance>, Vec<&Instance>) = running.iter().partition(|i| goal.is_ours(i));

    // What never served can go at once, unless it is on its way to fill a place that stays.
    let never = |i: &&Instance| i.admitted.is_none() && Some(i.release) != goal.refill;
    for instance in others.iter().filter(|i| never(i)) {
        let why = Some(reason::of_surplus(state, goal, instance, running));
        plan.actions.push(Action::Stop { instance: instance.id, why });
    }
    others.retain(|i| !never(i));

    let mut surplus = Vec::new();
    let excess = others.len().saturating_sub(goal.keep as usize);
    let mut others = in_order_of_leaving(state, others);
    surplus.extend(others.drain(..excess));
    // What leaves its node goes for that reason.
    let (moved, ours): (Vec<&Instance>, Vec<&Instance>) = ours.into_iter().partition(|i| leaves(state, i));
    let (unhealthy, healthy): (Vec<&Instance>, Vec<&Instance>) =
        ours.into_iter().partition(|i| i.seen == Seen::Unready);
    let wanted = goal.wanted as usize;
    let ready = healthy.iter().filter(|i| i.seen == Seen::Ready).count();
    // There may be no room beside an unhealthy one for the one that replaces it; else that is ready first.
    if ready >= wanted || goal.limits.surge == 0 && goal.settled() {
        surplus.extend(unhealthy);
    }
    let excess = healthy.len().saturating_sub(wanted);
    surplus.extend(in_order_of_leaving(state, healthy).into_iter().take(excess));

    for instance in surplus {
        let why = Some(reason::of_surplus(state, goal, instance, running));
        if instance.admitted.is_none() {
            plan.actions.push(Action::Stop { instance: instance.id, why });
            continue;
        }
        let serves = serving_now.contains(&instance.id);
        let left = serving_now.len() - usize::from(serves);
        // An unhealthy instance is still better than none at all, where there must be one.
        let enough = if serves {
            left >= least && (left > 0 || goal.limits.to_none || goal.wanted == 0)
        } else {
            left > 0 || least == 0
        };
        if enough {
            serving_now.retain(|id| *id != instance.id);
            plan.actions.push(Action::Drain { instance: instance.id, why });
        }
    }
    leave::leave(state, goal, &moved, goal.ready, &mut serving_now, plan);
    others.retain(|i| goal.waits && leaves(state, i));
    leave::leave(state, goal, &others, goal.keep, &mut serving_now, plan);
}

/// Those that leave their node first, then those that serve nobody, then those on the fullest node, then the newest place.
fn in_order_of_leaving<'a>(state: &ClusterState, mut instances: Vec<&'a Instance>) -> Vec<&'a Instance> {
    let on_node = |i: &Instance| {
        let same =
            |o: &&Instance| o.node == i.node && o.environment == i.environment && o.process == i.process;
        state.instances.values().filter(same).filter(|o| o.counts()).count()
    };
    instances.sort_by_key(|i| {
        let rank = match (i.admitted, i.seen) {
            (None, _) => 0,
            (Some(_), Seen::Unready) => 1,
            (Some(_), _) => 2,
        };
        (!leaves(state, i), rank, std::cmp::Reverse(on_node(i)), std::cmp::Reverse(i.slot), i.id)
    });
    instances
}

fn start(
    state: &ClusterState,
    goal: &Goal<'_>,
    all: &[&Instance],
    running: &[&Instance],
    now: Millis,
    plan: &mut Plan,
) {
    if goal.limits.alone && all.iter().any(|i| !goal.is_ours(i)) {
        return;
    }
    let most = leave::most(state, goal, running) as usize;
    let mut room = most.saturating_sub(all.len() + may_still_run(state, goal, now, plan));
    let mut planned = place::Planned::default();

    let kept = || running.iter().filter(|i| !goal.is_ours(i));
    let keep = goal.keep as usize;
    let fill = keep.saturating_sub(kept().count());
    let staying = kept().filter(|i| !leaves(state, i)).count();
    let moved = if goal.waits { keep.saturating_sub(staying) - fill } else { 0 };
    // Outside a rollout an unhealthy instance is replaced; within one it is judged.
    let replaces = |i: &Instance| goal.settled() && i.seen == Seen::Unready;
    let stays = |i: &Instance| goal.is_ours(i) && !replaces(i) && !leaves(state, i);
    let missing = (goal.ready as usize).saturating_sub(running.iter().filter(|i| stays(i)).count());

    for (release, count) in [(goal.refill, fill), (goal.release, missing), (goal.refill, moved)] {
        let Some(release) = release else { continue };
        let judged = goal.judged && Some(release) == goal.release;
        if count > 0 && !judged && !plan.due(now, goal.environment.backoff_until) {
            continue;
        }
        for _ in 0..count {
            if room == 0 {
                return;
            }
            let Some(node) = place::node(state, goal, release, &planned) else { return };
            let slot = place::slot(state, goal, release, &planned);
            planned.push(release, slot, node);
            room -= 1;
            plan.actions.push(Action::Start {
                environment: goal.environment.id,
                deployment: goal.deployment,
                release,
                process: goal.process.to_owned(),
                slot,
                node,
                why: Some(reason::of_start(state, goal, release, slot)),
            });
        }
    }
}

/// Instances of a process that must not run twice, on lost nodes that may not have stopped them yet.
fn may_still_run(state: &ClusterState, goal: &Goal<'_>, now: Millis, plan: &mut Plan) -> usize {
    let Some(after) = goal.exclusive else { return 0 };
    let lost = state
        .instances_of(goal.environment.id, goal.process)
        .filter(|i| i.lost && i.want != Want::Gone && i.seen < Seen::Exited);
    lost.filter(|i| !plan.due(now, i.lost_at.unwrap_or(now).saturating_add(after))).count()
}

/// Whether an instance still has a place among the wanted ones.
pub(super) fn holds_slot(instance: &Instance) -> bool {
    instance.counts() && instance.want == Want::Run && instance.seen != Seen::Unready
}
