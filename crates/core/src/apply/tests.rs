use std::collections::BTreeMap;

use super::{KEYS_KEPT, apply};
use crate::command::{
    Action, Command, ENTRY_VERSION, Entry, Made, NewNode, Observation, Outcome, Receipt, Rejection,
};
use crate::model::{
    Artifact, ClusterState, DeploymentId, Exit, Health, InstanceId, Maintenance, NodeId, Opaque, Phase,
    ProcessSpec, Seen, Source, Spec, Variables,
};

mod access;
mod audit;
mod containers;
mod domains;
mod nodes;
mod notify;
mod settings;

struct Cluster {
    state: ClusterState,
    clock: u64,
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self { state: ClusterState::default(), clock: 1_000 };
        cluster.ok(Command::Found { domain: "localhost".to_owned(), token_hash: "aa".to_owned() });
        cluster.ok(Command::AddNode(node("n1", None)));
        cluster.see(1, Observation::Artifact { digest: "a".repeat(64), stored: true });
        cluster.see(2, Observation::Artifact { digest: "b".repeat(64), stored: true });
        cluster
    }

    fn write_as(&mut self, key: Option<&str>, command: Command) -> Receipt {
        let entry = Entry {
            version: ENTRY_VERSION,
            clock: self.clock,
            wall: self.clock,
            key: key.map(str::to_owned),
            by: "ann".to_owned(),
            command,
        };
        let index = self.state.index + 1;
        apply(&mut self.state, index, &entry)
    }

    fn write(&mut self, command: Command) -> Receipt {
        self.write_as(None, command)
    }

    fn ok(&mut self, command: Command) -> Made {
        self.write(command).made().unwrap()
    }

    fn refused(&mut self, command: Command) -> String {
        self.write(command).made().unwrap_err().to_string()
    }

    fn see(&mut self, seq: u64, observation: Observation) -> Receipt {
        self.write(Command::Report { node: NodeId(1), boot: 1, seq, observations: vec![observation] })
    }

    fn act(&mut self, action: Action) {
        self.ok(Command::Plan { seen: self.state.revision, actions: vec![action] });
    }

    /// A deployment that ran through at once.
    fn succeed(&mut self, command: Command) -> DeploymentId {
        let Made::Deployment(deployment) = self.ok(command) else { panic!("no deployment") };
        self.act(Action::Begin { deployment });
        self.act(Action::End { deployment, phase: Phase::Succeeded });
        deployment
    }
}

fn node(name: &str, token: Option<&str>) -> NewNode {
    NewNode {
        name: name.to_owned(),
        control: "127.0.0.1:7400".to_owned(),
        edge_peer: "127.0.0.1:7401".to_owned(),
        edge_http: "127.0.0.1:80".to_owned(),
        version: "0.1.0".to_owned(),
        fingerprint: format!("f-{name}"),
        token_hash: token.map(str::to_owned),
    }
}

fn spec() -> Spec {
    let mut spec = Spec::default();
    let web = ProcessSpec { command: "./web".to_owned(), http: true, instances: 3, ..ProcessSpec::default() };
    spec.processes.insert("web".to_owned(), web);
    spec
}

fn deploy(digest: char, spec: Spec) -> Command {
    Command::Deploy {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        source: Source::Bundle { bundle: Artifact::bundle(digest.to_string().repeat(64), 1_200_000) },
        spec,
        supersede: false,
    }
}

fn rollback(to: Option<u64>) -> Command {
    Command::Rollback {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        to: to.map(DeploymentId),
    }
}

#[test]
fn one_key_takes_effect_once_and_gets_one_answer() {
    let mut cluster = Cluster::new();
    let first = cluster.write_as(Some("k1"), deploy('a', spec()));
    let again = cluster.write_as(Some("k1"), deploy('b', spec()));
    assert_eq!(first, again);
    assert_eq!(cluster.state.deployments.len(), 1);
    for n in 0..=KEYS_KEPT {
        cluster.write_as(Some(&format!("x{n}")), Command::CreateProject { name: "shop".to_owned() });
    }
    assert_eq!(cluster.state.answered.len(), KEYS_KEPT, "answers are bounded");
}

#[test]
fn the_same_content_and_settings_are_no_change() {
    let mut cluster = Cluster::new();
    let first = cluster.succeed(deploy('a', spec()));
    let again = cluster.write(deploy('a', spec()));
    assert_eq!(again.outcome, Outcome::NoChange(Made::Deployment(first)));
    let set = Variables::from([("COLOUR".to_owned(), Opaque("blue".to_owned()))]);
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    cluster.ok(Command::SetVariables { project, environment, set, remove: vec![] });
    assert!(
        matches!(cluster.write(deploy('a', spec())).outcome, Outcome::Done(_)),
        "variables are content too"
    );
}

#[test]
fn a_rollback_picks_the_last_other_release_that_succeeded() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.refused(rollback(None)), r#"there is no project "shop""#);
    let one = cluster.succeed(deploy('a', spec()));
    assert!(cluster.refused(rollback(None)).ends_with("deployments it can go back to: there is none"));
    let two = cluster.succeed(deploy('b', spec()));
    let Made::Deployment(failed) = cluster.ok(deploy('c', spec())) else { panic!() };
    cluster.act(Action::Begin { deployment: failed });
    cluster.act(Action::End { deployment: failed, phase: Phase::RolledBack });

    let why = cluster.refused(rollback(Some(failed.0)));
    assert_eq!(
        why,
        format!("shop production cannot go back to {failed}; deployments it can go back to: {one}")
    );
    let back = cluster.succeed(rollback(None));
    let release_of = |id: DeploymentId| cluster.state.deployments[&id].to;
    assert_eq!(release_of(back), release_of(one));
    assert_eq!(cluster.write(rollback(Some(back.0))).outcome, Outcome::NoChange(Made::Deployment(back)));
    let forward = cluster.succeed(rollback(Some(two.0)));
    assert_eq!(cluster.state.deployments[&forward].to, cluster.state.deployments[&two].to);
}

#[test]
fn a_rollback_takes_back_what_has_not_ended_and_asked_for_twice_is_one() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', spec()));
    let current = cluster.succeed(deploy('b', spec()));
    let release_of = |cluster: &Cluster, made| {
        let Made::Deployment(id) = made else { panic!("{made:?}") };
        cluster.state.deployments[&id].to
    };
    for begun in [false, true] {
        let Made::Deployment(unwanted) = cluster.ok(deploy('c', spec())) else { panic!() };
        if begun {
            cluster.act(Action::Begin { deployment: unwanted });
        }
        let back = cluster.ok(rollback(None));
        assert_eq!(
            release_of(&cluster, back),
            release_of(&cluster, Made::Deployment(current)),
            "begun: {begun}"
        );
        assert_eq!(cluster.ok(rollback(None)), back);
        assert_eq!(cluster.ok(rollback(Some(current.0))), back);
    }
    assert_eq!(cluster.state.deployments.len(), 6);
}

#[test]
fn a_rollback_to_what_no_node_stores_is_refused() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', spec()));
    cluster.succeed(deploy('b', spec()));
    cluster.see(3, Observation::Artifact { digest: "a".repeat(64), stored: false });
    assert!(cluster.refused(rollback(Some(1))).contains("there is none"));
}

#[test]
fn a_newer_deployment_supersedes_a_waiting_one_and_waits_for_a_running_one() {
    let mut cluster = Cluster::new();
    let Made::Deployment(running) = cluster.ok(deploy('a', spec())) else { panic!() };
    cluster.act(Action::Begin { deployment: running });
    let Made::Deployment(waiting) = cluster.ok(deploy('b', spec())) else { panic!() };
    cluster.act(Action::Begin { deployment: waiting });
    assert_eq!(cluster.state.deployments[&waiting].phase, Phase::Queued, "one at a time");
    cluster.ok(deploy('c', spec()));
    let phases: Vec<_> = cluster.state.deployments.values().map(|d| d.phase).collect();
    assert_eq!(phases, [Phase::Stepping, Phase::Superseded, Phase::Queued]);
}

#[test]
fn cancelling_says_what_it_can_do() {
    let mut cluster = Cluster::new();
    let done = cluster.succeed(deploy('a', spec()));
    let why = cluster.refused(Command::Cancel { deployment: done });
    assert!(why.contains("has ended (succeeded)") && why.contains("rollback"), "{why}");
    let Made::Deployment(running) = cluster.ok(deploy('b', spec())) else { panic!() };
    cluster.act(Action::Begin { deployment: running });
    cluster.ok(Command::Cancel { deployment: running });
    assert_eq!(cluster.state.deployments[&running].cancel.as_deref(), Some("ann"));
    assert_eq!(
        cluster.refused(Command::Cancel { deployment: DeploymentId(99) }),
        "there is no deployment #99"
    );
}

#[test]
fn a_plan_on_an_old_state_is_stale_and_does_nothing() {
    let mut cluster = Cluster::new();
    let seen = cluster.state.revision;
    let Made::Deployment(deployment) = cluster.ok(deploy('a', spec())) else { panic!() };
    let stale = cluster.write(Command::Plan { seen, actions: vec![Action::Begin { deployment }] });
    assert!(matches!(stale.made(), Err(Rejection::Stale { .. })));
    assert_eq!(cluster.state.deployments[&deployment].phase, Phase::Queued);
}

#[test]
fn old_and_doubled_reports_change_nothing() {
    let mut cluster = Cluster::new();
    let Made::Deployment(deployment) = cluster.ok(deploy('a', spec())) else { panic!() };
    cluster.act(Action::Begin { deployment });
    let release = cluster.state.deployments[&deployment].to;
    let environment = cluster.state.deployments[&deployment].environment;
    let (process, node) = ("web".to_owned(), NodeId(1));
    cluster.act(Action::Start {
        environment,
        deployment: Some(deployment),
        release,
        process,
        slot: 0,
        node,
        why: None,
    });
    let sight = |seen, exit: Option<Exit>| Observation::Instance {
        instance: InstanceId(1),
        seen,
        endpoint: None,
        attempts: 1,
        last_check: None,
        log_tail: Vec::new(),
        exit,
    };
    cluster.see(10, sight(Seen::Ready, None));
    cluster.see(9, sight(Seen::Starting, None));
    assert_eq!(cluster.state.instances[&InstanceId(1)].seen, Seen::Ready, "an older report");
    let crash = Exit { code: Some(1), ..Exit::default() };
    cluster.see(11, sight(Seen::Exited, Some(crash.clone())));
    cluster.see(12, sight(Seen::Exited, Some(crash)));
    cluster.see(13, sight(Seen::Ready, None));
    assert_eq!(cluster.state.instances[&InstanceId(1)].seen, Seen::Exited, "the dead stay dead");
    assert_eq!(cluster.state.deployments[&deployment].crashes, 1, "counted once");
    let from_stranger =
        Command::Report { node: NodeId(7), boot: 1, seq: 1, observations: vec![sight(Seen::Gone, None)] };
    assert_eq!(cluster.refused(from_stranger), "there is no node n7");
}

#[test]
fn join_tokens_expire_and_are_used_up() {
    let mut cluster = Cluster::new();
    let join = |name, token| Command::AddNode(node(name, token));
    assert!(cluster.refused(join("n2", None)).starts_with("a join token is needed"));
    assert!(cluster.refused(join("n2", Some("zz"))).starts_with("the join token is unknown"));
    cluster.ok(Command::CreateJoinToken { hash: "j".to_owned(), ttl: 1_000, uses: 1 });
    assert_eq!(cluster.ok(join("n2", Some("j"))), Made::Node(NodeId(2)));
    assert_eq!(cluster.ok(join("n2", Some("j"))), Made::Node(NodeId(2)), "the same machine asks again");
    assert!(cluster.refused(join("n3", Some("j"))).starts_with("the join token was used already"));
    cluster.ok(Command::CreateJoinToken { hash: "k".to_owned(), ttl: 1_000, uses: 1 });
    cluster.clock += 1_000;
    assert!(cluster.refused(join("n3", Some("k"))).starts_with("the join token has expired"));
}

#[test]
fn two_environments_cannot_claim_one_domain() {
    let mut cluster = Cluster::new();
    let mut with_domain = spec();
    with_domain.routes.domains = vec!["shop.test".to_owned()];
    cluster.ok(deploy('a', with_domain.clone()));
    let Command::Deploy { source, .. } = deploy('b', spec()) else { panic!() };
    let other = Command::Deploy {
        project: "blog".to_owned(),
        environment: "production".to_owned(),
        source,
        spec: with_domain,
        supersede: false,
    };
    let why = cluster.refused(other);
    assert!(why.starts_with(r#"the domain "shop.test" belongs to project "shop""#), "{why}");
    assert!(cluster.state.project("blog").is_none(), "a refusal changes nothing");
}

#[test]
fn bad_settings_are_refused_with_a_reason() {
    type Spoil = fn(&mut Spec);
    let cases: [(&str, Spoil); 9] = [
        ("a release needs at least one process", |s| s.processes.clear()),
        ("must have 1 to 1000 instances, not 0", |s| web(s).instances = 0),
        ("needs a command", |s| " ".clone_into(&mut web(s).command)),
        ("only one process", |s| {
            let copy = web(s).clone();
            s.processes.insert("api".to_owned(), copy);
        }),
        ("cannot both be 0", |s| s.deploy.max_surge = 0),
        ("no release could succeed", |s| s.health.start_period = 3_600_000),
        ("health.path must start with /", |s| s.health.path = "up".to_owned()),
        (r#"must be written "a.test""#, |s| s.routes.domains = vec!["A.test.".to_owned()]),
        ("NUL byte", |s| {
            s.variables.insert("A".to_owned(), Opaque("\0".to_owned()));
        }),
    ];
    for (expected, spoil) in cases {
        let mut cluster = Cluster::new();
        let mut spoilt = spec();
        spoil(&mut spoilt);
        let why = cluster.refused(deploy('a', spoilt));
        assert!(why.contains(expected), "{why:?} should say {expected:?}");
        assert!(cluster.state.projects.is_empty());
    }
}

fn web(spec: &mut Spec) -> &mut ProcessSpec {
    spec.processes.get_mut("web").unwrap()
}

#[test]
fn scaling_needs_a_known_process() {
    let mut cluster = Cluster::new();
    let scale = |process: &str, n| Command::Scale {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        instances: BTreeMap::from([(process.to_owned(), n)]),
    };
    cluster.succeed(deploy('a', spec()));
    assert_eq!(cluster.refused(scale("api", 2)), r#"there is no process "api"; there are: web"#);
    cluster.ok(scale("web", 5));
    let environment = cluster.state.environment("shop", "production").unwrap();
    assert_eq!(cluster.state.wanted(environment, &spec(), "web"), 5);
    assert!(matches!(cluster.write(scale("web", 5)).outcome, Outcome::NoChange(_)));
}

#[test]
fn an_environment_in_maintenance_says_so_to_its_edges_and_in_its_events() {
    let mut cluster = Cluster::new();
    let set = |message: Option<&str>, retry_after| Command::SetMaintenance {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        on: Some(Maintenance { message: message.map(str::to_owned), retry_after }),
    };
    let end = || Command::SetMaintenance {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        on: None,
    };
    assert_eq!(cluster.refused(set(None, 60)), r#"there is no project "shop""#);
    cluster.succeed(deploy('a', spec()));
    let long = "x".repeat(501);
    for message in ["", " ", "a\nb", "\u{7f}", long.as_str()] {
        assert!(cluster.refused(set(Some(message), 60)).starts_with("the message must be 1 to 500"));
    }
    for seconds in [0, 86_401] {
        assert!(cluster.refused(set(None, seconds)).contains("after 1 to 86400 seconds"));
    }
    let on = |cluster: &Cluster| {
        crate::routes::routes(&cluster.state, NodeId(1)).routes.iter().any(|r| r.maintenance.is_some())
    };
    assert!(!on(&cluster));

    let revision = cluster.state.revision;
    let message = "\u{e4}".repeat(500);
    cluster.ok(set(Some(&message), 60));
    assert!(on(&cluster));
    assert_eq!(cluster.state.revision, revision + 1);
    assert!(matches!(cluster.write(set(Some(&message), 60)).outcome, Outcome::NoChange(_)));
    cluster.ok(end());
    assert!(!on(&cluster));
    assert!(matches!(cluster.write(end()).outcome, Outcome::NoChange(_)));
    let lines: Vec<_> = cluster.state.events.values().rev().take(2).map(|e| e.what.line()).collect();
    assert_eq!(lines, ["Maintenance ended by ann", "Maintenance begun by ann: requests are answered 503"]);
}

#[test]
fn the_clock_never_goes_back_and_newer_entries_are_refused() {
    let mut cluster = Cluster::new();
    cluster.clock = 500;
    cluster.ok(Command::CreateProject { name: "late".to_owned() });
    assert_eq!(cluster.state.clock, 1_000);
    let entry = Entry {
        version: ENTRY_VERSION + 1,
        clock: 2_000,
        wall: 0,
        key: None,
        by: String::new(),
        command: Command::CreateProject { name: "x".to_owned() },
    };
    let receipt = apply(&mut cluster.state, 99, &entry);
    assert!(matches!(receipt.outcome, Outcome::Rejected(Rejection::Invalid { .. })));
    assert!(cluster.state.project("x").is_none());
}

#[test]
fn variables_never_print() {
    let mut spoken = spec();
    spoken.variables.insert("KEY".to_owned(), Opaque("CANARY-7f3a91".to_owned()));
    spoken.health = Health::default();
    let mut cluster = Cluster::new();
    let command = deploy('a', spoken);
    assert!(!format!("{command:?}").contains("CANARY"));
    cluster.ok(command);
    assert!(!format!("{:#?}", cluster.state).contains("CANARY"));
}
