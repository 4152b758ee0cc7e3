use std::time::Duration;

use temps_core::command::{Action, Command, Observation};
use temps_core::model::{DeploymentId, EnvironmentId, InstanceId, NodeId, ReleaseId, Seen};
use temps_ledger::Ledger;
use temps_wire::proto::{LogLine, LogsRequest};
use tokio::time::timeout;
use tonic::Streaming;

use super::cluster::{Cluster, deploy};

const SOON: Duration = Duration::from_secs(10);

/// Starts an instance of the deployment on a node, and lets the node report it.
pub(super) async fn start(cluster: &Cluster, slot: u32, node: u64) {
    let node = NodeId(node);
    let action = Action::Start {
        environment: EnvironmentId(1),
        deployment: Some(DeploymentId(1)),
        release: ReleaseId(1),
        process: "web".to_owned(),
        slot,
        node,
        why: None,
    };
    let begin = Action::Begin { deployment: DeploymentId(1) };
    let actions = if slot == 0 { vec![begin, action] } else { vec![action] };
    cluster.write(Command::Plan { seen: cluster.log.state().revision, actions }).await;
    let instance = InstanceId(u64::from(slot) + 1);
    let observation = Observation::Instance {
        instance,
        seen: Seen::Starting,
        endpoint: None,
        attempts: 0,
        last_check: None,
        log_tail: Vec::new(),
        exit: None,
    };
    let report = Command::Report { node, boot: 1, seq: instance.0, observations: vec![observation] };
    cluster.write(report).await;
}

async fn logs(cluster: &Cluster, follow: bool, tail: u32) -> Streaming<LogLine> {
    let request = LogsRequest {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        process: String::new(),
        follow,
        tail,
    };
    let client = cluster.client_of(0);
    let answer = client.call(|mut api| {
        let request = request.clone();
        async move { api.logs(request).await }
    });
    answer.await.unwrap()
}

async fn next(lines: &mut Streaming<LogLine>) -> String {
    let line = timeout(SOON, lines.message()).await.unwrap().unwrap().unwrap();
    format!("{} {} {}", line.instance, line.node, String::from_utf8_lossy(&line.text))
}

async fn rest(mut lines: Streaming<LogLine>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(line) = timeout(SOON, lines.message()).await.unwrap().unwrap() {
        all.push(String::from_utf8(line.text.to_vec()).unwrap());
    }
    all
}

#[tokio::test]
async fn lines_of_all_nodes_come_in_order_of_time() {
    let cluster = Cluster::start(2).await;
    deploy(&cluster.client(), "v1").await;
    start(&cluster, 0, 1).await;
    start(&cluster, 1, 2).await;
    cluster.nodes[0].paper.write(1, 10, "a");
    cluster.nodes[1].paper.write(2, 20, "b");
    cluster.nodes[0].paper.write(1, 30, "c");
    cluster.nodes[0].paper.write(99, 25, "of another environment");
    assert_eq!(rest(logs(&cluster, false, 10).await).await, ["a", "b", "c"]);
    // The last one of each instance.
    assert_eq!(rest(logs(&cluster, false, 1).await).await, ["b", "c"]);
}

#[tokio::test]
async fn a_lost_node_is_left_out() {
    let mut cluster = Cluster::start(2).await;
    deploy(&cluster.client(), "v1").await;
    start(&cluster, 0, 1).await;
    start(&cluster, 1, 2).await;
    cluster.nodes[0].paper.write(1, 10, "a");
    cluster.nodes[1].stop().await;
    assert_eq!(rest(logs(&cluster, false, 10).await).await, ["a"]);
}

#[tokio::test]
async fn following_takes_up_instances_that_appear() {
    let cluster = Cluster::start(2).await;
    deploy(&cluster.client(), "v1").await;
    start(&cluster, 0, 1).await;
    cluster.nodes[0].paper.write(1, 10, "a");
    let mut lines = logs(&cluster, true, 10).await;
    assert_eq!(next(&mut lines).await, "i1 node-1 a");
    cluster.nodes[0].paper.write(1, 20, "b");
    assert_eq!(next(&mut lines).await, "i1 node-1 b");
    cluster.nodes[1].paper.write(2, 30, "c");
    start(&cluster, 1, 2).await;
    assert_eq!(next(&mut lines).await, "i2 node-2 c");
    cluster.nodes[1].paper.write(2, 40, "d");
    assert_eq!(next(&mut lines).await, "i2 node-2 d");
}
