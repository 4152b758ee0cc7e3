//! Why instances were started, withdrawn and stopped.

use super::{Cluster, first_drain, first_release};
use crate::command::{Command, Observation};
use crate::model::{Exit, InstanceId, NodeId, Seen};
use crate::why::story;

impl Cluster {
    /// What was decided about an instance.
    fn decided(&self, id: u64) -> Vec<String> {
        let lines = story(&self.state, &self.state.instances[&InstanceId(id)]).into_iter();
        let decisions = lines.filter(|l| matches!(l.kind, "started" | "withdrawn" | "stopped"));
        decisions.map(|l| l.text).collect()
    }

    fn ended_by_itself(&mut self, id: u64) {
        let (instance, node) = (InstanceId(id), self.state.instances[&InstanceId(id)].node);
        let exit = Some(Exit { code: Some(1), ..Exit::default() });
        let seen = Seen::Exited;
        let (endpoint, last_check, log_tail) = (None, None, Vec::new());
        self.see(
            node,
            Observation::Instance { instance, seen, endpoint, attempts: 0, last_check, log_tail, exit },
        );
    }

    fn scale(&mut self, to: u32) {
        let (project, environment) = ("shop".to_owned(), "production".to_owned());
        self.write(Command::Scale { project, environment, instances: [("web".to_owned(), to)].into() });
    }
}

#[test]
fn a_rollout() {
    let mut cluster = first_drain();
    assert_eq!(cluster.decided(4), ["Started on n1 for step 1 of 3 of deployment #2 (rolling)"]);
    cluster.serve();
    cluster.see(NodeId(1), Observation::Drained { instance: InstanceId(1) });
    cluster.plan();
    cluster.gone(1);
    cluster.plan();
    assert_eq!(
        cluster.decided(1),
        [
            "Started on n1 for step 1 of 1 of deployment #1 (rolling)",
            "Withdrawn, it gets no new requests: another takes its place in step 1 of 3 of deployment #2 (rolling)",
            "Asked to end: nothing was in flight any more",
        ]
    );
    let all: Vec<_> = story(&cluster.state, &cluster.state.instances[&InstanceId(1)]);
    let kinds: Vec<_> = all.iter().map(|line| line.kind).collect();
    assert_eq!(kinds, ["started", "healthy", "admitted", "withdrawn", "drained", "stopped", "removed"]);
    assert_eq!(cluster.decided(5), ["Started on n2 for step 2 of 3 of deployment #2 (rolling)"]);
    // It is taken back, with one of the old ones gone.
    cluster.sight(5, Seen::Unready);
    cluster.plan();
    let cause =
        "deployment #2 is taken back: health check of i5 on n2 failed 3 times, last answer: answered 503";
    assert_eq!(cluster.decided(5)[1], format!("Asked to end: {cause}"));
    cluster.gone(5);
    cluster.plan();
    assert!(
        cluster.decided(6)[0]
            .starts_with("Started on n1 as release r1 is needed again, deployment #2 being taken back"),
        "{:?}",
        cluster.decided(6)
    );
}

#[test]
fn a_crash_and_the_number_of_instances() {
    let mut cluster = first_release();
    cluster.ended_by_itself(2);
    cluster.plan();
    assert_eq!(cluster.decided(2)[1], "Asked to end: it had ended by itself (exit code 1)");
    assert_eq!(cluster.decided(4), ["Started on n2 in place of i2, which ended by itself (exit code 1)"]);
    cluster.gone(2);
    cluster.ready(4);
    cluster.settled();
    cluster.scale(4);
    cluster.plan();
    assert_eq!(cluster.decided(5), ["Started on n1 as more were wanted than ran"]);
    cluster.ready(5);
    cluster.settled();
    cluster.scale(3);
    cluster.plan();
    assert_eq!(cluster.decided(5)[1], "Withdrawn, it gets no new requests: fewer are wanted");
}

#[test]
fn a_lost_node_and_its_return() {
    let mut cluster = first_release();
    cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: vec![] });
    cluster.plan();
    assert_eq!(cluster.decided(4), ["Started on n1 in place of i2 on n2, which was lost"]);
    cluster.ready(4);
    cluster.plan();
    cluster.write(Command::Liveness { lost: vec![], back: vec![NodeId(2)] });
    cluster.settled();
    let surplus = [1, 2, 3, 4].map(|id| cluster.decided(id)).into_iter().find(|told| told.len() > 1).unwrap();
    assert_eq!(surplus[1], "Withdrawn, it gets no new requests: one too many since node n2 returned");
}

#[test]
fn a_drained_node_and_one_that_is_taken_back() {
    let mut cluster = first_release();
    cluster.write(Command::DrainNode { node: NodeId(2) });
    cluster.plan();
    assert_eq!(cluster.decided(4), ["Started on n1 in place of i2 on n2, which is drained"]);
    cluster.write(Command::UncordonNode { node: NodeId(2) });
    cluster.plan();
    assert_eq!(cluster.decided(4)[1], "Asked to end: one too many since node n2 is not drained any more");
    cluster.gone(4);
    cluster.write(Command::DrainNode { node: NodeId(2) });
    cluster.plan();
    cluster.ready(5);
    cluster.settled();
    assert_eq!(cluster.decided(2)[1], "Withdrawn, it gets no new requests: node n2 is drained");
}

#[test]
fn an_unhealthy_one() {
    let mut cluster = first_release();
    cluster.sight(2, Seen::Unready);
    cluster.plan();
    assert_eq!(cluster.decided(4), ["Started on n1 in place of i2, whose health check fails"]);
    cluster.ready(4);
    cluster.settled();
    assert_eq!(cluster.decided(2)[1], "Withdrawn, it gets no new requests: its health check fails");
}
