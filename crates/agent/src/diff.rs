//! What is to be done so that this node matches its assignment: pure.
//!
//! The rules: an instance is started once and never again; nothing is started, stopped or removed unless
//! the assignment is known to be current; what runs here under the cluster's name and is not assigned is
//! removed. How anything is done is not known here.

use std::collections::{BTreeMap, BTreeSet};

use temps_core::assignment::{Assignment, Work};
use temps_core::model::{InstanceId, Seen, Want};

/// How an instance on this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Prepared and never started.
    Unstarted,
    /// Being started.
    Starting,
    /// Running, and not looked after yet.
    Found,
    /// Running.
    Running,
    /// Running, and not to serve anything new.
    Draining,
    /// Running, although it is over.
    Over,
    /// Asked to end.
    Stopping,
    /// Ended; its traces are there.
    Ended,
    /// Its traces are being removed.
    Removing,
    /// Nothing is left.
    Removed,
}

/// Whether the assignment can be acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may be older than what was decided since.
    MaybeOld,
    /// It reflects everything that was decided when this was last asked.
    Current,
}

/// What there is on this node.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    /// Whether the assignment can be acted upon.
    pub(crate) standing: Standing,
    /// Instances.
    pub(crate) instances: BTreeMap<InstanceId, Phase>,
    /// Stored artifacts.
    pub(crate) stored: BTreeSet<String>,
    /// Artifacts that are being fetched, or that failed just now.
    pub(crate) fetching: BTreeSet<String>,
    /// Stored artifacts that nobody here has needed for long.
    pub(crate) unneeded: BTreeSet<String>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Start an assigned instance.
    Start(InstanceId),
    /// Look after an assigned instance that runs already.
    Adopt(InstanceId),
    /// Watch what is in flight for it.
    BeginDrain(InstanceId),
    /// Ask it to end.
    Stop(InstanceId),
    /// Remove its traces.
    Remove(InstanceId),
    /// End what is not assigned, and remove its traces.
    RemoveOrphan(InstanceId),
    /// Get an artifact from another node.
    FetchArtifact(String),
    /// Delete an artifact.
    DeleteArtifact(String),
}

/// Everything that is to be done now.
pub(crate) fn diff(assigned: &Assignment, here: &Here) -> Vec<Act> {
    let mut acts = Vec::new();
    // That is seen here, and depends on nothing that is decided elsewhere.
    let over = here.instances.iter().filter(|(_, phase)| **phase == Phase::Over);
    acts.extend(over.map(|(id, _)| Act::Stop(*id)));
    for (id, work) in &assigned.instances {
        assigned_acts(work, here.instances.get(id).copied(), here, &mut acts);
    }
    if here.standing == Standing::MaybeOld {
        return acts;
    }
    let orphans = here.instances.iter().filter(|(id, _)| !assigned.instances.contains_key(id));
    for (id, phase) in orphans {
        match phase {
            Phase::Unstarted | Phase::Found | Phase::Running | Phase::Draining | Phase::Ended => {
                acts.push(Act::RemoveOrphan(*id));
            }
            Phase::Starting | Phase::Over | Phase::Stopping | Phase::Removing | Phase::Removed => {}
        }
    }
    for (digest, wanted) in &assigned.artifacts {
        let missing = !here.stored.contains(digest) && !here.fetching.contains(digest);
        if missing && !wanted.holders.is_empty() {
            acts.push(Act::FetchArtifact(digest.clone()));
        }
    }
    for digest in &here.unneeded {
        if here.stored.contains(digest) && !assigned.artifacts.contains_key(digest) {
            acts.push(Act::DeleteArtifact(digest.clone()));
        }
    }
    acts
}

fn assigned_acts(work: &Work, phase: Option<Phase>, here: &Here, acts: &mut Vec<Act>) {
    let id = work.instance.id;
    if phase == Some(Phase::Found) {
        acts.push(Act::Adopt(id));
    }
    let current = here.standing == Standing::Current;
    match (work.instance.want, phase) {
        (Want::Run, None | Some(Phase::Unstarted)) => {
            // Whatever was reported of it before is not here any more: it is over. And what the cluster
            // counts as lost was replaced elsewhere.
            let never_ran = work.instance.seen == Seen::Pending && !work.instance.lost;
            if current && never_ran && here.stored.contains(&work.artifact.digest) {
                acts.push(Act::Start(id));
            }
        }
        (Want::Drain, Some(Phase::Found | Phase::Running)) => acts.push(Act::BeginDrain(id)),
        (Want::Stop | Want::Gone, Some(Phase::Found | Phase::Running | Phase::Draining)) if current => {
            acts.push(Act::Stop(id));
        }
        (Want::Stop | Want::Gone, Some(Phase::Ended | Phase::Unstarted)) if current => {
            acts.push(Act::Remove(id));
        }
        (Want::Run | Want::Drain | Want::Stop | Want::Gone, _) => {}
    }
}

#[cfg(test)]
mod tests;
