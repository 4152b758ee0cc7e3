//! What must be true of every state, and of every step from one to the next.
//!
//! Asserted after each entry in tests and simulation.

use crate::assignment::{served_everywhere, withdrawn_everywhere};
use crate::model::{ClusterState, Instance, Phase, RELEASE_PROCESS, Seen, Want};

/// The first broken invariant of a state, in words.
///
/// # Errors
/// Which one, and where.
pub fn check(state: &ClusterState) -> Result<(), String> {
    for instance in state.instances.values() {
        if instance.admitted.is_some() && !instance.was_ready {
            return Err(format!("{} is admitted and was never ready", instance.id));
        }
        let Some(release) = state.releases.get(&instance.release) else {
            return Err(format!("{} runs a forgotten release", instance.id));
        };
        let home = state.environments.get(&instance.environment).and_then(|e| e.home);
        if !release.spec.volumes.is_empty() && instance.want != Want::Gone && home != Some(instance.node) {
            return Err(format!("{} is on another node than its volumes", instance.id));
        }
    }
    for deployment in state.deployments.keys() {
        let commands = state.instances.values().filter(|i| i.deployment == Some(*deployment));
        let commands = commands.filter(|i| i.process == RELEASE_PROCESS).count();
        if commands > 1 {
            return Err(format!("{deployment} ran its release command {commands} times"));
        }
    }
    for environment in state.environments.keys() {
        let live = state.deployments_of(*environment).filter(|d| d.phase.is_live()).count();
        if live > 1 {
            return Err(format!("{environment} has {live} live deployments"));
        }
        let queued = state.deployments_of(*environment).filter(|d| d.phase == Phase::Queued).count();
        if queued > 1 {
            return Err(format!("{environment} has {queued} queued deployments"));
        }
    }
    check_audit(state)
}

/// The newest entry is chained to the one before it. Those before were, when they were the newest.
fn check_audit(state: &ClusterState) -> Result<(), String> {
    let mut newest = state.audit.entries.values().rev();
    let Some(last) = newest.next() else { return Ok(()) };
    let before = newest.next().map_or(&state.audit.before, |entry| &entry.hash);
    match crate::audit::hash(before, last) == last.hash {
        true => Ok(()),
        false => Err(format!("the audit entry of {} is not chained to the one before it", last.index)),
    }
}

/// The first invariant that is broken by the step from `before` to `after`, in words.
///
/// # Errors
/// Which one, and where.
pub fn check_step(before: &ClusterState, after: &ClusterState) -> Result<(), String> {
    if after.clock < before.clock {
        return Err("the clock went back".to_owned());
    }
    for (id, old) in &before.deployments {
        let Some(new) = after.deployments.get(id) else { continue };
        if new.phase < old.phase || old.phase.is_terminal() && new.phase != old.phase {
            return Err(format!("{id} went from {} to {}", old.phase.word(), new.phase.word()));
        }
        if old.cause.is_some() && new.cause != old.cause {
            return Err(format!("{id} was taken back twice"));
        }
    }
    for (id, old) in &before.instances {
        let Some(new) = after.instances.get(id) else { continue };
        if new.want < old.want {
            return Err(format!("{id} went from {:?} to {:?}", old.want, new.want));
        }
        if new.drained && !old.drained && !withdrawn_everywhere(before, old) {
            return Err(format!("{id} is drained though an edge may still choose it"));
        }
        check_stop(after, old, new)?;
    }
    check_last(before, after)
}

/// An instance that served is stopped only once drained or timed out.
fn check_stop(after: &ClusterState, old: &Instance, new: &Instance) -> Result<(), String> {
    if new.want != Want::Stop || old.want == Want::Stop {
        return Ok(());
    }
    let ended = new.seen >= Seen::Exited || new.lost;
    let timed_out = old.drain_deadline.is_some_and(|deadline| after.clock >= deadline);
    if old.admitted.is_none() || ended || timed_out || old.drained {
        return Ok(());
    }
    Err(format!("{} is stopped though it serves", new.id))
}

/// The planner never takes the last instance that every edge knows out of the tables while one is wanted.
fn check_last(before: &ClusterState, after: &ClusterState) -> Result<(), String> {
    for environment in after.environments.values() {
        let serves = |state: &ClusterState, i: &Instance| {
            i.environment == environment.id
                && i.serves()
                && !stops_first(state, i)
                && i.admitted.is_some_and(|index| served_everywhere(state, index))
        };
        let had: Vec<_> = before.instances.values().filter(|i| serves(before, i)).collect();
        let withdrew = had.iter().any(|i| after.instances.get(&i.id).is_some_and(|n| n.want == Want::Drain));
        let left = after.instances.values().any(|i| serves(after, i));
        let wanted =
            environment.current.is_some() || after.live(environment.id).is_some_and(|d| d.from.is_some());
        if withdrew && !left && wanted && !had.is_empty() {
            return Err(format!("{} lost its last serving instance to the planner", environment.id));
        }
    }
    Ok(())
}

/// Its process is replaced in its place, by what it runs or by what the environment moves to: meanwhile none
/// serves.
fn stops_first(state: &ClusterState, instance: &Instance) -> bool {
    let environment = state.environments.get(&instance.environment);
    let live = state.live(instance.environment);
    let moves = live.into_iter().flat_map(|d| [Some(d.to), d.from]);
    let releases = moves.chain([environment.and_then(|e| e.current), Some(instance.release)]);
    releases
        .filter_map(|id| state.release(id))
        .any(|r| crate::strategy::limits(&r.spec, &instance.process).to_none)
}
