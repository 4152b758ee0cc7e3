//! Builds and release commands.

use super::{Cluster, bundle, web};
use crate::assignment::assignment;
use crate::command::{Command, Observation};
use crate::model::{
    Artifact, Cause, Exit, Form, InstanceId, NodeFacts, NodeId, Phase, ProcessSpec, ReleaseCommand,
    RuntimeKind, Seen, Source,
};

const N1: NodeId = NodeId(1);

fn build(digest: char) -> Source {
    Source::Build {
        context: Artifact::bundle(digest.to_string().repeat(64), 1),
        dockerfile: "Dockerfile".to_owned(),
        timeout: 60_000,
    }
}

fn image(digest: char) -> Artifact {
    let form = Form::Image { id: format!("sha256:{}", digest.to_string().repeat(64)), total: 1_000 };
    Artifact { digest: digest.to_string().repeat(64), bytes: 10, form }
}

impl Cluster {
    fn with_containers() -> Self {
        let mut cluster = Self::new();
        for node in 1..=3 {
            let facts = NodeFacts { runtime: Some(RuntimeKind::Docker), ..NodeFacts::default() };
            cluster.see(NodeId(node), Observation::Facts(facts));
        }
        cluster
    }

    fn built(&mut self, node: u64, digest: char) {
        let deployment = *self.state.deployments.keys().next_back().unwrap();
        self.see(NodeId(node), Observation::Built { deployment, image: image(digest) });
    }

    pub(super) fn stores(&mut self, node: u64, digest: char) {
        let digest = digest.to_string().repeat(64);
        self.see(NodeId(node), Observation::Artifact { digest, stored: true });
    }

    pub(super) fn exits(&mut self, id: u64, exit: Exit) {
        let instance = InstanceId(id);
        let node = self.state.instances[&instance].node;
        let seen = if exit.asked { Seen::Gone } else { Seen::Exited };
        self.see(
            node,
            Observation::Instance {
                instance,
                seen,
                endpoint: None,
                attempts: 0,
                last_check: None,
                log_tail: Vec::new(),
                exit: Some(exit),
            },
        );
    }

    pub(super) fn phase(&self) -> Phase {
        self.state.deployments.values().next_back().unwrap().phase
    }

    pub(super) fn cause(&self) -> String {
        let cause = self.state.deployments.values().next_back().unwrap().cause.as_ref();
        cause.map(Cause::sentence).unwrap_or_default()
    }

    /// The first release serves.
    fn live(mut self) -> Self {
        let runs_containers = self.state.nodes[&N1].facts.runtime == Some(RuntimeKind::Docker);
        self.deploy_as(if runs_containers { build('a') } else { bundle('a') }, web(1));
        if runs_containers {
            self.plan();
            self.built(1, 'b');
            self.stores(2, 'b');
        }
        self.plan();
        self.ready(1);
        self.plan();
        self.serve();
        self.plan();
        self.now += 120_000;
        self.plan();
        assert_eq!(self.phase(), Phase::Succeeded);
        self
    }
}

#[test]
fn an_image_is_built_once_and_is_on_two_nodes_before_anything_starts() {
    let mut cluster = Cluster::with_containers();
    cluster.stores(2, 'a');
    cluster.deploy_as(build('a'), web(1));
    assert_eq!(cluster.plan(), ["build on n2"], "where the source is already");
    assert_eq!(cluster.phase(), Phase::Building);
    let work = assignment(&cluster.state, NodeId(2));
    assert_eq!(work.builds.len(), 1);
    assert!(assignment(&cluster.state, N1).builds.is_empty());
    assert!(work.artifacts.contains_key(&"a".repeat(64)), "the source is kept while it is needed");
    cluster.built(2, 'b');
    assert_eq!(cluster.plan(), [""; 0], "a second node has to have it");
    assert!(assignment(&cluster.state, N1).artifacts.contains_key(&"b".repeat(64)));
    cluster.stores(1, 'b');
    assert_eq!(cluster.plan(), ["proceed", "start 0 on n1"]);
    // The same again changes nothing.
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    let before = cluster.state.deployments.len();
    cluster.write(Command::Deploy {
        project,
        environment,
        source: build('a'),
        spec: web(1),
        supersede: false,
    });
    assert_eq!(cluster.state.deployments.len(), before);
}

#[test]
fn a_lost_builder_is_replaced_and_its_late_image_is_not_believed() {
    let mut cluster = Cluster::with_containers();
    cluster.deploy_as(build('a'), web(1));
    assert_eq!(cluster.plan(), ["build on n1"]);
    cluster.write(Command::Liveness { lost: vec![N1], back: vec![] });
    assert_eq!(cluster.plan(), ["build on n2"]);
    cluster.built(1, 'c');
    assert_eq!(cluster.state.releases.values().next().unwrap().artifact, None);
    cluster.built(2, 'b');
    // The only one that has it is lost, too: it is made again.
    cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: vec![] });
    assert_eq!(cluster.plan(), ["build on n3"]);
    cluster.built(3, 'd');
    assert_eq!(cluster.plan(), ["proceed", "start 0 on n3"], "one copy is enough where one node is left");
}

#[test]
fn a_failed_build_and_a_late_one_leave_everything_as_it_was() {
    for late in [false, true] {
        let mut cluster = Cluster::with_containers().live();
        let before: Vec<_> = cluster.serving();
        cluster.deploy_as(build('e'), web(3));
        cluster.plan();
        if late {
            cluster.now += 60_000 + 600_000;
        } else {
            let deployment = *cluster.state.deployments.keys().next_back().unwrap();
            let builder = cluster.state.deployments[&deployment].builder.unwrap();
            cluster.see(
                builder,
                Observation::NotBuilt {
                    deployment,
                    why: "the step `RUN make` ended with exit code 2".to_owned(),
                    log_tail: vec!["no rule".to_owned()],
                },
            );
        }
        assert_eq!(cluster.plan(), ["revert", "rolled_back"]);
        assert!(cluster.cause().starts_with("the build on n"), "{}", cluster.cause());
        assert_eq!(cluster.serving(), before);
        assert_eq!(cluster.plan(), [""; 0]);
    }
}

#[test]
fn while_it_builds_the_release_before_is_repaired() {
    let mut cluster = Cluster::with_containers().live();
    cluster.deploy_as(build('e'), web(1));
    cluster.plan();
    cluster.exits(1, Exit { code: Some(1), ..Exit::default() });
    let planned = cluster.plan();
    assert!(planned.contains(&"stop i1".to_owned()) && planned.iter().any(|p| p.starts_with("start 0")));
}

fn with_command() -> crate::model::Spec {
    let release = Some(ReleaseCommand { command: "./migrate".to_owned(), timeout: 60_000 });
    crate::model::Spec { release, ..web(1) }
}

#[test]
fn a_release_command_runs_once_before_anything_else() {
    let mut cluster = Cluster::new().live();
    cluster.deploy_as(bundle('c'), with_command());
    assert_eq!(cluster.plan(), ["release command on n2"], "the least busy node");
    assert_eq!(cluster.phase(), Phase::Releasing);
    let work = assignment(&cluster.state, NodeId(2));
    let work = &work.instances[&InstanceId(2)];
    assert!(work.once && work.health.is_none() && work.process.command == "./migrate");
    cluster.sight(2, Seen::Starting);
    assert_eq!(cluster.plan(), [""; 0]);
    cluster.exits(2, Exit { code: Some(0), ..Exit::default() });
    let planned = cluster.plan();
    assert_eq!(planned, ["stop i2", "proceed", "start 0 on n3"]);
    let lines: Vec<_> = cluster.state.events.values().map(|e| e.what.line()).collect();
    assert!(lines.contains(&"Release command completed".to_owned()), "{lines:?}");
}

#[test]
fn a_release_command_that_fails_is_lost_or_takes_too_long_leaves_everything_as_it_was() {
    let failed = Exit { code: Some(3), log_tail: vec!["no column".to_owned()], ..Exit::default() };
    let excused = Exit { excused: true, error: Some("the engine stopped".to_owned()), ..Exit::default() };
    for (exit, lost, expected) in [
        (Some(failed), false, "exit code 3"),
        (Some(excused), false, "the engine stopped; whether it did anything is unknown"),
        (None, true, "its node was lost; whether it did anything is unknown"),
        (None, false, "it ran longer than 1m"),
    ] {
        let mut cluster = Cluster::new().live();
        cluster.deploy_as(bundle('c'), with_command());
        cluster.plan();
        cluster.sight(2, Seen::Starting);
        match (exit, lost) {
            (Some(exit), _) => cluster.exits(2, exit),
            (None, true) => cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: vec![] }),
            (None, false) => cluster.now += 60_000,
        }
        let planned = cluster.plan();
        assert!(planned.contains(&"revert".to_owned()), "{planned:?}");
        assert!(!planned.iter().any(|p| p.starts_with("release command")), "{planned:?}");
        assert!(cluster.cause().contains(expected), "{}", cluster.cause());
        if !lost {
            cluster.exits(2, Exit { asked: true, ..Exit::default() });
            cluster.plan();
            assert_eq!(cluster.phase(), Phase::RolledBack);
            assert_eq!(cluster.serving(), [1]);
        }
        let commands = cluster.state.instances.values().filter(|i| i.process == "release").count();
        assert_eq!(commands, 1);
    }
}

#[test]
fn a_rollback_runs_no_release_command() {
    let mut cluster = Cluster::new();
    cluster.deploy_as(bundle('c'), with_command());
    cluster.plan();
    cluster.exits(1, Exit { code: Some(0), ..Exit::default() });
    cluster.plan();
    cluster.ready(2);
    cluster.plan();
    cluster.serve();
    cluster.exits(1, Exit { asked: true, ..Exit::default() });
    cluster.now += 120_000;
    cluster.plan();
    cluster.now += 120_000;
    cluster.plan();
    assert_eq!(cluster.phase(), Phase::Succeeded);
    cluster.stores(1, 'c');
    cluster.deploy_as(bundle('d'), web(1));
    cluster.plan();
    cluster.ready(3);
    for _ in 0..4 {
        cluster.plan();
        cluster.serve();
        cluster.now += 200_000;
        cluster.exits(2, Exit { asked: true, ..Exit::default() });
    }
    assert_eq!(cluster.phase(), Phase::Succeeded, "{}", cluster.cause());
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    cluster.write(Command::Rollback { project, environment, to: None });
    let planned = cluster.plan();
    assert!(planned[0].starts_with("start 0"), "{planned:?}");
}

#[test]
fn what_has_volumes_runs_where_they_are_from_the_first_plan_on() {
    let mut cluster = Cluster::with_containers().live();
    let mut spec = web(2);
    spec.volumes.insert("data".to_owned(), "/data".to_owned());
    let worker = ProcessSpec { command: "./work".to_owned(), instances: 2, ..ProcessSpec::default() };
    spec.processes.insert("worker".to_owned(), worker);
    cluster.deploy_as(build('c'), spec);
    assert_eq!(cluster.plan(), ["build on n2"], "the emptiest");
    cluster.built(2, 'd');
    cluster.stores(1, 'd');
    let planned = cluster.plan();
    let started: Vec<_> = planned.iter().filter(|word| word.starts_with("start")).collect();
    assert!(started.len() >= 2, "{planned:?}");
    assert!(started.iter().all(|word| word.ends_with("on n2")), "{planned:?}");
}
