//! Processes that are replaced in their place, and where things run.

use super::{Cluster, bundle, web};
use crate::command::{Command, Observation};
use crate::model::{Exit, InstanceId, NodeFacts, NodeId, Order, Placement, Seen, Spec};

fn worker(exclusive: bool) -> Spec {
    let mut spec = web(1);
    let mut worker = spec.processes.remove("web").unwrap();
    worker.http = false;
    worker.order = Order::StopFirst;
    worker.exclusive = exclusive;
    worker.drain_timeout = Some(300_000);
    spec.processes.insert("worker".to_owned(), worker);
    spec
}

impl Cluster {
    pub(super) fn gone(&mut self, id: u64) {
        let instance = InstanceId(id);
        let node = self.state.instances[&instance].node;
        self.see(
            node,
            Observation::Instance {
                instance,
                seen: Seen::Gone,
                endpoint: None,
                attempts: 0,
                last_check: None,
                log_tail: Vec::new(),
                exit: Some(Exit { asked: true, code: Some(0), ..Exit::default() }),
            },
        );
    }

    fn labelled(&mut self, node: u64, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self.see(NodeId(node), Observation::Facts(NodeFacts { labels, ..NodeFacts::default() }));
    }

    pub(super) fn settled(&mut self) {
        for _ in 0..3 {
            self.plan();
            self.serve();
            self.now += 120_000;
        }
    }

    fn nodes(&self) -> Vec<u64> {
        self.state.instances.values().map(|i| i.node.0).collect()
    }
}

#[test]
fn stop_first_ends_the_old_one_before_the_new_one_starts() {
    let mut cluster = Cluster::new();
    cluster.deploy_as(bundle('a'), worker(false));
    assert_eq!(cluster.plan(), ["start 0 on n1"]);
    cluster.ready(1);
    cluster.settled();
    cluster.deploy_as(bundle('b'), worker(false));
    assert_eq!(cluster.plan(), ["drain i1"]);
    cluster.serve();
    cluster.see(NodeId(1), Observation::Drained { instance: InstanceId(1) });
    assert_eq!(cluster.plan(), ["stop i1"], "it has its time to end");
    cluster.gone(1);
    assert_eq!(cluster.plan(), ["start 0 on n1"]);
    // It fails: the old one comes back, again one after the other.
    cluster.sight(2, Seen::Unready);
    let planned = cluster.plan();
    assert_eq!(planned, ["revert", "stop i2"]);
    cluster.gone(2);
    assert_eq!(cluster.plan(), ["start 0 on n1"]);
}

#[test]
fn an_unhealthy_one_without_room_beside_it_is_replaced_in_its_place() {
    let mut cluster = Cluster::new();
    cluster.deploy_as(bundle('a'), worker(false));
    cluster.plan();
    cluster.ready(1);
    cluster.settled();
    cluster.sight(1, Seen::Unready);
    assert_eq!(cluster.plan(), ["drain i1"]);
}

#[test]
fn an_unhealthy_one_stays_until_the_one_that_replaces_it_is_ready() {
    let mut cluster = super::first_release();
    cluster.sight(2, Seen::Unready);
    assert_eq!(cluster.plan(), ["start 1 on n1"]);
    assert_eq!(cluster.plan(), [""; 0], "the replacement is not one too many");
    cluster.ready(4);
    assert_eq!(cluster.plan(), ["admit i4", "drain i2"]);
}

#[test]
fn an_exclusive_process_is_started_elsewhere_only_when_the_lost_one_must_have_ended() {
    for (exclusive, waits) in [(false, false), (true, true)] {
        let mut cluster = Cluster::new();
        cluster.deploy_as(bundle('a'), worker(exclusive));
        cluster.plan();
        cluster.ready(1);
        cluster.settled();
        cluster.write(Command::Liveness { lost: vec![NodeId(1)], back: vec![] });
        assert_eq!(cluster.plan().is_empty(), waits);
        if waits {
            // Its drain timeout is its grace; 5 s are for slow clocks.
            cluster.now += 304_000;
            assert_eq!(cluster.plan(), [""; 0]);
            cluster.now += 1_000;
            assert_eq!(cluster.plan(), ["start 0 on n2"]);
        }
    }
}

#[test]
fn labels_decide_where_instances_run_and_over_what_they_are_spread() {
    let mut cluster = Cluster::new();
    cluster.labelled(1, &[("disk", "hdd"), ("zone", "a")]);
    cluster.labelled(2, &[("disk", "ssd"), ("zone", "a")]);
    cluster.labelled(3, &[("disk", "ssd"), ("zone", "b")]);
    let mut spec = web(4);
    spec.placement = Placement { spread: "zone".to_owned(), require: Default::default() };
    cluster.deploy_as(bundle('a'), spec);
    cluster.plan();
    let nodes = cluster.nodes();
    assert_eq!(nodes.iter().filter(|n| **n == 3).count(), 2, "as many in either zone: {nodes:?}");

    let mut cluster = Cluster::new();
    cluster.labelled(2, &[("disk", "ssd")]);
    let mut spec = web(3);
    spec.placement.require = [("disk".to_owned(), "ssd".to_owned())].into();
    cluster.deploy_as(bundle('a'), spec);
    cluster.plan();
    assert_eq!(cluster.nodes(), [2, 2, 2]);
}

#[test]
fn a_node_in_trouble_gets_nothing_new() {
    let mut cluster = Cluster::new();
    let trouble = Some("the engine does not answer".to_owned());
    cluster.see(NodeId(1), Observation::Facts(NodeFacts { trouble, ..NodeFacts::default() }));
    cluster.deploy_as(bundle('a'), web(2));
    cluster.plan();
    assert_eq!(cluster.nodes(), [2, 3]);
}
