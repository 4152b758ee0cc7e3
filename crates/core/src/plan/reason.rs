//! Why the planner does what it does, for whoever asks later.

use super::converge::{Course, Goal, holds_slot};
use super::leave::leaves;
use crate::model::{ClusterState, Exit, Instance, Reason, ReleaseId, Seen, Want};

/// Why an instance of a release is started in a place: for the one that was there, or for the course of things.
pub(super) fn of_start(state: &ClusterState, goal: &Goal<'_>, release: ReleaseId, slot: u32) -> Reason {
    let was_there = |i: &&Instance| i.release == release && i.slot == slot && !stays(state, i);
    let before = state.instances_of(goal.environment.id, goal.process).filter(was_there).max_by_key(|i| i.id);
    if let Some(why) = before.and_then(|i| in_place_of(state, i)) {
        return why;
    }
    let refills = Some(release) == goal.refill;
    match goal.course {
        Course::Settled => Reason::More,
        Course::Step { deployment, .. } if refills => Reason::Refill { deployment },
        Course::Step { deployment, step, of } => Reason::Step { deployment, step, of },
        Course::Rest { deployment } => Reason::Deployment { deployment },
        Course::Back { deployment } => Reason::TakenBack { deployment },
    }
}

fn stays(state: &ClusterState, instance: &Instance) -> bool {
    holds_slot(instance) && !leaves(state, instance)
}

/// Why another takes the place of an instance, where that follows from what became of it.
fn in_place_of(state: &ClusterState, before: &Instance) -> Option<Reason> {
    let instance = before.id;
    let node = before.node;
    if before.lost {
        return Some(Reason::NodeLost { instance, node });
    }
    if before.want == Want::Run && before.seen < Seen::Exited {
        return if leaves(state, before) {
            Some(Reason::NodeDrained { instance, node })
        } else {
            (before.seen == Seen::Unready).then_some(Reason::Unhealthy { instance })
        };
    }
    let decided = before.story.withdrawn.as_ref().or(before.story.stopped.as_ref()).map(|told| &told.why);
    match decided {
        Some(Reason::NodeDrained { .. }) => Some(Reason::NodeDrained { instance, node }),
        Some(Reason::Unhealthy { .. }) => Some(Reason::Unhealthy { instance }),
        Some(Reason::Exited) | None => match &before.exit {
            Some(Exit { excused: true, .. }) => Some(Reason::Ended { instance }),
            Some(exit) if exit.is_crash() => Some(Reason::Crashed { instance }),
            Some(_) | None => None,
        },
        Some(
            Reason::Step { .. }
            | Reason::Deployment { .. }
            | Reason::ReleaseCommand { .. }
            | Reason::Refill { .. }
            | Reason::TakenBack { .. }
            | Reason::Crashed { .. }
            | Reason::Ended { .. }
            | Reason::NodeLost { .. }
            | Reason::More
            | Reason::Fewer
            | Reason::Returned { .. }
            | Reason::Uncordoned { .. }
            | Reason::NoProcess
            | Reason::NotCurrent
            | Reason::Drained
            | Reason::TimedOut,
        ) => None,
    }
}

/// Why an instance is one too many.
pub(super) fn of_surplus(
    state: &ClusterState,
    goal: &Goal<'_>,
    instance: &Instance,
    running: &[&Instance],
) -> Reason {
    let spec = state.release(goal.release).map(|r| &r.spec);
    if spec.is_some_and(|spec| !spec.processes.contains_key(goal.process)) {
        return Reason::NoProcess;
    }
    if goal.is_ours(instance) {
        if instance.seen == Seen::Unready {
            return Reason::Unhealthy { instance: instance.id };
        }
        return running.iter().find_map(|i| made_needless(state, i, running)).unwrap_or(Reason::Fewer);
    }
    match goal.course {
        Course::Settled => Reason::NotCurrent,
        Course::Step { deployment, step, of } => Reason::Step { deployment, step, of },
        Course::Rest { deployment } => Reason::Deployment { deployment },
        Course::Back { deployment } => Reason::TakenBack { deployment },
    }
}

/// Whether what an instance was started in place of runs on after all.
fn made_needless(state: &ClusterState, instance: &Instance, running: &[&Instance]) -> Option<Reason> {
    let runs = |id| running.iter().find(|i| i.id == id);
    match instance.story.started.as_ref().map(|told| &told.why) {
        Some(Reason::NodeLost { instance, node }) => {
            runs(*instance).map(|_| Reason::Returned { node: *node })
        }
        Some(Reason::NodeDrained { instance, node }) => {
            runs(*instance).filter(|i| !leaves(state, i)).map(|_| Reason::Uncordoned { node: *node })
        }
        Some(_) | None => None,
    }
}
