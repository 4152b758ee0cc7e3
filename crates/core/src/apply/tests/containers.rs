//! What is refused of containers, and where there is no place for them.

use super::{Cluster, deploy, rollback, spec, web};
use crate::command::{Command, Observation, Outcome};
use crate::model::{
    Artifact, Exit, InstanceId, NodeFacts, NodeId, Order, ReleaseCommand, RuntimeKind, Seen, Source, Spec,
};

const GIB: u64 = 1 << 30;

fn docker(free: Option<u64>) -> Observation {
    Observation::Facts(NodeFacts { runtime: Some(RuntimeKind::Docker), free, ..NodeFacts::default() })
}

fn build(digest: char, spec: Spec) -> Command {
    let context = Artifact::bundle(digest.to_string().repeat(64), 1_200_000);
    with_source(Source::Build { context, dockerfile: "Dockerfile".to_owned(), timeout: 60_000 }, spec)
}

fn image(reference: &str, id: char, node: u64) -> Command {
    let (reference, id) = (reference.to_owned(), format!("sha256:{}", id.to_string().repeat(64)));
    with_source(Source::Image { reference, id, node: NodeId(node) }, spec())
}

fn with_source(source: Source, spec: Spec) -> Command {
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    Command::Deploy { project, environment, source, spec, supersede: false }
}

#[test]
fn what_containers_cannot_hold_to_is_refused() {
    type Spoil = fn(&mut Spec);
    let rows: [(&str, Spoil); 12] = [
        (r#"cannot be named "release""#, |s| {
            let web = s.processes.remove("web").unwrap();
            s.processes.insert("release".to_owned(), web);
        }),
        ("a port from 1 to 65535", |s| web(s).port = Some(0)),
        ("at least 6.2MB of memory", |s| web(s).memory = Some(1_000)),
        ("from 0.01 to 1000 cpus", |s| web(s).cpus = Some(1)),
        (r#"order = "stop_first""#, |s| web(s).exclusive = true),
        ("one instance", |s| (web(s).exclusive, web(s).order) = (true, Order::StopFirst)),
        (r#"such as "SIGTERM""#, |s| web(s).stop_signal = Some("TERM; reboot".to_owned())),
        ("leave `check` out", |s| web(s).check = Some("./check".to_owned())),
        ("the release command must not be empty", |s| {
            s.release = Some(ReleaseCommand { command: " ".to_owned(), timeout: 1 });
        }),
        ("an absolute path", |s| {
            s.volumes.insert("data".to_owned(), "/var/../etc".to_owned());
        }),
        ("an absolute path", |s| {
            s.volumes.insert("data".to_owned(), "/data:/host".to_owned());
        }),
        ("placement.spread", |s| s.placement.spread = String::new()),
    ];
    for (expected, spoil) in rows {
        let mut cluster = Cluster::new();
        cluster.see(3, docker(None));
        let mut spoilt = spec();
        spoil(&mut spoilt);
        let why = cluster.refused(build('a', spoilt));
        assert!(why.contains(expected), "{why:?} should say {expected:?}");
        assert!(cluster.state.projects.is_empty());
    }
}

#[test]
fn local_processes_hold_to_no_limits_and_have_no_volumes() {
    let mut limited = spec();
    web(&mut limited).memory = Some(GIB);
    let mut volume = spec();
    volume.volumes.insert("data".to_owned(), "/data".to_owned());
    let mut silent = spec();
    web(&mut silent).command = String::new();
    for (spec, expected) in [
        (limited, "only containers can hold to"),
        (volume, "volumes need containers"),
        (silent, "needs a command"),
    ] {
        let why = Cluster::new().refused(deploy('a', spec));
        assert!(why.contains(expected), "{why:?} should say {expected:?}");
    }
}

#[test]
fn what_no_node_can_run_is_refused() {
    let mut cluster = Cluster::new();
    assert!(cluster.refused(build('a', spec())).contains("no node of this cluster runs containers"));
    cluster.see(3, docker(None));
    assert!(cluster.refused(deploy('a', spec())).contains("not local processes"));
    let mut picky = spec();
    picky.placement.require.insert("disk".to_owned(), "ssd".to_owned());
    let why = cluster.refused(build('a', picky));
    assert!(why.contains("disk=ssd") && why.contains("n1 (no labels)"), "{why}");
}

#[test]
fn a_deployment_that_would_fill_a_disk_is_refused_and_one_that_changes_nothing_is_not() {
    let mut cluster = Cluster::new();
    cluster.see(3, docker(Some(10 * GIB)));
    cluster.succeed(build('a', spec()));
    cluster.see(4, docker(Some(64 << 20)));
    let why = cluster.refused(build('b', spec()));
    assert!(why.starts_with("no space on node n1: a deployment needs 270MB"), "{why}");
    assert!(matches!(cluster.write(build('a', spec())).outcome, Outcome::NoChange(_)));
}

#[test]
fn an_image_is_what_its_name_meant_when_the_deployment_was_accepted() {
    let mut cluster = Cluster::new();
    cluster.see(3, docker(None));
    cluster.succeed(image("app:latest", '1', 1));
    // The same content by another name, at hand on another node, changes nothing; the same name with other
    // content is another release.
    assert!(matches!(cluster.write(image("app:stable", '1', 2)).outcome, Outcome::NoChange(_)));
    assert!(matches!(cluster.write(image("app:latest", '2', 1)).outcome, Outcome::Done(_)));
    let sources: Vec<_> = cluster.state.releases.values().map(|r| r.source.text()).collect();
    assert_eq!(sources, ["image: app:latest = 111111111111", "image: app:latest = 222222222222"]);
}

#[test]
fn a_rollback_to_an_image_that_no_node_has_is_refused_with_those_that_can_be_had() {
    let mut cluster = Cluster::new();
    cluster.see(3, docker(None));
    cluster.succeed(image("app:1", '1', 1));
    cluster.succeed(image("app:2", '2', 1));
    let why = cluster.refused(rollback(Some(1)));
    assert!(why.contains("cannot go back to #1; deployments it can go back to: there is none"), "{why}");
}

#[test]
fn what_a_machine_or_a_stranger_ended_is_no_crash() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', spec()));
    let environment = cluster.state.environment("shop", "production").unwrap().id;
    let release = cluster.state.environments[&environment].current.unwrap();
    for (id, excused, crashes) in [(1, true, 0), (2, false, 1)] {
        cluster.act(crate::command::Action::Start {
            environment,
            deployment: None,
            release,
            process: "web".to_owned(),
            slot: 0,
            node: NodeId(1),
            why: None,
        });
        let error = Some("its container was removed by somebody else".to_owned());
        cluster.see(
            10 + id,
            Observation::Instance {
                instance: InstanceId(id),
                seen: Seen::Exited,
                endpoint: None,
                attempts: 0,
                last_check: None,
                log_tail: Vec::new(),
                exit: Some(Exit { excused, error, ..Exit::default() }),
            },
        );
        assert_eq!(cluster.state.environments[&environment].crashes, crashes);
    }
}
