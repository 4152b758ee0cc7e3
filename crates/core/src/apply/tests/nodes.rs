//! Nodes that are emptied and removed.

use super::{Cluster, deploy, node, spec};
use crate::command::{Action, Command, Observation, Outcome};
use crate::model::{
    EnvironmentId, Exit, InstanceId, NodeFacts, NodeId, NodeStatus, Order, ReleaseId, RuntimeKind, Seen,
    Spec, Want,
};

impl Cluster {
    /// Three nodes; the first has the bundle.
    fn of_three() -> Self {
        let mut cluster = Self::new();
        cluster.ok(Command::CreateJoinToken { hash: "j".to_owned(), ttl: 60_000, uses: 2 });
        cluster.ok(Command::AddNode(node("n2", Some("j"))));
        cluster.ok(Command::AddNode(node("n3", Some("j"))));
        cluster
    }

    /// The first release has volumes.
    fn with_data(&mut self) {
        let release = self.state.releases.get_mut(&ReleaseId(1)).unwrap();
        release.spec.volumes.insert("data".to_owned(), "/data".to_owned());
    }

    fn told(&mut self, node: u64, observation: Observation) {
        let (node, seq) = (NodeId(node), self.state.index + 10);
        self.ok(Command::Report { node, boot: 1, seq, observations: vec![observation] });
    }

    /// An instance of the first release that serves there.
    fn runs_on(&mut self, node: u64) -> InstanceId {
        self.act(Action::Start {
            environment: EnvironmentId(1),
            deployment: None,
            release: ReleaseId(1),
            process: "web".to_owned(),
            slot: 0,
            node: NodeId(node),
            why: None,
        });
        let instance = InstanceId(self.state.last.instance);
        self.sees(node, instance, Seen::Ready);
        instance
    }

    fn sees(&mut self, node: u64, instance: InstanceId, seen: Seen) {
        let exit = (seen >= Seen::Exited).then(|| Exit { asked: true, ..Exit::default() });
        let (endpoint, last_check, log_tail) = (None, None, Vec::new());
        self.told(
            node,
            Observation::Instance { instance, seen, endpoint, attempts: 1, last_check, log_tail, exit },
        );
    }

    fn drain_of(&self, node: u64) -> Command {
        Command::DrainNode { node: NodeId(node) }
    }

    fn lose(&mut self, node: u64) {
        self.ok(Command::Liveness { lost: vec![NodeId(node)], back: vec![] });
    }
}

fn remove(node: u64) -> Command {
    Command::RemoveNode { node: NodeId(node), force: false }
}

fn remove_by_force(node: u64) -> Command {
    Command::RemoveNode { node: NodeId(node), force: true }
}

#[test]
fn cordoning_is_told_once_and_taken_back() {
    let mut cluster = Cluster::of_three();
    let node = NodeId(2);
    cluster.ok(Command::CordonNode { node });
    assert!(matches!(cluster.write(Command::CordonNode { node }).outcome, Outcome::NoChange(_)));
    cluster.ok(cluster.drain_of(2));
    assert!(matches!(cluster.write(cluster.drain_of(2)).outcome, Outcome::NoChange(_)));
    cluster.ok(Command::UncordonNode { node });
    assert!(matches!(cluster.write(Command::UncordonNode { node }).outcome, Outcome::NoChange(_)));
    let lines: Vec<_> = cluster.state.events.values().map(|e| e.what.line()).collect();
    assert_eq!(
        lines[3..],
        [
            "Node n2 cordoned by ann",
            "Node n2 draining, asked by ann: what runs there moves",
            "Node n2 drained, nothing is left there",
            "Node n2 uncordoned by ann",
        ]
    );
    let known = &cluster.state.nodes[&node];
    assert_eq!((known.cordoned, known.draining, known.drained), (false, false, false));
    assert_eq!(cluster.refused(Command::CordonNode { node: NodeId(9) }), "there is no node n9");
}

#[test]
fn what_can_run_nowhere_else_is_named_with_what_to_do() {
    let refusal = |change: &dyn Fn(&mut Spec), before: &dyn Fn(&mut Cluster)| {
        let mut cluster = Cluster::of_three();
        cluster.succeed(deploy('a', spec()));
        cluster.runs_on(1);
        before(&mut cluster);
        change(&mut cluster.state.releases.get_mut(&ReleaseId(1)).unwrap().spec);
        cluster.refused(cluster.drain_of(1))
    };
    let ssd = |c: &mut Cluster| {
        let labels = [("disk".to_owned(), "ssd".to_owned())].into();
        c.told(1, Observation::Facts(NodeFacts { labels, ..NodeFacts::default() }));
    };
    let why = refusal(&|s| s.placement.require = [("disk".to_owned(), "ssd".to_owned())].into(), &ssd);
    assert_eq!(
        why,
        "node n1 cannot be drained, and nothing was changed: shop (production) cannot leave it: no other node \
         has the labels disk=ssd (give these labels to another node, or deploy it with another placement.require)"
    );
    let containers = |c: &mut Cluster| {
        for node in [2, 3] {
            let runtime = Some(RuntimeKind::Docker);
            c.told(node, Observation::Facts(NodeFacts { runtime, ..NodeFacts::default() }));
        }
    };
    let why = refusal(&|_| {}, &containers);
    assert!(why.contains("no other node runs local processes (let a machine join that does)"), "{why}");
    let away = |c: &mut Cluster| {
        c.lose(2);
        c.ok(Command::CordonNode { node: NodeId(3) });
    };
    let why = refusal(&|_| {}, &away);
    assert!(why.contains("no other node takes it now: n2 is lost, n3 is cordoned ("), "{why}");

    let mut with_data = Cluster::of_three();
    with_data.succeed(deploy('a', spec()));
    with_data.with_data();
    with_data.runs_on(1);
    let why = with_data.refused(with_data.drain_of(1));
    assert!(why.contains("its volumes are on n1 (save its data"), "{why}");

    let mut alone = Cluster::new();
    alone.succeed(deploy('a', spec()));
    alone.runs_on(1);
    let why = alone.refused(alone.drain_of(1));
    assert!(why.contains("there is no other node (let another machine join first"), "{why}");
}

#[test]
fn a_deployment_that_every_node_refuses_is_refused() {
    let mut cluster = Cluster::of_three();
    for node in 1..=3 {
        cluster.ok(Command::CordonNode { node: NodeId(node) });
    }
    let why = cluster.refused(deploy('a', spec()));
    assert_eq!(
        why,
        "every node that could run it is cordoned (n1, n2, n3); take one back with `temps nodes uncordon`"
    );
}

#[test]
fn only_an_empty_or_a_lost_node_is_removed() {
    let mut cluster = Cluster::of_three();
    cluster.succeed(deploy('a', spec()));
    cluster.told(1, Observation::Artifact { digest: "a".repeat(64), stored: true });
    let instance = cluster.runs_on(2);
    assert_eq!(cluster.refused(remove(9)), "there is no node n9");
    assert_eq!(
        cluster.refused(remove_by_force(2)),
        "n2 has 1 instance; drain it first: `temps nodes drain n2`"
    );
    assert_eq!(cluster.refused(remove(3)), "n3 takes instances; drain it first: `temps nodes drain n3`");
    cluster.ok(cluster.drain_of(2));
    cluster.sees(2, instance, Seen::Gone);
    assert!(cluster.state.nodes[&NodeId(2)].drained);
    cluster.ok(remove(2));
    assert!(!cluster.state.nodes.contains_key(&NodeId(2)));
    assert_eq!(cluster.state.node_name(NodeId(2)), "n2", "what happened goes on calling it so");
    let last = cluster.state.events.values().next_back().unwrap();
    assert_eq!(last.what.line(), "Node n2 removed by ann");
    let report = Command::Report {
        node: NodeId(2),
        boot: 9,
        seq: 1,
        observations: vec![Observation::Applied { index: 1 }],
    };
    assert_eq!(cluster.refused(report), "there is no node n2");

    cluster.ok(cluster.drain_of(3));
    cluster.ok(remove(3));
    cluster.ok(cluster.drain_of(1));
    assert_eq!(cluster.refused(remove_by_force(1)), "n1 is the only node, and a cluster needs one");
}

#[test]
fn what_ran_on_a_lost_node_that_is_removed_is_over() {
    let mut cluster = Cluster::of_three();
    cluster.succeed(deploy('a', spec()));
    let instance = cluster.runs_on(2);
    cluster.lose(2);
    cluster.ok(remove(2));
    assert_eq!(cluster.state.instances[&instance].want, Want::Gone);
    assert_eq!(crate::invariants::check(&cluster.state), Ok(()));
}

#[test]
fn a_cluster_keeps_its_majority() {
    let mut cluster = Cluster::of_three();
    cluster.lose(3);
    cluster.ok(cluster.drain_of(2));
    assert_eq!(
        cluster.refused(remove_by_force(2)),
        "without n2 the cluster would have no majority, as n3 is lost; bring it back or remove it first"
    );
    cluster.ok(remove(3));
    cluster.ok(remove(2));
}

#[test]
fn data_is_lost_only_by_force() {
    let mut cluster = Cluster::of_three();
    cluster.succeed(deploy('a', spec()));
    cluster.with_data();
    cluster.runs_on(1);
    cluster.told(2, Observation::Artifact { digest: "a".repeat(64), stored: true });
    cluster.lose(1);
    assert_eq!(
        cluster.refused(remove(1)),
        "the volumes of shop (production) are on n1, and the cluster loses them with it; save them, then use --force"
    );
    cluster.ok(remove_by_force(1));
    assert_eq!(cluster.state.environments[&EnvironmentId(1)].home, None);
    assert_eq!(crate::invariants::check(&cluster.state), Ok(()));

    let mut cluster = Cluster::of_three();
    cluster.succeed(deploy('a', spec()));
    cluster.ok(cluster.drain_of(1));
    let what = "only n1 stores what release r1 of shop (production) runs";
    let why = cluster.refused(remove(1));
    assert_eq!(why, format!("{what}; another node is copying it, try again in a moment"));
    assert!(!cluster.state.nodes[&NodeId(1)].drained, "nor is it told to be empty before");
    let todo = crate::assignment::assignment(&cluster.state, NodeId(1));
    assert!(todo.artifacts.contains_key(&"a".repeat(64)), "it is kept until others have it");
    for node in [2, 3] {
        let todo = crate::assignment::assignment(&cluster.state, NodeId(node));
        assert!(todo.artifacts.contains_key(&"a".repeat(64)), "n{node} copies it");
    }
    cluster.lose(1);
    let why = cluster.refused(remove(1));
    assert_eq!(why, format!("{what}; bring it back, or use --force, after which it must be deployed anew"));
}

#[test]
fn an_exclusive_process_of_a_lost_node_has_its_time_to_end() {
    let mut cluster = Cluster::of_three();
    let mut exclusive = spec();
    if let Some(process) = exclusive.processes.get_mut("web") {
        process.order = Order::StopFirst;
        (process.exclusive, process.instances) = (true, 1);
    }
    cluster.succeed(deploy('a', exclusive));
    cluster.told(1, Observation::Artifact { digest: "a".repeat(64), stored: true });
    cluster.runs_on(2);
    cluster.lose(2);
    assert_eq!(
        cluster.refused(remove_by_force(2)),
        "process \"web\" of shop (production) is exclusive and may still run on n2; try again in 15s"
    );
    cluster.clock += 15_000;
    assert_eq!(cluster.state.nodes[&NodeId(2)].status, NodeStatus::Lost);
    cluster.ok(remove(2));
}
