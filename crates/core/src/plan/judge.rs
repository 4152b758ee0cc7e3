//! Whether a deployment is to be taken back. Everything it looks at is replicated.

use crate::model::{Cause, ClusterState, Deployment, Exit, Instance, Millis, Phase, Seen, Want};

/// The cause, if there is one.
pub(super) fn judge(state: &ClusterState, live: &Deployment, now: Millis) -> Option<Cause> {
    if let Some(by) = &live.cancel {
        return Some(Cause::Cancelled { by: by.clone() });
    }
    let release = state.releases.get(&live.to)?;
    let new = || state.instances.values().filter(|i| i.deployment == Some(live.id) && i.release == live.to);
    for instance in new().filter(|i| !i.lost) {
        if let Some(exit) = unasked(instance).filter(|_| !instance.was_ready) {
            return Some(Cause::Exited {
                instance: instance.id,
                node: instance.node,
                how: exit.how(),
                log_tail: exit.log_tail.clone(),
            });
        }
        if instance.seen == Seen::Unready && instance.want == Want::Run {
            return Some(Cause::Unhealthy {
                instance: instance.id,
                node: instance.node,
                failures: release.spec.health.unhealthy_threshold,
                last_check: instance.last_check.clone().unwrap_or_else(|| "none".to_owned()),
            });
        }
    }
    if live.crashes >= release.spec.rollback.crash_limit {
        let last = new().filter_map(unasked).next_back();
        return Some(Cause::CrashLoop {
            crashes: live.crashes,
            how: last.map_or_else(|| "unknown".to_owned(), Exit::how),
            log_tail: last.map(|e| e.log_tail.clone()).unwrap_or_default(),
        });
    }
    if live.phase == Phase::Stepping && live.deadline.is_some_and(|deadline| now >= deadline) {
        let waiting = new().find(|i| i.counts() && !i.was_ready);
        let waiting_for = match waiting {
            Some(i) => {
                let check = i.last_check.clone().unwrap_or_else(|| "nothing reported".to_owned());
                format!("{} on {} ({check})", i.id, state.node_name(i.node))
            }
            None if state.up().all(|n| n.cordoned) => "a node that takes instances".to_owned(),
            None => "instances to be replaced".to_owned(),
        };
        return Some(Cause::Deadline { after: release.spec.deploy.deadline, waiting_for });
    }
    None
}

/// How an instance ended that nobody had asked to.
fn unasked(instance: &Instance) -> Option<&Exit> {
    instance.exit.as_ref().filter(|exit| !exit.asked)
}
