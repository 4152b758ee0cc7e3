//! What is left on a node that is to be emptied, and what cannot leave it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    ClusterState, DeploymentId, Environment, EnvironmentId, Index, Instance, InstanceId, Node, NodeId,
    NodeStatus, Phase, RELEASE_PROCESS, Release, ReleaseId, RuntimeKind, Seen, Want,
};

/// Why what an environment runs on a node can run nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Its volumes are on that node.
    Volumes,
    /// There is no other node.
    Alone,
    /// No other node has what runs it.
    Runtime(RuntimeKind),
    /// No other node has the labels that it requires.
    Labels(BTreeMap<String, String>),
    /// Others could run it, and none takes anything now.
    Others(String),
}

/// An environment with something that cannot leave a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Which.
    pub environment: EnvironmentId,
    /// Why.
    pub why: Obstacle,
}

/// Something that is still on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// An instance that runs, or is being ended.
    Instance(InstanceId, Stay),
    /// The image of a deployment is being made there.
    Build(DeploymentId),
    /// Nobody else stores what a release that is kept runs.
    Copy(ReleaseId),
}

/// Why an instance is still on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It can run nowhere else.
    Stuck(Obstacle),
    /// It is a release command, which is left to finish.
    Command,
    /// This one, which takes its place, does not serve everywhere yet.
    Replaced(InstanceId),
    /// Its turn comes: no more may run, or be missing, at once.
    Turn,
    /// It finishes what it has begun.
    Draining,
    /// It is being ended.
    Stopping,
}

/// Environments of which something runs on this node and can run nowhere else, the first obstacle of each.
#[must_use]
pub fn stuck(state: &ClusterState, node: NodeId) -> Vec<Stuck> {
    let here = |i: &&Instance| i.node == node && i.counts() && i.process != RELEASE_PROCESS;
    let running: BTreeSet<_> =
        state.instances.values().filter(here).map(|i| (i.environment, i.release)).collect();
    let mut found: Vec<Stuck> = Vec::new();
    for (environment, release) in running {
        if found.last().is_none_or(|s| s.environment != environment)
            && let Some(why) = obstacle(state, node, environment, release)
        {
            found.push(Stuck { environment, why });
        }
    }
    found
}

/// Why a release can run nowhere but on this node.
#[must_use]
pub fn obstacle(
    state: &ClusterState,
    node: NodeId,
    environment: EnvironmentId,
    release: ReleaseId,
) -> Option<Obstacle> {
    let environment = state.environments.get(&environment)?;
    let release = state.releases.get(&release)?;
    if !release.spec.volumes.is_empty() && environment.home == Some(node) {
        return Some(Obstacle::Volumes);
    }
    let others: Vec<&Node> = state.nodes.values().filter(|n| n.id != node).collect();
    if others.is_empty() {
        return Some(Obstacle::Alone);
    }
    let runtime = release.source.runtime();
    let able: Vec<&Node> = others.into_iter().filter(|n| n.can_run(runtime)).collect();
    if able.is_empty() {
        return Some(Obstacle::Runtime(runtime));
    }
    let require = &release.spec.placement.require;
    let labelled: Vec<&Node> = able.into_iter().filter(|n| n.has_labels(require)).collect();
    if labelled.is_empty() {
        return Some(Obstacle::Labels(require.clone()));
    }
    let away: Vec<String> = labelled.iter().filter_map(|n| away(n)).collect();
    (away.len() == labelled.len()).then(|| Obstacle::Others(away.join(", ")))
}

/// Why a node takes nothing now, in words.
fn away(node: &Node) -> Option<String> {
    let name = &node.name;
    if node.status == NodeStatus::Lost {
        return Some(format!("{name} is lost"));
    }
    if node.cordoned {
        return Some(format!("{name} is cordoned"));
    }
    node.facts.trouble.as_ref().map(|why| format!("{name} has trouble ({why})"))
}

/// Why a node cannot be emptied, and what to do, in one sentence.
#[must_use]
pub fn refusal(state: &ClusterState, node: NodeId, stuck: &[Stuck]) -> String {
    let name = state.node_name(node);
    let each = |s: &Stuck| {
        let environment = state.environments.get(&s.environment);
        let (why, remedy) = (s.why.sentence(&name), s.why.remedy());
        format!("{} cannot leave it: {why} ({remedy})", called(state, environment))
    };
    let all: Vec<String> = stuck.iter().map(each).collect();
    format!("node {name} cannot be drained, and nothing was changed: {}", all.join("; "))
}

/// `shop (production)`.
#[must_use]
pub fn called(state: &ClusterState, environment: Option<&Environment>) -> String {
    let Some(environment) = environment else { return "something".to_owned() };
    let project = state.projects.get(&environment.project).map_or("?", |p| p.name.as_str());
    format!("{project} ({})", environment.name)
}

impl Obstacle {
    /// Why, for a person; `node` is how the node is called.
    #[must_use]
    pub fn sentence(&self, node: &str) -> String {
        match self {
            Obstacle::Volumes => format!("its volumes are on {node}"),
            Obstacle::Alone => "there is no other node".to_owned(),
            Obstacle::Runtime(RuntimeKind::Docker) => "no other node runs containers".to_owned(),
            Obstacle::Runtime(RuntimeKind::Process) => "no other node runs local processes".to_owned(),
            Obstacle::Labels(labels) => {
                let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("no other node has the labels {}", labels.join(" "))
            }
            Obstacle::Others(away) => format!("no other node takes it now: {away}"),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Obstacle::Volumes => {
                "save its data and deploy it without [volumes], or only cordon the node: `temps nodes cordon`"
            }
            Obstacle::Alone => "let another machine join first: `temps cluster token`",
            Obstacle::Runtime(_) => "let a machine join that does",
            Obstacle::Labels(_) => {
                "give these labels to another node, or deploy it with another placement.require"
            }
            Obstacle::Others(_) => "bring one of them back, `temps nodes uncordon` it, or let another join",
        }
    }
}

/// What is left on a node. What ran on a lost one no longer counts.
#[must_use]
pub fn left(state: &ClusterState, node: NodeId) -> Vec<Left> {
    let here = state.instances.values().filter(|i| i.node == node && i.occupies());
    let instances = here.map(|i| Left::Instance(i.id, stay(state, i)));
    let building = |d: &&crate::model::Deployment| {
        let made = state.releases.get(&d.to).is_none_or(|r| r.artifact.is_some());
        d.phase == Phase::Building && d.builder == Some(node) && !made
    };
    let builds = state.deployments.values().filter(building).map(|d| Left::Build(d.id));
    let up = state.nodes.get(&node).is_some_and(|n| n.status == NodeStatus::Up);
    let copies = only_here(state, node).into_iter().filter(|_| up).map(Left::Copy);
    instances.chain(builds).chain(copies).collect()
}

fn stay(state: &ClusterState, instance: &Instance) -> Stay {
    match instance.want {
        Want::Run if instance.process == RELEASE_PROCESS => return Stay::Command,
        Want::Run if instance.seen == Seen::Exited => return Stay::Stopping,
        Want::Run => {}
        Want::Drain => return Stay::Draining,
        Want::Stop | Want::Gone => return Stay::Stopping,
    }
    if let Some(why) = obstacle(state, instance.node, instance.environment, instance.release) {
        return Stay::Stuck(why);
    }
    let served = |index: Index| crate::assignment::served_everywhere(state, index);
    let waits = |i: &&Instance| {
        i.counts()
            && i.release == instance.release
            && state.nodes.get(&i.node).is_some_and(|n| !n.draining)
            && !(i.serves() && i.admitted.is_some_and(served))
    };
    let next = state.instances_of(instance.environment, &instance.process).find(waits);
    next.map_or(Stay::Turn, |i| Stay::Replaced(i.id))
}

/// Kept releases of which this node has what runs, and no other node that counts has it.
#[must_use]
pub fn only_here(state: &ClusterState, node: NodeId) -> Vec<ReleaseId> {
    let has = |n: &Node, digest: &String| n.artifacts.contains(digest);
    let alone = |release: &&Release| {
        let Some(artifact) = release.artifact.as_ref().or(release.source.stored()) else { return false };
        state.nodes.get(&node).is_some_and(|n| has(n, &artifact.digest))
            && !state.up().any(|n| n.id != node && has(n, &artifact.digest))
    };
    let kept = state.kept_releases();
    kept.iter().filter_map(|id| state.releases.get(id)).filter(alone).map(|r| r.id).collect()
}

impl Left {
    /// Why it is still there, for a person; `node` is how the node is called.
    #[must_use]
    pub fn sentence(&self, state: &ClusterState, node: &str) -> String {
        match self {
            Left::Instance(id, stay) => match stay {
                Stay::Stuck(why) => format!("{} ({})", why.sentence(node), why.remedy()),
                Stay::Command => "its release command runs until it ends".to_owned(),
                Stay::Replaced(by) => {
                    let to = state.instances.get(by).map_or_else(String::new, |i| state.node_name(i.node));
                    format!("waits until {by} on {to} serves in its place")
                }
                Stay::Turn => "waits for its turn, as only so many may run or be missing at once".to_owned(),
                Stay::Draining => match state.instances.get(id).and_then(|i| i.draining) {
                    Some(n) if n > 0 => format!("finishes what it has begun ({n} when it was withdrawn)"),
                    Some(_) | None => "finishes what it has begun".to_owned(),
                },
                Stay::Stopping => "is being stopped".to_owned(),
            },
            Left::Build(id) => format!("the image of deployment {id} is being made there"),
            Left::Copy(id) => format!("release {id} is copied to another node"),
        }
    }
}
