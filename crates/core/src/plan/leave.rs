//! Instances that leave their node, because it is emptied: another one takes the place of each, within the
//! limits of its process, and those that stop first stop first.

use super::converge::Goal;
use super::{Plan, place};
use crate::command::Action;
use crate::model::{ClusterState, Instance, InstanceId, Reason, Seen};
use crate::strategy::Limits;

/// Whether an instance is to leave its node: that is emptied, and another could run it. What can go nowhere
/// stays and serves on.
pub(super) fn leaves(state: &ClusterState, instance: &Instance) -> bool {
    let draining = state.nodes.get(&instance.node).is_some_and(|n| n.draining);
    let elsewhere = || {
        let environment = state.environments.get(&instance.environment)?;
        let release = state.releases.get(&instance.release)?;
        place::candidates(state, environment, release).next()
    };
    draining && elsewhere().is_some()
}

/// The limits within which instances move. Two of one release may run at once where two releases must not.
fn limits(goal: &Goal<'_>) -> Limits {
    if goal.limits.alone && !goal.stops_first {
        return Limits { surge: 1, unavailable: 0, to_none: false, alone: true };
    }
    goal.limits
}

/// The fewest of `target` instances of one release that serve while some of them move.
fn least(limits: Limits, target: u32) -> u32 {
    let least = target.saturating_sub(limits.unavailable);
    // The last one is never taken away before another serves.
    if limits.to_none { least } else { least.max(target.min(1)) }
}

/// How many may run at once. A step that has as many as may run gets room for one that moves.
pub(super) fn most(state: &ClusterState, goal: &Goal<'_>, running: &[&Instance]) -> u32 {
    let limits = limits(goal);
    let mut most = goal.most;
    for (target, ours) in [(goal.ready, true), (goal.keep, false)] {
        if target > 0 && running.iter().any(|i| goal.is_ours(i) == ours && leaves(state, i)) {
            let none_to_spare = !limits.to_none && least(limits, target) == target;
            let beside = limits.surge.max(u32::from(none_to_spare));
            most = most.max(goal.ready.saturating_add(goal.keep).saturating_add(beside));
        }
    }
    most
}

/// Takes those of `leaving` out of the tables that are not needed any more where they are; all are of one side,
/// of which `target` are to serve.
pub(super) fn leave(
    state: &ClusterState,
    goal: &Goal<'_>,
    leaving: &[&Instance],
    target: u32,
    serving_now: &mut Vec<InstanceId>,
    plan: &mut Plan,
) {
    let limits = limits(goal);
    let enough = goal.least(limits) as usize;
    let Some(ours) = leaving.first().map(|i| goal.is_ours(i)) else { return };
    let of_side = |id: &InstanceId| state.instances.get(id).is_some_and(|i| goal.is_ours(i) == ours);
    for instance in leaving {
        let why = Some(Reason::NodeDrained { instance: instance.id, node: instance.node });
        match (instance.admitted, instance.seen) {
            // It is being admitted: until another serves it is better than none.
            (None, Seen::Ready) => {}
            (None, _) => plan.actions.push(Action::Stop { instance: instance.id, why }),
            (Some(_), _) => {
                let side = serving_now.iter().filter(|id| of_side(id)).count();
                let goes = if serving_now.contains(&instance.id) {
                    side > least(limits, target) as usize && serving_now.len() > enough
                } else {
                    // One that is about to serve everywhere is waited for.
                    instance.seen == Seen::Unready && (!serving_now.is_empty() || limits.to_none)
                };
                if goes {
                    serving_now.retain(|id| *id != instance.id);
                    plan.actions.push(Action::Drain { instance: instance.id, why });
                }
            }
        }
    }
}
