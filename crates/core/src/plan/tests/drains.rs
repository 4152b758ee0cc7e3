//! Nodes that are emptied.

use super::{Cluster, bundle, first_release, web};
use crate::command::{Command, Observation};
use crate::drain::{Left, Obstacle, Stay, left};
use crate::model::{InstanceId, NodeId, Order, Seen, Strategy, What};

impl Cluster {
    fn drain(&mut self, node: u64) {
        self.write(Command::DrainNode { node: NodeId(node) });
    }

    /// Another node has what the release runs.
    fn stored(&mut self) {
        for node in 1..=3 {
            let digest = "a".repeat(64);
            self.see(NodeId(node), Observation::Artifact { digest, stored: true });
        }
    }

    fn left(&self, node: u64) -> Vec<Left> {
        left(&self.state, NodeId(node))
    }

    /// The instance has nothing in flight, and ends.
    fn ends(&mut self, id: u64) {
        let (instance, node) = (InstanceId(id), self.state.instances[&InstanceId(id)].node);
        self.serve();
        self.see(node, Observation::Drained { instance });
        assert_eq!(self.plan(), [format!("stop {instance}")]);
        self.gone(id);
    }

    fn told_drained(&self) -> usize {
        let told = |what: &What| matches!(what, What::NodeDrained { .. });
        self.state.events.values().filter(|e| told(&e.what)).count()
    }
}

#[test]
fn another_serves_before_the_one_on_a_drained_node_is_withdrawn() {
    let mut cluster = first_release();
    cluster.stored();
    cluster.drain(2);
    assert_eq!(cluster.left(2), [Left::Instance(InstanceId(2), Stay::Turn)]);
    assert_eq!(cluster.plan(), ["start 1 on n1"], "it takes over the place");
    assert_eq!(cluster.left(2), [Left::Instance(InstanceId(2), Stay::Replaced(InstanceId(4)))]);
    assert_eq!(cluster.plan(), [""; 0]);
    cluster.ready(4);
    assert_eq!(cluster.plan(), ["admit i4"]);
    assert_eq!(cluster.plan(), [""; 0], "not every edge knows it");
    cluster.serve();
    assert_eq!(cluster.plan(), ["drain i2"]);
    assert_eq!(cluster.left(2), [Left::Instance(InstanceId(2), Stay::Draining)]);
    assert_eq!(cluster.told_drained(), 0);
    cluster.ends(2);
    assert_eq!((cluster.left(2), cluster.told_drained()), (vec![], 1));
    assert_eq!(cluster.plan(), [""; 0]);
    cluster.write(Command::UncordonNode { node: NodeId(2) });
    assert_eq!(cluster.plan(), [""; 0], "nothing moves back by itself");
    assert_eq!(cluster.serving(), [1, 3, 4]);
}

#[test]
fn what_is_taken_back_in_the_middle_stays_where_it_is() {
    let mut cluster = first_release();
    cluster.drain(2);
    assert_eq!(cluster.plan(), ["start 1 on n1"]);
    cluster.write(Command::UncordonNode { node: NodeId(2) });
    assert_eq!(cluster.plan(), ["stop i4"]);
    cluster.gone(4);
    assert_eq!(cluster.serving(), [1, 2, 3]);
    assert_eq!(cluster.plan(), [""; 0]);
}

#[test]
fn a_cordoned_node_gets_nothing_new_and_keeps_what_it_has() {
    let mut cluster = first_release();
    cluster.write(Command::CordonNode { node: NodeId(2) });
    assert_eq!(cluster.plan(), [""; 0]);
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    let instances = [("web".to_owned(), 4)].into();
    cluster.write(Command::Scale { project, environment, instances });
    assert_eq!(cluster.plan(), ["start 3 on n1"]);
}

#[test]
fn what_stops_first_stops_before_it_starts_elsewhere() {
    for (exclusive, http) in [(false, true), (true, false), (true, true)] {
        let mut cluster = Cluster::new();
        let mut spec = web(1);
        if let Some(process) = spec.processes.get_mut("web") {
            process.order = Order::StopFirst;
            (process.exclusive, process.http) = (exclusive, http);
        }
        cluster.deploy_as(bundle('a'), spec);
        assert_eq!(cluster.plan(), ["start 0 on n1"]);
        cluster.ready(1);
        cluster.settled();
        cluster.drain(1);
        assert_eq!(cluster.plan(), ["drain i1"]);
        cluster.serve();
        cluster.see(NodeId(1), Observation::Drained { instance: InstanceId(1) });
        assert_eq!(cluster.plan(), ["stop i1"], "it has its time to end");
        cluster.gone(1);
        assert_eq!(cluster.plan(), ["start 0 on n2"]);
    }
}

#[test]
fn what_must_not_run_beside_another_release_may_run_beside_itself() {
    let mut cluster = Cluster::new();
    let mut spec = web(1);
    spec.deploy.strategy = Strategy::Recreate;
    cluster.deploy_as(bundle('a'), spec);
    assert_eq!(cluster.plan(), ["start 0 on n1"]);
    cluster.ready(1);
    cluster.settled();
    cluster.drain(1);
    assert_eq!(cluster.plan(), ["start 0 on n2"]);
    cluster.ready(2);
    assert_eq!(cluster.plan(), ["admit i2"]);
    cluster.serve();
    assert_eq!(cluster.plan(), ["drain i1"]);
}

#[test]
fn a_rollout_replaces_those_on_a_drained_node_first() {
    let mut cluster = first_release();
    cluster.deploy('b');
    cluster.drain(3);
    assert_eq!(cluster.plan(), ["start 0 on n1"]);
    cluster.ready(4);
    assert_eq!(cluster.plan(), ["admit i4"]);
    cluster.serve();
    assert_eq!(cluster.plan(), ["drain i3"]);
    cluster.ends(3);
    assert_eq!(cluster.plan(), ["start 1 on n2"]);
    cluster.ready(5);
    assert_eq!(cluster.plan(), ["admit i5"]);
}

#[test]
fn what_can_go_nowhere_any_more_stays_and_says_why() {
    let mut cluster = first_release();
    cluster.stored();
    cluster.drain(2);
    cluster.plan();
    cluster.write(Command::Liveness { lost: vec![NodeId(1)], back: vec![] });
    cluster.write(Command::CordonNode { node: NodeId(3) });
    let away = Obstacle::Others("n1 is lost, n3 is cordoned".to_owned());
    assert_eq!(cluster.left(2), [Left::Instance(InstanceId(2), Stay::Stuck(away))]);
    assert_eq!(cluster.plan(), [""; 0]);
    cluster.write(Command::UncordonNode { node: NodeId(3) });
    let planned = cluster.plan();
    assert_eq!(planned, ["start 0 on n3", "start 1 on n3"]);
}

#[test]
fn one_that_never_served_there_is_started_elsewhere_at_once() {
    let mut cluster = Cluster::new();
    cluster.deploy_as(bundle('a'), web(3));
    assert_eq!(cluster.plan(), ["start 0 on n1", "start 1 on n2", "start 2 on n3"]);
    cluster.sight(2, Seen::Starting);
    cluster.drain(2);
    assert_eq!(cluster.plan(), ["stop i2", "start 1 on n1"]);
}
