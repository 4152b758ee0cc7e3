//! Settings of an environment, and deploying again.

use super::{Cluster, deploy, rollback, spec};
use crate::command::{Action, Command, Made, Observation, Outcome, SettingsChange};
use crate::model::{
    Artifact, CanaryStep, ClusterState, DeploymentId, EnvironmentId, Form, Kind, NodeFacts, NodeId, Opaque,
    Phase, Release, ReleaseId, RuntimeKind, Setting, Settings, Source, Spec, Strategy, Value, Variables,
    What,
};
use crate::preview::preview;

/// `health.path=/up` sets, a key alone unsets.
pub(super) fn set(pairs: &[&str], unset: &[&str]) -> Command {
    let each = |pair: &&str| {
        let (key, text) = pair.split_once('=').unwrap();
        let setting = Setting::named(key).unwrap();
        (setting, setting.parse(text).unwrap())
    };
    Command::SetSettings(SettingsChange {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        set: Settings(pairs.iter().map(each).collect()),
        unset: unset.iter().map(|key| Setting::named(key).unwrap()).collect(),
    })
}

fn raw(setting: Setting, value: Value) -> Command {
    Command::SetSettings(SettingsChange {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        set: Settings([(setting, value)].into()),
        unset: [].into(),
    })
}

fn again(deployment: DeploymentId) -> Command {
    Command::Redeploy { deployment }
}

fn with_path(path: &str) -> Spec {
    let mut spec = spec();
    spec.health.path = path.to_owned();
    spec
}

fn canary() -> Spec {
    let mut spec = spec();
    spec.deploy.strategy = Strategy::Canary;
    spec.deploy.canary = vec![CanaryStep { weight: 5, hold: 1_000 }];
    spec
}

impl Cluster {
    /// The release that a deployment brings.
    fn brought(&self, deployment: DeploymentId) -> &Release {
        &self.state.releases[&self.state.deployments[&deployment].to]
    }

    fn path(&self, deployment: DeploymentId) -> &str {
        &self.brought(deployment).spec.health.path
    }

    fn is_no_change(&mut self, command: Command) -> bool {
        matches!(self.write(command).outcome, Outcome::NoChange(_))
    }
}

#[test]
fn what_is_set_in_the_cluster_wins_until_it_is_unset() {
    let mut cluster = Cluster::new();
    let first = cluster.succeed(deploy('a', with_path("/file")));
    cluster.ok(set(&["health.path=/api/health", "deploy.drain_timeout=10m"], &[]));
    assert_eq!(cluster.path(first), "/file", "what runs stays as it is");
    let told = cluster.state.events.values().rev().find_map(|e| match &e.what {
        What::SettingsChanged(changed) => Some((e.environment, e.deployment, changed.line())),
        _ => None,
    });
    let line = "Settings for the next deployment changed by ann: health.path = /api/health, deploy.drain_timeout = 10m";
    let environment = cluster.state.environment("shop", "production").unwrap().id;
    assert_eq!(told, Some((Some(environment), None, line.to_owned())));

    let second = cluster.succeed(deploy('b', with_path("/file")));
    let release = cluster.brought(second);
    assert_eq!(
        (release.spec.health.path.as_str(), release.spec.deploy.drain_timeout),
        ("/api/health", 600_000)
    );
    assert_eq!(release.given(), with_path("/file"));
    assert!(cluster.is_no_change(deploy('b', with_path("/file"))), "it runs so already");

    cluster.ok(set(&[], &["health.path"]));
    let third = cluster.succeed(again(second));
    let release = cluster.brought(third);
    assert_eq!((release.spec.health.path.as_str(), release.spec.deploy.drain_timeout), ("/file", 600_000));
    let told: Vec<_> = release.instead().into_iter().map(|i| (i.setting, i.value, i.file)).collect();
    assert_eq!(told, [(Setting::DrainTimeout, "10m".to_owned(), Some("30s".to_owned()))]);

    // A rollback brings a release back as it ran, whatever is set by now.
    cluster.ok(set(&["health.path=/other"], &[]));
    let back = cluster.succeed(rollback(Some(second.0)));
    assert_eq!(cluster.path(back), "/api/health");
}

#[test]
fn the_same_twice_is_no_change() {
    let mut cluster = Cluster::new();
    let count = |cluster: &Cluster| {
        cluster.state.events.values().filter(|e| matches!(e.what, What::SettingsChanged(_))).count()
    };
    assert!(cluster.is_no_change(set(&[], &["health.path"])));
    assert!(cluster.state.projects.is_empty(), "what changes nothing makes nothing");
    cluster.ok(set(&["health.path=/up"], &[]));
    assert!(cluster.is_no_change(set(&["health.path=/up"], &["deploy.deadline"])));
    assert_eq!(count(&cluster), 1);
    // It may be set before the first deployment.
    let first = cluster.succeed(deploy('a', spec()));
    assert_eq!(cluster.path(first), "/up");
    let restarted = cluster.succeed(again(first));
    assert_ne!(cluster.brought(restarted).id, cluster.brought(first).id, "it is done though nothing differs");
}

/// Whoever writes into the file what the cluster has, and then unsets it, has it from the file.
#[test]
fn a_file_that_says_the_same_by_now_is_remembered() {
    let mut cluster = Cluster::new();
    cluster.ok(set(&["health.path=/up"], &[]));
    let first = cluster.succeed(deploy('a', with_path("/")));
    assert!(cluster.is_no_change(deploy('a', with_path("/up"))));
    cluster.ok(set(&[], &["health.path"]));
    assert!(cluster.is_no_change(deploy('a', with_path("/up"))));
    let second = cluster.succeed(again(first));
    assert_eq!(cluster.path(second), "/up");
}

#[test]
fn what_cannot_be_is_refused_at_once() {
    let mut cluster = Cluster::new();
    let why = cluster.refused(set(&["deploy.strategy=canary"], &[]));
    assert!(why.contains("has no steps of one"), "{why}");
    cluster.succeed(deploy('a', spec()));
    for (command, expected) in [
        (set(&[], &[]), "name at least one setting"),
        (set(&["health.path=/up"], &["health.path"]), "health.path is to be set and unset at once"),
        (set(&["health.interval=0s"], &[]), "longer than 0"),
        (set(&["health.healthy_threshold=0"], &[]), "at least 1"),
        (set(&["rollback.error_rate_factor=1"], &[]), "at least 2"),
        (set(&["rollback.keep=0"], &[]), "at least 1"),
        (set(&["deploy.max_surge=0"], &[]), "cannot both be 0"),
        (set(&["health.start_period=10m"], &[]), "deploy.deadline (10m) is shorter"),
        (set(&["deploy.strategy=canary"], &[]), "has no steps of one"),
        (raw(Setting::HealthPath, Value::Number(1)), "must start with `/`"),
        (raw(Setting::HealthPath, Value::Text("/a\x1b[2J".to_owned())), "printable"),
        (raw(Setting::HealthInterval, Value::Number(u64::MAX)), "too long"),
        (raw(Setting::MaxSurge, Value::Number(u64::MAX)), "whole number"),
        (raw(Setting::Expect, Value::Text("200".to_owned())), "cannot have such a value"),
        (raw(Setting::HealthHost, Value::Text("A.example".to_owned())), "cannot have such a value"),
    ] {
        let why = cluster.refused(command);
        assert!(why.contains(expected), "{why:?} should say {expected:?}");
    }
    // Two that only fit together are set together, and unset together.
    cluster.ok(set(&["health.start_period=10m", "deploy.deadline=30m"], &[]));
    let why = cluster.refused(set(&[], &["deploy.deadline"]));
    assert!(why.contains("deploy.deadline (10m) is shorter"), "{why}");
    cluster.ok(set(&[], &["deploy.deadline", "health.start_period"]));
    assert_eq!(cluster.state.environment("shop", "production").unwrap().settings, Settings::default());
}

#[test]
fn a_file_that_does_not_go_with_the_settings_is_refused_with_both() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', spec()));
    cluster.ok(set(&["health.start_period=9m"], &[]));
    let mut short = spec();
    short.deploy.deadline = 60_000;
    let why = cluster.refused(deploy('b', short));
    for part in ["deploy.deadline (1m) is shorter", "health.start_period = 9m", "--unset KEY"] {
        assert!(why.contains(part), "{why}");
    }
    // A canary gives way to another strategy, with its steps, and returns with them.
    cluster.ok(set(&["deploy.strategy=rolling"], &["health.start_period"]));
    let rolled = cluster.succeed(deploy('b', canary()));
    assert_eq!(cluster.brought(rolled).spec.deploy.canary, []);
    cluster.ok(set(&["deploy.strategy=canary"], &[]));
    let why = cluster.refused(deploy('a', spec()));
    assert!(why.contains("has no steps of one") && why.contains("deploy.strategy = canary"), "{why}");
    cluster.ok(set(&[], &["deploy.strategy"]));
    let tried = cluster.succeed(again(rolled));
    assert_eq!(cluster.brought(tried).spec, canary());
}

#[test]
fn deploying_again_brings_the_same_with_what_is_set_by_now() {
    let mut cluster = Cluster::new();
    let mut given = spec();
    given.variables = [("MODE".to_owned(), Opaque("file".to_owned()))].into();
    let first = cluster.succeed(deploy('a', given));
    cluster.succeed(deploy('b', spec()));
    let variables = Variables::from([("COLOUR".to_owned(), Opaque("blue".to_owned()))]);
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    cluster.ok(Command::SetVariables { project, environment, set: variables, remove: vec![] });
    let Made::Deployment(third) = cluster.ok(again(first)) else { panic!("no deployment") };
    let release = cluster.brought(third);
    assert!(release.source.is_same(&cluster.brought(first).source));
    let names: Vec<_> = release.variables.keys().cloned().collect();
    assert_eq!(names, ["COLOUR", "MODE"]);
    assert_eq!(cluster.state.deployments[&third].kind, Kind::Deploy);
    assert!(cluster.is_no_change(again(first)), "asked for twice it is done once");
    let variables = Variables::from([("COLOUR".to_owned(), Opaque("red".to_owned()))]);
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    cluster.ok(Command::SetVariables { project, environment, set: variables, remove: vec![] });
    // It waits its turn, as every deployment does.
    let Made::Deployment(fourth) = cluster.ok(again(first)) else { panic!("no deployment") };
    assert_eq!(cluster.state.deployments[&third].phase, Phase::Superseded);
    assert_eq!(cluster.state.deployments[&fourth].phase, Phase::Queued);
    assert_eq!(cluster.refused(again(DeploymentId(99))), "there is no deployment #99");
}

#[test]
fn what_was_deployed_again_is_no_way_back_and_takes_nobodys_place() {
    let mut cluster = Cluster::new();
    let first = cluster.succeed(deploy('a', spec()));
    let mut newest = cluster.succeed(deploy('b', spec()));
    for _ in 0..10 {
        newest = cluster.succeed(again(newest));
    }
    let kept = cluster.state.kept_releases();
    assert!(kept.contains(&cluster.state.deployments[&first].to), "{kept:?}");
    assert_eq!(kept.len(), 2, "{kept:?}");
    let Made::Deployment(back) = cluster.ok(rollback(None)) else { panic!("no deployment") };
    assert_eq!(cluster.state.deployments[&back].kind, Kind::Rollback { to: first });
}

#[test]
fn deploying_again_with_other_settings_can_be_taken_back() {
    let mut cluster = Cluster::new();
    let first = cluster.succeed(deploy('a', spec()));
    cluster.ok(set(&["health.path=/up"], &[]));
    cluster.succeed(again(first));
    let Made::Deployment(back) = cluster.ok(rollback(None)) else { panic!("no deployment") };
    assert_eq!(cluster.state.deployments[&back].kind, Kind::Rollback { to: first });
}

#[test]
fn what_is_not_stored_any_more_cannot_be_deployed_again() {
    let mut cluster = Cluster::new();
    let first = cluster.succeed(deploy('a', spec()));
    cluster.see(3, Observation::Artifact { digest: "a".repeat(64), stored: false });
    let why = cluster.refused(again(first));
    assert!(
        why.contains("what deployment #1 brought is stored on no node") && why.contains("temps deploy"),
        "{why}"
    );
}

#[test]
fn an_image_is_not_built_twice_while_it_is_stored() {
    let mut cluster = Cluster::new();
    let runtime = Some(RuntimeKind::Docker);
    cluster.see(29, Observation::Facts(NodeFacts { runtime, ..NodeFacts::default() }));
    let context = Artifact::bundle("a".repeat(64), 10);
    let source = Source::Build { context, dockerfile: "Dockerfile".to_owned(), timeout: 60_000 };
    let Command::Deploy { project, environment, spec, .. } = deploy('a', spec()) else { panic!() };
    let Made::Deployment(first) =
        cluster.ok(Command::Deploy { project, environment, source, spec, supersede: false })
    else {
        panic!("no deployment")
    };
    cluster.act(Action::Begin { deployment: first });
    cluster.act(Action::Build { deployment: first, node: NodeId(1) });
    let form = Form::Image { id: format!("sha256:{}", "c".repeat(64)), total: 10 };
    let image = Artifact { digest: "c".repeat(64), bytes: 1, form };
    cluster.see(30, Observation::Built { deployment: first, image: image.clone() });
    cluster.see(31, Observation::Artifact { digest: image.digest.clone(), stored: true });
    cluster.act(Action::End { deployment: first, phase: Phase::Succeeded });

    let second = cluster.succeed(again(first));
    assert_eq!(cluster.brought(second).artifact.as_ref(), Some(&image));
    // Without the image it is built once more, from what is stored of its source.
    cluster.see(32, Observation::Artifact { digest: image.digest.clone(), stored: false });
    let Made::Deployment(third) = cluster.ok(again(first)) else { panic!("no deployment") };
    cluster.act(Action::Begin { deployment: third });
    assert_eq!(cluster.brought(third).artifact, None);
    assert_eq!(cluster.state.deployments[&third].phase, Phase::Building);
}

#[test]
fn a_preview_tells_what_the_cluster_puts_in_place_of_the_file() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', spec()));
    cluster.ok(set(&["health.path=/up"], &[]));
    let source = Source::Bundle { bundle: Artifact::bundle("b".repeat(64), 1) };
    let seen = preview(&cluster.state, 0, "ann", "shop", "production", &source, &spec()).unwrap();
    let told: Vec<_> = seen.instead.into_iter().map(|i| (i.setting, i.value, i.file)).collect();
    assert_eq!(told, [(Setting::HealthPath, "/up".to_owned(), Some("/".to_owned()))]);
}

/// What is written to the log and into snapshots is read back as it was.
#[test]
fn settings_survive_being_written() {
    let mut cluster = Cluster::new();
    let command = set(
        &["health.path=/up", "health.host=a.example", "deploy.strategy=recreate", "rollback.warm=true"],
        &["rollback.keep"],
    );
    let bytes = rmp_serde::to_vec_named(&command).unwrap();
    assert_eq!(rmp_serde::from_slice::<Command>(&bytes).unwrap(), command);
    cluster.ok(command);
    cluster.succeed(deploy('a', canary()));
    let bytes = rmp_serde::to_vec_named(&cluster.state).unwrap();
    assert_eq!(rmp_serde::from_slice::<ClusterState>(&bytes).unwrap(), cluster.state);
}

/// A release of a version that knew no settings is read as one whose file said everything.
#[test]
fn an_old_release_covers_nothing() {
    #[derive(serde::Serialize)]
    struct Old<'a> {
        id: ReleaseId,
        environment: EnvironmentId,
        source: &'a Source,
        artifact: &'a Option<Artifact>,
        spec: &'a Spec,
        variables: &'a Variables,
        created_at: u64,
    }
    let mut cluster = Cluster::new();
    let first = cluster.succeed(deploy('a', with_path("/file")));
    let release = cluster.brought(first);
    let Release { id, environment, source, artifact, spec, variables, created_at, .. } = release;
    let (id, environment, created_at) = (*id, *environment, *created_at);
    let old = Old { id, environment, source, artifact, spec, variables, created_at };
    let read: Release = rmp_serde::from_slice(&rmp_serde::to_vec_named(&old).unwrap()).unwrap();
    assert_eq!((read.given(), &read), (with_path("/file"), release));
}
