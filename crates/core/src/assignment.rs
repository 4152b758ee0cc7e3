//! What one node has to make true.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Artifact, ClusterState, DeployRules, DeploymentId, EnvironmentId, Health, Index, Instance, InstanceId,
    Millis, NodeId, NodeStatus, Phase, ProcessSpec, RELEASE_PROCESS, Release, ReleaseId, Source, Spec,
    Variables, Want,
};

/// What one node has to make true. Whatever runs under the cluster's name and is not in it, is to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The log index that it reflects. A node refuses an older one than it has seen.
    pub index: Index,
    /// Instances that are not gone.
    pub instances: BTreeMap<InstanceId, Work>,
    /// Artifacts to store here, with the nodes that store them now. Others may be deleted.
    pub artifacts: BTreeMap<String, ArtifactWork>,
    /// Some instance waits until this node's edge serves a table of at least this index.
    pub awaited: Option<Index>,
    /// Environments whose traffic is to be reported, because a deployment is under way, with the releases to report.
    pub observed: BTreeMap<EnvironmentId, BTreeSet<ReleaseId>>,
    /// Deployments of which the cluster does not know yet what this node's edge counted before they began.
    pub unmeasured: BTreeMap<DeploymentId, EnvironmentId>,
    /// Images to make here.
    pub builds: BTreeMap<DeploymentId, BuildWork>,
    /// What this node was last known to be.
    pub facts: crate::model::NodeFacts,
    /// Deployments that the cluster remembers; the build logs of others may be deleted.
    pub remembered: BTreeSet<DeploymentId>,
}

/// An image to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildWork {
    /// For which release.
    pub release: ReleaseId,
    /// Names for labels and logs.
    pub project: String,
    /// See `project`.
    pub environment: String,
    /// From what. The file of [`Source::Build`] is among the artifacts to store here.
    pub source: Source,
}

/// An artifact to store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactWork {
    /// What.
    pub artifact: Artifact,
    /// Who has it, this node excluded.
    pub holders: Vec<NodeId>,
    /// Whether the cluster knows that this node stores it.
    pub reported: bool,
}

/// One instance to run, drain or stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The instance as the cluster knows it.
    pub instance: Instance,
    /// What it runs.
    pub artifact: Artifact,
    /// How it runs: command, port, limits, signal, check. Of a release command, its command alone.
    pub process: ProcessSpec,
    /// It runs once and ends by itself: how it ended is what matters, and it is never ready.
    pub once: bool,
    /// Where volumes are mounted, by the volume's name.
    pub volumes: BTreeMap<String, String>,
    /// Environment variables, `PORT` not included.
    pub variables: Variables,
    /// Names for the variables that tell an application who it is.
    pub project: String,
    /// See `project`.
    pub environment: String,
    /// How readiness is checked, over HTTP or by `process.check`; `None`: by staying up for `settle`.
    pub health: Option<Health>,
    /// The Host header of health checks.
    pub host: String,
    /// How long a process without HTTP has to stay up.
    pub settle: Millis,
    /// Time between the stop signal and the kill.
    pub stop_grace: Millis,
    /// Every live edge has withdrawn it: once nothing is in flight, it is drained.
    pub withdrawn_everywhere: bool,
}

/// What `node` has to make true.
#[must_use]
pub fn assignment(state: &ClusterState, node: NodeId) -> Assignment {
    let instances = state
        .instances
        .values()
        .filter(|i| i.node == node && (i.want != Want::Gone))
        .filter_map(|i| Some((i.id, work(state, i)?)))
        .collect();
    Assignment {
        index: state.index,
        instances,
        artifacts: artifacts(state, node),
        awaited: state.nodes.get(&node).and_then(|n| awaited(state).filter(|index| n.applied < *index)),
        observed: observed(state),
        unmeasured: unmeasured(state, node),
        builds: builds(state, node),
        facts: state.nodes.get(&node).map(|n| n.facts.clone()).unwrap_or_default(),
        remembered: state.deployments.keys().copied().collect(),
    }
}

/// The two releases of each deployment, others of which something runs, and what was reported before.
fn observed(state: &ClusterState) -> BTreeMap<EnvironmentId, BTreeSet<ReleaseId>> {
    let live = state.deployments.values().filter(|d| d.phase.is_live());
    live.map(|d| {
        let running = state.instances.values().filter(|i| i.environment == d.environment && i.occupies());
        let releases = running.map(|i| i.release).chain(d.from).chain([d.to]).chain(d.counted.releases());
        (d.environment, releases.collect())
    })
    .collect()
}

fn unmeasured(state: &ClusterState, node: NodeId) -> BTreeMap<DeploymentId, EnvironmentId> {
    let live = state.deployments.values().filter(|d| d.phase.is_live());
    live.filter(|d| !d.counted.past.contains_key(&node)).map(|d| (d.id, d.environment)).collect()
}

fn builds(state: &ClusterState, node: NodeId) -> BTreeMap<DeploymentId, BuildWork> {
    let here = state.deployments.values().filter(|d| d.phase == Phase::Building && d.builder == Some(node));
    here.filter_map(|d| {
        let release = state.releases.get(&d.to).filter(|r| r.artifact.is_none())?;
        let environment = state.environments.get(&d.environment)?;
        let work = BuildWork {
            release: release.id,
            project: state.projects.get(&environment.project)?.name.clone(),
            environment: environment.name.clone(),
            source: release.source.clone(),
        };
        Some((d.id, work))
    })
    .collect()
}

fn work(state: &ClusterState, instance: &Instance) -> Option<Work> {
    let release = state.releases.get(&instance.release)?;
    let process = process_of(release, &instance.process)?;
    let once = instance.process == RELEASE_PROCESS;
    let environment = state.environments.get(&instance.environment)?;
    let project = state.projects.get(&environment.project)?;
    let health = &release.spec.health;
    let host = match &health.host {
        Some(host) => host.clone(),
        None => crate::routes::hosts(state, environment, &release.spec).into_iter().next()?,
    };
    Some(Work {
        instance: instance.clone(),
        artifact: release.artifact.clone()?,
        once,
        volumes: release.spec.volumes.clone(),
        variables: release.variables.clone(),
        project: project.name.clone(),
        environment: environment.name.clone(),
        health: (process.http || process.check.is_some()).then(|| health.clone()),
        host,
        settle: health.interval * u64::from(health.healthy_threshold),
        stop_grace: grace(&release.spec, &process),
        process,
        withdrawn_everywhere: withdrawn_everywhere(state, instance),
    })
}

/// How the process of an instance runs; a release command is a process that only has a command.
#[must_use]
pub fn process_of(release: &Release, name: &str) -> Option<ProcessSpec> {
    if name != RELEASE_PROCESS {
        return release.spec.processes.get(name).cloned();
    }
    let command = release.spec.release.as_ref()?.command.clone();
    Some(ProcessSpec { command, instances: 1, ..ProcessSpec::default() })
}

/// Time between the stop signal and the kill. A process without HTTP has no requests to drain: the drain
/// timeout is time for its last job instead.
#[must_use]
pub fn grace(spec: &Spec, process: &ProcessSpec) -> Millis {
    let DeployRules { stop_grace, .. } = spec.deploy;
    if process.http { stop_grace } else { stop_grace.max(drain_timeout(spec, process)) }
}

/// How long what a process does may take after it is to end.
#[must_use]
pub fn drain_timeout(spec: &Spec, process: &ProcessSpec) -> Millis {
    process.drain_timeout.unwrap_or(spec.deploy.drain_timeout)
}

/// Every live edge serves a table without the instance.
#[must_use]
pub fn withdrawn_everywhere(state: &ClusterState, instance: &Instance) -> bool {
    instance.withdrawn.is_some_and(|index| served_everywhere(state, index))
}

/// Every live edge serves the table of `index` or a newer one.
#[must_use]
pub fn served_everywhere(state: &ClusterState, index: Index) -> bool {
    state.nodes.values().all(|n| n.status == NodeStatus::Lost || n.applied >= index)
}

/// Live nodes whose edge does not serve yet what somebody waits for.
#[must_use]
pub fn trailing(state: &ClusterState) -> BTreeSet<NodeId> {
    let Some(index) = awaited(state) else { return BTreeSet::new() };
    state.up().filter(|n| n.applied < index).map(|n| n.id).collect()
}

/// The newest index that somebody waits for: an instance to be served, or to be withdrawn,
/// everywhere, or a challenge to be answered.
fn awaited(state: &ClusterState) -> Option<Index> {
    state
        .instances
        .values()
        .filter(|i| i.occupies())
        .filter_map(|i| match i.want {
            Want::Run => i.admitted,
            Want::Drain => i.withdrawn,
            Want::Stop | Want::Gone => None,
        })
        .chain(state.tls.challenges().map(|(_, challenge)| challenge.since))
        .max()
}

/// On how many nodes an artifact is kept, where there are so many.
pub const COPIES: usize = 2;

fn artifacts(state: &ClusterState, node: NodeId) -> BTreeMap<String, ArtifactWork> {
    let mut wanted = BTreeMap::new();
    for release in state.kept_releases() {
        let Some(release) = state.releases.get(&release) else { continue };
        // Until the image is made, its source is what must not be lost.
        let Some(artifact) = release.artifact.as_ref().or(release.source.stored()) else { continue };
        let digest = &artifact.digest;
        let runs_here =
            state.instances.values().any(|i| i.node == node && i.release == release.id && i.occupies());
        let builds_here = release.artifact.is_none()
            && state.deployments.values().any(|d| d.to == release.id && d.builder == Some(node));
        if !runs_here && !builds_here && !is_keeper(state, digest, node) {
            continue;
        }
        let holders = state.nodes.values().filter(|n| n.artifacts.contains(digest));
        let reported = holders.clone().any(|n| n.id == node);
        wanted.insert(
            digest.clone(),
            ArtifactWork {
                artifact: artifact.clone(),
                holders: holders.map(|n| n.id).filter(|id| *id != node).collect(),
                reported,
            },
        );
    }
    wanted
}

/// Live holders keep what they have up to [`COPIES`]; where there are fewer, the next live nodes copy it. One
/// that is being emptied keeps it until others have it.
fn is_keeper(state: &ClusterState, digest: &str, node: NodeId) -> bool {
    let holders = || state.staying().filter(|n| n.artifacts.contains(digest));
    let others = state.staying().filter(|n| !n.artifacts.contains(digest));
    if holders().chain(others).take(COPIES).any(|n| n.id == node) {
        return true;
    }
    let wanted = COPIES.min(state.staying().count());
    holders().count() < wanted && state.up().any(|n| n.id == node && n.artifacts.contains(digest))
        || wanted == 0 && state.up().take(COPIES).any(|n| n.id == node)
}

/// Releases whose artifacts must stay: see [`ClusterState::kept_releases`].
impl ClusterState {
    /// Releases that run, are being deployed, or are the last `keep` different ones that were deployed well.
    #[must_use]
    pub fn kept_releases(&self) -> std::collections::BTreeSet<ReleaseId> {
        let mut kept = std::collections::BTreeSet::new();
        for environment in self.environments.values() {
            kept.extend(environment.current);
            let keep = environment
                .current
                .and_then(|r| self.releases.get(&r))
                .map_or(1, |r| r.spec.rollback.keep as usize);
            let of_it = |d: &&crate::model::Deployment| d.environment == environment.id;
            let succeeded = self.deployments.values().rev().filter(of_it);
            let succeeded = succeeded.filter(|d| d.phase == crate::model::Phase::Succeeded);
            let mut different = Vec::<&Release>::new();
            for release in succeeded.filter_map(|d| self.releases.get(&d.to)) {
                // What was deployed again takes nobody's place.
                if different.iter().any(|known| known.is_as(release)) {
                    continue;
                }
                if different.len() == keep {
                    break;
                }
                different.push(release);
                kept.insert(release.id);
            }
            for live in self.deployments.values().filter(of_it).filter(|d| !d.phase.is_terminal()) {
                kept.insert(live.to);
                kept.extend(live.from);
            }
        }
        kept.extend(self.instances.values().filter(|i| i.occupies()).map(|i| i.release));
        kept
    }
}
