use crate::apply::apply;
use crate::assignment::assignment;
use crate::command::{Action, Command, ENTRY_VERSION, Entry, Made, NewNode, Observation, Rejection};
use crate::model::{
    Artifact, ClusterState, Endpoint, InstanceId, NodeId, Phase, ProcessSpec, Seen, Source, Spec, Want,
};
use crate::plan::plan;
use crate::routes::routes;

mod drains;
mod prepare;
mod reasons;
mod schema;
mod strategies;
mod traffic;
mod workers;

/// Three nodes whose agents do at once what they are told, one observation at a time.
pub(crate) struct Cluster {
    state: ClusterState,
    now: u64,
    seq: u64,
}

impl Cluster {
    pub(crate) fn into_state(self) -> ClusterState {
        self.state
    }

    fn new() -> Self {
        let mut cluster = Self { state: ClusterState::default(), now: 1_000, seq: 0 };
        cluster.write(Command::Found { domain: "localhost".to_owned(), token_hash: "aa".to_owned() });
        cluster.write(Command::CreateJoinToken { hash: "j".to_owned(), ttl: 9_000, uses: 2 });
        for n in 1..=3 {
            cluster.write(Command::AddNode(NewNode {
                name: format!("n{n}"),
                control: String::new(),
                edge_peer: format!("10.0.0.{n}:7401"),
                edge_http: String::new(),
                version: String::new(),
                fingerprint: format!("f{n}"),
                token_hash: (n > 1).then(|| "j".to_owned()),
            }));
        }
        cluster
    }

    fn write(&mut self, command: Command) {
        self.answer(command).unwrap();
    }

    fn answer(&mut self, command: Command) -> Result<Made, Rejection> {
        let (clock, wall) = (self.now, self.now);
        let entry = Entry { version: ENTRY_VERSION, clock, wall, key: None, by: "ann".to_owned(), command };
        let index = self.state.index + 1;
        apply(&mut self.state, index, &entry).made()
    }

    fn deploy(&mut self, digest: char) {
        self.deploy_as(bundle(digest), web(3));
    }

    fn deploy_as(&mut self, source: Source, spec: Spec) {
        let (project, environment) = ("shop".to_owned(), "production".to_owned());
        self.write(Command::Deploy { project, environment, source, spec, supersede: false });
    }

    /// Writes plans until nothing more follows; returns what was planned, in words.
    fn plan(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let actions = plan(&self.state, self.now).actions;
            if actions.is_empty() {
                return said;
            }
            said.extend(actions.iter().filter_map(word));
            self.write(Command::Plan { seen: self.state.revision, actions });
        }
    }

    fn see(&mut self, node: NodeId, observation: Observation) {
        self.seq += 1;
        self.write(Command::Report { node, boot: 1, seq: self.seq, observations: vec![observation] });
    }

    fn ready(&mut self, id: u64) {
        self.sight(id, Seen::Ready);
    }

    fn sight(&mut self, id: u64, seen: Seen) {
        let instance = InstanceId(id);
        let node = self.state.instances[&instance].node;
        let endpoint = Some(Endpoint { address: format!("127.0.0.1:{id}"), incarnation: "1".to_owned() });
        let sight = Observation::Instance {
            instance,
            seen,
            endpoint,
            attempts: 2,
            last_check: Some("answered 503".to_owned()),
            log_tail: if seen == Seen::Unready { vec!["no database".to_owned()] } else { Vec::new() },
            exit: None,
        };
        self.see(node, sight);
    }

    /// Every edge serves the newest table.
    fn serve(&mut self) {
        for node in 1..=3 {
            if assignment(&self.state, NodeId(node)).awaited.is_some() {
                self.see(NodeId(node), Observation::Applied { index: self.state.index });
            }
        }
    }

    fn serving(&self) -> Vec<u64> {
        self.state.instances.values().filter(|i| i.serves()).map(|i| i.id.0).collect()
    }
}

fn web(instances: u32) -> Spec {
    let web = ProcessSpec { command: "./web".to_owned(), http: true, instances, ..ProcessSpec::default() };
    Spec { processes: [("web".to_owned(), web)].into(), ..Spec::default() }
}

fn bundle(digest: char) -> Source {
    Source::Bundle { bundle: Artifact::bundle(digest.to_string().repeat(64), 1) }
}

fn word(action: &Action) -> Option<String> {
    match action {
        Action::Start { slot, node, .. } => Some(format!("start {slot} on {node}")),
        Action::Admit { instance } => Some(format!("admit {instance}")),
        Action::Drain { instance, .. } => Some(format!("drain {instance}")),
        Action::Stop { instance, .. } => Some(format!("stop {instance}")),
        Action::Revert { .. } => Some("revert".to_owned()),
        Action::Fail { .. } => Some("fail".to_owned()),
        Action::End { phase, .. } => Some(phase.word().to_owned()),
        Action::Build { node, .. } => Some(format!("build on {node}")),
        Action::RunReleaseCommand { node, .. } => Some(format!("release command on {node}")),
        Action::Proceed { .. } => Some("proceed".to_owned()),
        Action::Begin { .. } | Action::Advance { .. } | Action::Hold { .. } | Action::Watch { .. } => None,
    }
}

pub(crate) fn first_release() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.deploy('a');
    assert_eq!(cluster.plan(), ["start 0 on n1", "start 1 on n2", "start 2 on n3"]);
    for id in 1..=3 {
        cluster.ready(id);
    }
    assert_eq!(cluster.plan(), ["admit i1", "admit i2", "admit i3"]);
    cluster.serve();
    assert_eq!(cluster.plan(), [""; 0]);
    cluster.now += 120_000;
    assert_eq!(cluster.plan(), ["succeeded"]);
    cluster
}

/// The second release's first instance serves, and the one it replaces was just withdrawn.
fn first_drain() -> Cluster {
    let mut cluster = first_release();
    cluster.deploy('b');
    cluster.plan();
    cluster.ready(4);
    cluster.plan();
    cluster.serve();
    assert_eq!(cluster.plan(), ["drain i1"]);
    cluster
}

#[test]
fn one_is_replaced_after_another_as_in_the_article() {
    let mut cluster = first_release();
    cluster.deploy('b');
    for (old, new, node) in [(1, 4, 1), (2, 5, 2), (3, 6, 3)] {
        assert_eq!(cluster.plan(), [format!("start {} on n{node}", new - 4)]);
        assert_eq!(cluster.plan(), [""; 0], "nothing moves before it is healthy");
        cluster.ready(new);
        assert_eq!(cluster.plan(), [format!("admit i{new}")]);
        assert_eq!(cluster.serving().len(), 4);
        assert_eq!(cluster.plan(), [""; 0], "the old one stays until every edge knows the new one");
        cluster.serve();
        assert_eq!(cluster.plan(), [format!("drain i{old}")]);
        cluster.see(NodeId(node), Observation::Drained { instance: InstanceId(old) });
        assert_eq!(cluster.plan(), [""; 0], "an edge may still choose it");
        cluster.serve();
        cluster.see(NodeId(node), Observation::Drained { instance: InstanceId(old) });
        assert_eq!(cluster.plan(), [format!("stop i{old}")]);
        cluster.sight(old, Seen::Gone);
    }
    cluster.plan();
    cluster.now += 120_000;
    assert_eq!(cluster.plan(), ["succeeded"]);
    assert_eq!(cluster.serving(), [4, 5, 6]);
}

#[test]
fn a_drain_ends_at_its_timeout() {
    let mut cluster = first_drain();
    for in_flight in [12, 0] {
        cluster.see(NodeId(1), Observation::Draining { instance: InstanceId(1), in_flight });
    }
    let lines: Vec<_> = cluster.state.events.values().map(|e| e.what.line()).collect();
    let told = lines.iter().filter(|l| l.contains("draining")).collect::<Vec<_>>();
    assert_eq!(told, ["Old container draining (12 active connections)"], "told once, however often reported");
    cluster.now += 5_000;
    cluster.serve();
    let wake = plan(&cluster.state, cluster.now).wake_at;
    assert_eq!(wake, Some(cluster.now + 30_000), "the default drain timeout, from when every edge knows");
    cluster.now += 29_999;
    assert_eq!(cluster.plan(), [""; 0]);
    cluster.now += 1;
    assert_eq!(cluster.plan(), ["stop i1"]);
}

#[test]
fn an_unhealthy_new_instance_takes_the_deployment_back_and_leaves_the_old_ones() {
    let mut cluster = first_release();
    cluster.deploy('b');
    cluster.plan();
    cluster.sight(4, Seen::Unready);
    assert_eq!(cluster.plan(), ["revert", "stop i4"]);
    cluster.sight(4, Seen::Gone);
    assert_eq!(cluster.plan(), ["rolled_back"]);
    assert_eq!(cluster.serving(), [1, 2, 3]);
    let cause = cluster.state.deployments.values().next_back().unwrap().cause.as_ref().unwrap();
    assert_eq!(cause.sentence(), "health check of i4 on n1 failed 3 times, last answer: answered 503");
    assert_eq!(cause.log_tail(), ["no database"]);
}

#[test]
fn a_lost_node_is_made_good_and_its_return_leaves_no_surplus() {
    let mut cluster = first_release();
    cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: vec![] });
    assert_eq!(cluster.plan(), ["start 1 on n1"]);
    cluster.ready(4);
    cluster.plan();
    for node in [1, 3] {
        cluster.see(NodeId(node), Observation::Applied { index: cluster.state.index });
    }
    assert_eq!(cluster.plan(), [""; 0]);
    cluster.write(Command::Liveness { lost: vec![], back: vec![NodeId(2)] });
    cluster.serve();
    let said = cluster.plan();
    assert!(matches!(&said[..], [one] if one.starts_with("drain")), "{said:?}");
}

#[test]
fn a_returning_node_gets_the_whole_drain_timeout() {
    let mut cluster = first_drain();
    cluster.write(Command::Liveness { lost: vec![NodeId(1)], back: vec![] });
    cluster.plan();
    cluster.now += 3_600_000;
    cluster.write(Command::Liveness { lost: vec![], back: vec![NodeId(1)] });
    assert!(
        !cluster.plan().contains(&"stop i1".to_owned()),
        "its edge has been serving with it all the time"
    );
    cluster.serve();
    cluster.now += 29_999;
    assert!(!cluster.plan().contains(&"stop i1".to_owned()));
    cluster.now += 1;
    assert!(cluster.plan().contains(&"stop i1".to_owned()));
}

#[test]
fn tables_hold_what_serves_and_keep_an_unhealthy_last_one() {
    let mut cluster = first_release();
    let choices = |cluster: &Cluster| {
        let table = routes(&cluster.state, NodeId(1));
        table.routes[0].choices.iter().map(|c| (c.node.0, c.weight)).collect::<Vec<_>>()
    };
    assert_eq!(routes(&cluster.state, NodeId(1)).routes[0].hosts, ["shop.localhost"]);
    assert_eq!(choices(&cluster), [(1, 1), (2, 1), (3, 1)]);
    cluster.sight(2, Seen::Unready);
    assert_eq!(choices(&cluster), [(1, 1), (3, 1)]);
    cluster.sight(1, Seen::Unready);
    cluster.sight(3, Seen::Unready);
    assert_eq!(choices(&cluster), [(1, 1), (2, 1), (3, 1)], "unhealthy is better than none");
    let local = &routes(&cluster.state, NodeId(1)).routes[0].local;
    assert_eq!(local.iter().map(|t| t.draining).collect::<Vec<_>>(), [false]);
}

#[test]
fn a_withdrawn_instance_still_serves_what_is_forwarded() {
    let mut cluster = first_drain();
    assert_eq!(cluster.state.instances[&InstanceId(1)].want, Want::Drain);
    let table = routes(&cluster.state, NodeId(1));
    assert!(table.routes[0].choices.iter().all(|c| c.node != NodeId(1) || c.release.0 == 2));
    let draining: Vec<_> = table.routes[0].local.iter().map(|t| (t.instance.0, t.draining)).collect();
    assert_eq!(draining, [(1, true), (4, false)]);
    cluster.serve();
    let table = routes(&cluster.state, NodeId(1));
    let left: Vec<_> = table.routes[0].local.iter().map(|t| t.instance.0).collect();
    assert_eq!(left, [4], "once every live edge knows, whoever still asks for it is to choose again");
    assert_eq!(cluster.state.deployments.values().next_back().unwrap().phase, Phase::Stepping);
}
