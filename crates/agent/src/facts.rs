//! What is true on this node and not in the replicated state: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use temps_core::assignment::{Assignment, Work};
use temps_core::command::Observation;
use temps_core::model::{DeploymentId, Exit, InstanceId, NodeFacts, Past, Seen, Want};
use temps_core::table::EdgeReport;

use crate::diff::Standing;
use crate::local::{Local, Stage};
use crate::outbox::{Fact, Key};

/// What the state does not show after an answer is told again after this.
const REPEAT: Duration = Duration::from_secs(10);
/// Time between reports that only bring another answer to a health check.
const LAST_CHECK: Duration = Duration::from_secs(5);
/// Time between reports of traffic.
const TRAFFIC: Duration = Duration::from_secs(1);

/// Everything that facts are made of.
pub(crate) struct Sight<'a> {
    pub(crate) standing: Standing,
    pub(crate) assigned: &'a Assignment,
    pub(crate) locals: &'a BTreeMap<InstanceId, Local>,
    pub(crate) edge: &'a EdgeReport,
    /// Artifacts that are stored here.
    pub(crate) stored: &'a BTreeSet<String>,
    /// Artifacts of which the cluster knows that they are stored here.
    pub(crate) known_stored: &'a BTreeSet<String>,
    /// What the edge counted before deployments that are under way.
    pub(crate) pasts: &'a BTreeMap<DeploymentId, Past>,
    /// What came of builds that the cluster waits for.
    pub(crate) builds: Vec<(DeploymentId, Observation)>,
    /// What this node is, where the cluster does not know that.
    pub(crate) node: Option<NodeFacts>,
}

/// Everything that the cluster should know now.
pub(crate) fn facts(sight: &Sight<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (id, work) in &sight.assigned.instances {
        let local = sight.locals.get(id);
        facts.extend(
            local.map_or_else(|| missing(work, sight.standing), |local| present(work, local, sight.standing)),
        );
        if let Some(local) = local {
            drain(work, local, &mut facts);
        }
    }
    if sight.assigned.awaited.is_some_and(|index| sight.edge.index >= index) {
        facts.push(at_once(Key::Applied, Observation::Applied { index: sight.edge.index }));
    }
    for digest in sight.stored.symmetric_difference(sight.known_stored) {
        let stored = sight.stored.contains(digest);
        let observation = Observation::Artifact { digest: digest.clone(), stored };
        facts.push(at_once(Key::Artifact(digest.clone()), observation));
    }
    for (deployment, observation) in &sight.builds {
        facts.push(at_once(Key::Build(*deployment), observation.clone()));
    }
    facts.extend(sight.node.clone().map(|node| at_once(Key::Node, Observation::Facts(node))));
    // An edge that has not been heard yet counts nothing, which is not the same as no traffic.
    if sight.edge.pid != 0 {
        for (environment, releases) in &sight.assigned.observed {
            let measured = sight.edge.traffic.get(environment).map(|m| m.of(releases)).unwrap_or_default();
            facts.push(Fact {
                key: Key::Traffic(*environment),
                observation: Observation::Traffic { environment: *environment, measured },
                pause: TRAFFIC,
                repeat: None,
            });
        }
    }
    for (deployment, past) in sight.pasts {
        let observation = Observation::Past { deployment: *deployment, past: past.clone() };
        facts.push(at_once(Key::Past(*deployment), observation));
    }
    facts
}

fn at_once(key: Key, observation: Observation) -> Fact {
    Fact { key, observation, pause: Duration::ZERO, repeat: Some(REPEAT) }
}

fn ended(work: &Work, seen: Seen, exit: Option<Exit>) -> Fact {
    let instance = work.instance.id;
    let (endpoint, last_check, log_tail) = (None, None, Vec::new());
    let observation =
        Observation::Instance { instance, seen, endpoint, attempts: 0, last_check, log_tail, exit };
    at_once(Key::Instance(instance), observation)
}

/// Nothing of it is here. That is news only if something was, or is to be removed.
fn missing(work: &Work, standing: Standing) -> Option<Fact> {
    let instance = &work.instance;
    if standing == Standing::MaybeOld || instance.seen == Seen::Gone {
        return None;
    }
    match instance.want {
        Want::Stop | Want::Gone => Some(ended(work, Seen::Gone, instance.exit.clone())),
        Want::Run | Want::Drain => {
            let ran = instance.seen > Seen::Pending && instance.seen < Seen::Exited;
            let error = Some("nothing of it is left on this node".to_owned());
            // Whoever took it away, it was not the application.
            ran.then(|| ended(work, Seen::Exited, Some(Exit { error, excused: true, ..Exit::default() })))
        }
    }
}

fn present(work: &Work, local: &Local, standing: Standing) -> Option<Fact> {
    let known = &work.instance;
    match &local.stage {
        Stage::Starting | Stage::Removing(_) => None,
        Stage::Unstarted => match known.want {
            Want::Run if known.seen == Seen::Pending => waiting(work, local),
            Want::Run | Want::Drain => missing(work, standing),
            Want::Stop | Want::Gone => None,
        },
        Stage::Ended(exit) => {
            (known.seen < Seen::Exited).then(|| ended(work, Seen::Exited, Some(exit.clone())))
        }
        Stage::Removed(exit) => (known.seen != Seen::Gone).then(|| ended(work, Seen::Gone, exit.clone())),
        Stage::Up(..) | Stage::Stopping(_) if local.over.is_some() => None,
        Stage::Up(running, _) | Stage::Stopping(running) => {
            let vitals = &local.vitals;
            // An address that was lost is nothing that could be told.
            let has_moved = running.endpoint.is_some() && known.endpoint != running.endpoint;
            let moved = known.seen != vitals.seen || has_moved;
            let said = vitals.seen != Seen::Ready && vitals.last_check != known.last_check;
            let news = known.seen < Seen::Exited && (moved || said);
            news.then(|| Fact {
                key: Key::Instance(known.id),
                observation: Observation::Instance {
                    instance: known.id,
                    seen: vitals.seen,
                    endpoint: running.endpoint.clone(),
                    attempts: vitals.attempts,
                    last_check: vitals.last_check.clone(),
                    log_tail: vitals.log_tail.clone(),
                    exit: None,
                },
                pause: if moved { Duration::ZERO } else { LAST_CHECK },
                repeat: Some(REPEAT),
            })
        }
    }
}

/// Why it could not be started yet.
fn waiting(work: &Work, local: &Local) -> Option<Fact> {
    let last_check = local.vitals.last_check.clone()?;
    (work.instance.last_check.as_ref() != Some(&last_check)).then_some(Fact {
        key: Key::Instance(work.instance.id),
        observation: Observation::Instance {
            instance: work.instance.id,
            seen: Seen::Pending,
            endpoint: None,
            attempts: 0,
            last_check: Some(last_check),
            log_tail: Vec::new(),
            exit: None,
        },
        pause: LAST_CHECK,
        repeat: Some(REPEAT),
    })
}

fn drain(work: &Work, local: &Local, facts: &mut Vec<Fact>) {
    let instance = work.instance.id;
    let once = |key, observation| Fact { key, observation, pause: Duration::MAX, repeat: None };
    if work.instance.want == Want::Drain {
        if let Some(in_flight) = local.drain.began_with.filter(|_| work.instance.draining.is_none()) {
            facts.push(once(Key::Draining(instance), Observation::Draining { instance, in_flight }));
        }
        if local.drain.drained && !work.instance.drained {
            facts.push(at_once(Key::Drained(instance), Observation::Drained { instance }));
        }
    }
    if let Some((in_flight, _)) = local.cut {
        facts.push(once(Key::Cut(instance), Observation::Cut { instance, in_flight }));
    }
}

#[cfg(test)]
mod tests;
