//! Questions that several parts ask of the state.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{
    ClusterState, Deployment, DeploymentId, Environment, EnvironmentId, Instance, Node, NodeId, NodeStatus,
    Phase, Project, Release, ReleaseId, RuntimeKind, Spec,
};

impl Node {
    /// Whether it has what runs instances of that kind. One that has not told yet counts as a machine for local
    /// processes, as every machine is.
    #[must_use]
    pub fn can_run(&self, runtime: RuntimeKind) -> bool {
        self.facts.runtime.unwrap_or(RuntimeKind::Process) == runtime
    }

    /// Whether it has all these labels.
    #[must_use]
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(name, value)| self.facts.labels.get(name) == Some(value))
    }
}

impl ClusterState {
    /// SHA-256 in hex of the whole state: equal logs give equal hashes.
    #[must_use]
    pub fn hash(&self) -> String {
        let bytes = rmp_serde::to_vec_named(self).expect("the state has only encodable types");
        hex::encode(Sha256::digest(bytes))
    }

    /// The project of that name.
    #[must_use]
    pub fn project(&self, name: &str) -> Option<&Project> {
        self.projects.values().find(|p| p.name == name)
    }

    /// The environment of that name in the project of that name.
    #[must_use]
    pub fn environment(&self, project: &str, environment: &str) -> Option<&Environment> {
        let project = self.project(project)?.id;
        self.environments.values().find(|e| e.project == project && e.name == environment)
    }

    /// The name of the project that a deployment belongs to.
    #[must_use]
    pub fn project_of(&self, deployment: DeploymentId) -> Option<&str> {
        self.project_of_environment(self.deployments.get(&deployment)?.environment)
    }

    /// The name of the project that an environment belongs to.
    #[must_use]
    pub fn project_of_environment(&self, environment: EnvironmentId) -> Option<&str> {
        let project = self.environments.get(&environment)?.project;
        self.projects.get(&project).map(|project| project.name.as_str())
    }

    /// The deployment of an environment that has begun and not ended.
    #[must_use]
    pub fn live(&self, environment: EnvironmentId) -> Option<&Deployment> {
        self.deployments_of(environment).find(|d| d.phase.is_live())
    }

    /// As [`ClusterState::live`], to be changed.
    pub(crate) fn live_mut(&mut self, environment: EnvironmentId) -> Option<&mut Deployment> {
        self.deployments.values_mut().find(|d| d.environment == environment && d.phase.is_live())
    }

    /// The deployment of an environment that waits, if one does.
    #[must_use]
    pub fn queued(&self, environment: EnvironmentId) -> Option<&Deployment> {
        self.deployments_of(environment).find(|d| d.phase == Phase::Queued)
    }

    /// Deployments of an environment, newest first.
    pub fn deployments_of(&self, environment: EnvironmentId) -> impl Iterator<Item = &Deployment> {
        self.deployments.values().rev().filter(move |d| d.environment == environment)
    }

    /// Instances of one process of an environment, gone ones included.
    pub fn instances_of<'a>(
        &'a self,
        environment: EnvironmentId,
        process: &'a str,
    ) -> impl Iterator<Item = &'a Instance> {
        self.instances.values().filter(move |i| i.environment == environment && i.process == process)
    }

    /// How many instances of a process are wanted: as scaled, else as the release says, 0 if it has none.
    #[must_use]
    pub fn wanted(&self, environment: &Environment, spec: &Spec, process: &str) -> u32 {
        spec.processes
            .get(process)
            .map_or(0, |p| environment.scale.get(process).copied().unwrap_or(p.instances))
    }

    /// The release, where it is still known.
    #[must_use]
    pub fn release(&self, id: Option<ReleaseId>) -> Option<&Release> {
        self.releases.get(&id?)
    }

    /// What a node is called; its number where it is not known.
    #[must_use]
    pub fn node_name(&self, id: NodeId) -> String {
        let known = self.nodes.get(&id).map(|node| &node.name);
        known.or_else(|| self.removed.get(&id)).map_or_else(|| id.to_string(), Clone::clone)
    }

    /// Nodes that count.
    pub fn up(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|n| n.status == NodeStatus::Up)
    }

    /// Nodes that count and are not being emptied.
    pub fn staying(&self) -> impl Iterator<Item = &Node> {
        self.up().filter(|n| !n.draining)
    }

    /// Succeeded deployments that an environment can go back to, newest first: their release is known,
    /// is not the current one, its artifact is stored on some node that counts, and it runs with the schema that
    /// the database has.
    pub fn rollback_targets<'a>(
        &'a self,
        environment: &'a Environment,
    ) -> impl Iterator<Item = DeploymentId> + use<'a> {
        let current = environment.current;
        self.deployments_of(environment.id)
            .filter(move |d| d.phase == Phase::Succeeded && Some(d.to) != current)
            .filter(|d| self.can_start(d.to))
            .filter(|d| self.releases.get(&d.to).is_some_and(|r| crate::schema::fits(environment, r)))
            .map(|d| d.id)
    }

    /// Whether what a release runs is stored on some node that counts.
    #[must_use]
    pub fn can_start(&self, release: ReleaseId) -> bool {
        let artifact = self.releases.get(&release).and_then(|r| r.artifact.as_ref());
        artifact.is_some_and(|artifact| self.up().any(|n| n.artifacts.contains(&artifact.digest)))
    }
}
