//! What a deployment would do, if everything went well: the planner itself is asked, on a copy of the state whose
//! nodes do at once what they are told.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::apply;
use crate::assignment::{assignment, withdrawn_everywhere};
use crate::command::{Command, ENTRY_VERSION, Entry, Made, Observation, Outcome, Rejection};
use crate::model::{
    Artifact, ClusterState, Deployment, DeploymentId, Endpoint, Exit, Instance, Instead, Millis, NodeId,
    RELEASE_PROCESS, Release, Seen, Source, Spec, Step, Want,
};
use crate::plan::plan;

/// More entries than any deployment leads to.
const ENTRIES_MAX: usize = 20_000;

/// What becomes of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessPreview {
    /// The steps.
    pub steps: Vec<Step>,
    /// Where its instances run in the end.
    pub nodes: Vec<NodeId>,
    /// How many run at most.
    pub peak: u32,
    /// How many serve at least, from begin to end.
    pub least: u32,
    /// Nodes that are at some moment the only ones with an instance that serves.
    pub alone: BTreeSet<NodeId>,
}

/// What a deployment would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// The deployment it would wait for.
    pub after: Option<DeploymentId>,
    /// The release runs already; nothing would be done.
    pub no_change: bool,
    /// Settings of the cluster that would be taken in place of what the file says.
    pub instead: Vec<Instead>,
    /// Its release command would run last, as it takes away what the release before needs.
    pub contracts: bool,
    /// Processes by name.
    pub processes: BTreeMap<String, ProcessPreview>,
    /// What it would wait for and never get, if anything.
    pub stuck: Option<String>,
}

/// What a deployment would do that `by` asks for.
///
/// # Errors
/// Why it would be refused.
pub fn preview(
    state: &ClusterState,
    now: Millis,
    by: &str,
    project: &str,
    environment: &str,
    source: &Source,
    spec: &Spec,
) -> Result<Preview, Rejection> {
    let (state, by) = (state.clone(), by.to_owned());
    let mut trial = Trial { now: now.max(state.clock), state, by, seq: BTreeMap::new() };
    let receipt = trial.write(Command::Deploy {
        project: project.to_owned(),
        environment: environment.to_owned(),
        source: source.clone(),
        spec: spec.clone(),
        supersede: false,
    })?;
    let (Outcome::Done(Made::Deployment(id)) | Outcome::NoChange(Made::Deployment(id))) = receipt else {
        return Ok(Preview::default());
    };
    let release = trial.state.release(trial.state.deployments.get(&id).map(|d| d.to));
    let mut preview =
        Preview { instead: release.map(Release::instead).unwrap_or_default(), ..Preview::default() };
    if matches!(receipt, Outcome::NoChange(_)) {
        preview.no_change = true;
        return Ok(preview);
    }
    let live = trial.state.deployments.get(&id).and_then(|d| trial.state.live(d.environment));
    preview.after = live.map(|d| d.id).filter(|live| *live != id);
    trial.make_ready(id);
    preview.after.into_iter().for_each(|before| trial.make_ready(before));
    for _ in 0..ENTRIES_MAX {
        trial.look(id, &mut preview);
        if trial.state.deployments.get(&id).is_none_or(|d| d.phase.is_terminal()) {
            break;
        }
        if !trial.goes_on() {
            break;
        }
    }
    if let Some(deployment) = trial.state.deployments.get(&id) {
        preview.contracts = deployment.contracts;
        if let Some(cause) = &deployment.cause {
            preview.stuck = Some(cause.sentence_with(&|node| trial.state.node_name(node)));
        } else if !deployment.phase.is_terminal() {
            preview.stuck = Some(trial.why_stuck(deployment));
        }
        for (process, seen) in &mut preview.processes {
            let ours = trial.state.instances_of(deployment.environment, process);
            seen.nodes = ours.filter(|i| i.counts() && i.release == deployment.to).map(|i| i.node).collect();
        }
    }
    Ok(preview)
}

/// A copy of the state, whose nodes do at once what they are told.
struct Trial {
    state: ClusterState,
    now: Millis,
    by: String,
    seq: BTreeMap<NodeId, u64>,
}

impl Trial {
    fn write(&mut self, command: Command) -> Result<Outcome, Rejection> {
        let entry = Entry {
            version: ENTRY_VERSION,
            clock: self.now,
            wall: self.now,
            key: None,
            by: self.by.clone(),
            command,
        };
        let index = self.state.index.saturating_add(1);
        match apply(&mut self.state, index, &entry).outcome {
            Outcome::Rejected(why) => Err(why),
            outcome => Ok(outcome),
        }
    }

    /// What is to be built is built, and the release command has run.
    fn make_ready(&mut self, id: DeploymentId) {
        let Some(to) = self.state.deployments.get(&id).map(|d| d.to) else { return };
        let Some(release) = self.state.releases.get_mut(&to) else { return };
        release.spec.release = None;
        let artifact = release.artifact.get_or_insert_with(|| Artifact::bundle("preview".to_owned(), 0));
        let digest = artifact.digest.clone();
        for node in self.state.nodes.values_mut() {
            node.artifacts.insert(digest.clone());
        }
    }

    /// One more thing happens; false where nothing ever will.
    fn goes_on(&mut self) -> bool {
        let plan = plan(&self.state, self.now);
        if !plan.actions.is_empty() {
            return self.write(Command::Plan { seen: self.state.revision, actions: plan.actions }).is_ok();
        }
        let nodes: Vec<NodeId> = self.state.up().map(|n| n.id).collect();
        let mut seen_any = false;
        for node in nodes {
            let observations = obeyed(&self.state, node);
            if observations.is_empty() {
                continue;
            }
            seen_any = true;
            let seq = self.seq.entry(node).or_default();
            *seq += 1;
            let report = Command::Report { node, boot: u64::MAX, seq: *seq, observations };
            if self.write(report).is_err() {
                return false;
            }
        }
        match plan.wake_at {
            _ if seen_any => true,
            Some(at) if at > self.now => {
                self.now = at;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Notes how many run and serve now, while the deployment is live.
    fn look(&self, id: DeploymentId, preview: &mut Preview) {
        let Some(deployment) = self.state.deployments.get(&id).filter(|d| d.phase.is_live()) else { return };
        for (process, progress) in &deployment.progress {
            let all = || self.state.instances_of(deployment.environment, process);
            let serving: Vec<&Instance> = all().filter(|i| i.serves()).collect();
            let serve = u32::try_from(serving.len()).unwrap_or(u32::MAX);
            let seen = preview.processes.entry(process.clone()).or_insert_with(|| ProcessPreview {
                steps: progress.steps.clone(),
                least: serve,
                ..ProcessPreview::default()
            });
            let run = all().filter(|i| i.occupies()).count();
            seen.peak = seen.peak.max(u32::try_from(run).unwrap_or(u32::MAX));
            seen.least = seen.least.min(serve);
            if let Some(first) = serving.first().filter(|f| serving.iter().all(|i| i.node == f.node)) {
                seen.alone.insert(first.node);
            }
        }
    }

    fn why_stuck(&self, deployment: &Deployment) -> String {
        match self.state.live(deployment.environment).filter(|live| live.id != deployment.id) {
            Some(before) if before.paused.is_some() => format!("deployment {}, which is paused", before.id),
            Some(before) => format!("deployment {}", before.id),
            None => "a node that can run it".to_owned(),
        }
    }
}

/// What a node reports that does at once what it is told.
#[must_use]
pub fn obeyed(state: &ClusterState, node: NodeId) -> Vec<Observation> {
    let mut seen = Vec::new();
    if assignment(state, node).awaited.is_some() {
        seen.push(Observation::Applied { index: state.index });
    }
    for instance in state.instances.values().filter(|i| i.node == node && !i.lost) {
        let sight = |seen| sight(instance, seen);
        match instance.want {
            Want::Run if instance.seen < Seen::Ready => seen.push(sight(Seen::Ready)),
            Want::Drain if !instance.drained && withdrawn_everywhere(state, instance) => {
                seen.push(Observation::Drained { instance: instance.id });
            }
            Want::Stop => seen.push(sight(Seen::Gone)),
            Want::Run | Want::Drain | Want::Gone => {}
        }
    }
    seen
}

fn sight(instance: &Instance, seen: Seen) -> Observation {
    let command = instance.process == RELEASE_PROCESS;
    Observation::Instance {
        instance: instance.id,
        seen: if command { seen.max(Seen::Exited) } else { seen },
        endpoint: Some(Endpoint::default()),
        attempts: 0,
        last_check: None,
        log_tail: Vec::new(),
        exit: command.then(|| Exit { code: Some(0), ..Exit::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::preview;
    use crate::model::{Artifact, CanaryStep, ClusterState, NodeId, ProcessSpec, Source, Spec, Strategy};

    fn web(instances: u32) -> Spec {
        let web =
            ProcessSpec { command: "./web".to_owned(), http: true, instances, ..ProcessSpec::default() };
        Spec { processes: [("web".to_owned(), web)].into(), ..Spec::default() }
    }

    fn bundle(digest: &str) -> Source {
        Source::Bundle { bundle: Artifact::bundle(digest.repeat(64), 1) }
    }

    fn three_nodes_with_three_instances() -> ClusterState {
        crate::plan::tests::first_release().into_state()
    }

    #[test]
    fn a_rolling_update_and_a_canary() {
        let state = three_nodes_with_three_instances();
        let ask = |spec: &Spec| preview(&state, 0, "ann", "shop", "production", &bundle("b"), spec).unwrap();
        let rolling = ask(&web(3));
        let seen = &rolling.processes["web"];
        assert_eq!((seen.peak, seen.least, seen.steps.len()), (4, 3, 3));
        assert_eq!(seen.nodes, [1, 2, 3].map(NodeId));
        assert!(seen.alone.is_empty() && rolling.stuck.is_none());

        let mut canary = web(3);
        canary.deploy.strategy = Strategy::Canary;
        canary.deploy.canary = vec![CanaryStep { weight: 5, hold: 120_000 }];
        assert_eq!(ask(&canary).processes["web"].peak, 4);
        let mut recreate = web(3);
        recreate.deploy.strategy = Strategy::Recreate;
        let seen = &ask(&recreate).processes["web"];
        assert_eq!((seen.peak, seen.least), (3, 0));
        assert!(!ask(&web(1)).processes["web"].alone.is_empty(), "the last one is alone in the end");
    }

    #[test]
    fn what_cannot_be_is_told() {
        let state = three_nodes_with_three_instances();
        let ask = |spec: &Spec| preview(&state, 0, "ann", "shop", "production", &bundle("b"), spec);
        let mut nowhere = web(3);
        nowhere.placement.require = [("disk".to_owned(), "ssd".to_owned())].into();
        assert!(ask(&nowhere).is_err(), "no node has the label");
        let same = preview(&state, 0, "ann", "shop", "production", &bundle("a"), &web(3)).unwrap();
        assert!(same.no_change);
        let mut state = three_nodes_with_three_instances();
        for node in state.nodes.values_mut() {
            node.cordoned = true;
        }
        let stuck = preview(&state, 0, "ann", "shop", "production", &bundle("b"), &web(3));
        assert!(stuck.is_err() || stuck.is_ok_and(|p| p.stuck.is_some()));
    }
}
