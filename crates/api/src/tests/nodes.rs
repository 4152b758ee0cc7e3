//! Machines that are emptied, and that leave for good.

use temps_core::command::{Action, Command, Observation};
use temps_core::model::{EnvironmentId, InstanceId, NodeId, Reason, ReleaseId, Seen};
use temps_wire::client::ClientError;
use temps_wire::peers::Peers;
use temps_wire::proto::{
    CordonNodeRequest, DrainNodeRequest, ExplainInstanceRequest, GetNodeRequest, ListNodesRequest,
    NodeChanged, NodeDetail, ReadIndexRequest, RemoveNodeRequest, StatusRequest, UncordonNodeRequest,
};
use tonic::Code;

use super::cluster::{Cluster, deploy_request, digest, put};

async fn drain(cluster: &Cluster, node: u64) -> Result<NodeChanged, ClientError> {
    let request = DrainNodeRequest { node };
    cluster.client().call(|mut api| async move { api.drain_node(request).await }).await
}

async fn remove(cluster: &Cluster, node: u64) -> Result<NodeChanged, ClientError> {
    let request = RemoveNodeRequest { node, force: false };
    cluster.client().call(|mut api| async move { api.remove_node(request).await }).await
}

async fn show(cluster: &Cluster, node: u64) -> NodeDetail {
    let request = GetNodeRequest { node };
    cluster.client().call(|mut api| async move { api.get_node(request).await }).await.unwrap()
}

/// An instance serves on that node.
async fn runs_on(cluster: &Cluster, node: u64) {
    let client = cluster.client();
    put(&client, &digest("bundle"), "bundle").await.unwrap();
    client.call(|mut api| async move { api.deploy(deploy_request("bundle")).await }).await.unwrap();
    cluster
        .plan(vec![Action::Start {
            environment: EnvironmentId(1),
            deployment: None,
            release: ReleaseId(1),
            process: "web".to_owned(),
            slot: 0,
            node: NodeId(node),
            why: Some(Reason::More),
        }])
        .await;
    let ready = Observation::Instance {
        instance: InstanceId(1),
        seen: Seen::Ready,
        endpoint: None,
        attempts: 1,
        last_check: None,
        log_tail: Vec::new(),
        exit: None,
    };
    cluster.report(node, ready).await;
    cluster.plan(vec![Action::Admit { instance: InstanceId(1) }]).await;
}

#[tokio::test]
async fn a_node_is_marked_and_says_so() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let nodes =
        async || client.call(|mut api| async move { api.list_nodes(ListNodesRequest {}).await }).await;
    for again in [false, true] {
        let request = CordonNodeRequest { node: 2 };
        let answer = client.call(|mut api| async move { api.cordon_node(request).await }).await;
        assert_eq!(answer.unwrap().no_change, again);
    }
    assert!(nodes().await.unwrap().nodes[1].cordoned);
    let status =
        client.call(|mut api| async move { api.status(StatusRequest::default()).await }).await.unwrap();
    assert_eq!(status.nodes.iter().map(|n| n.id).collect::<Vec<_>>(), [2], "only what is worth a word");
    drain(&cluster, 2).await.unwrap();
    let node = &nodes().await.unwrap().nodes[1];
    assert!(node.draining && node.drained, "nothing was there");
    let request = UncordonNodeRequest { node: 2 };
    client.call(|mut api| async move { api.uncordon_node(request).await }).await.unwrap();
    let node = &nodes().await.unwrap().nodes[1];
    assert!(!node.cordoned && !node.draining && !node.drained);
    let lines: Vec<_> = show(&cluster, 2).await.events.into_iter().map(|e| e.text).collect();
    assert_eq!(
        lines,
        [
            "Node node-2 joined",
            "Node node-2 cordoned by admin",
            "Node node-2 draining, asked by admin: what runs there moves",
            "Node node-2 drained, nothing is left there",
            "Node node-2 uncordoned by admin",
        ]
    );
}

#[tokio::test]
async fn what_is_left_on_a_node_says_why() {
    let cluster = Cluster::start(3).await;
    runs_on(&cluster, 2).await;
    drain(&cluster, 2).await.unwrap();
    let left = &show(&cluster, 2).await.left[0];
    assert_eq!((left.instance.as_str(), left.project.as_str(), left.process.as_str()), ("i1", "shop", "web"));
    assert_eq!(left.why, "waits for its turn, as only so many may run or be missing at once");
    for node in [1, 3] {
        cluster.write(Command::CordonNode { node: NodeId(node) }).await;
    }
    let left = &show(&cluster, 2).await.left[0];
    assert!(left.stuck && left.why.starts_with("no other node takes it now: node-1 is cordoned"), "{left:?}");
    let answer =
        cluster.client().call(|mut api| async move { api.get_node(GetNodeRequest { node: 9 }).await }).await;
    assert!(matches!(answer, Err(ClientError::NotFound { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_instance_tells_why_it_is_there() {
    let cluster = Cluster::start(3).await;
    runs_on(&cluster, 2).await;
    let story = async |instance| {
        let request = ExplainInstanceRequest { instance };
        cluster.client().call(|mut api| async move { api.explain_instance(request).await }).await
    };
    let why = Some(Reason::NodeDrained { instance: InstanceId(1), node: NodeId(2) });
    cluster.plan(vec![Action::Drain { instance: InstanceId(1), why }]).await;
    let told = story(1).await.unwrap();
    let lines: Vec<_> = told.lines.iter().map(|l| (l.kind.as_str(), l.text.as_str())).collect();
    assert_eq!(
        lines,
        [
            ("started", "Started on node-2 as more were wanted than ran"),
            ("healthy", "Health check passed (attempt 1)"),
            ("admitted", "Traffic shifting to new container"),
            ("withdrawn", "Withdrawn, it gets no new requests: node node-2 is drained"),
        ]
    );
    assert_eq!(told.instance.unwrap().state, "draining");
    let why = story(9).await.unwrap_err();
    assert!(matches!(&why, ClientError::NotFound { why } if why == "there is no instance i9"), "{why:?}");
}

#[tokio::test]
async fn a_removed_node_is_no_member_and_nobody_hears_it() {
    let cluster = Cluster::start(3).await;
    let why = remove(&cluster, 2).await.unwrap_err();
    assert!(matches!(&why, ClientError::Conflict { why } if why.contains("drain it first")), "{why:?}");
    let asked =
        || cluster.nodes.iter().flat_map(|n| n.echo.asked.lock().unwrap().clone()).collect::<Vec<_>>();
    assert!(asked().is_empty(), "what is refused changes nothing: {:?}", asked());
    drain(&cluster, 2).await.unwrap();
    let changed = remove(&cluster, 2).await.unwrap();
    assert!(!changed.no_change);
    assert_eq!(asked(), ["yield n2", "remove n2"]);
    let peers = Peers::new(&cluster.nodes[1].identity);
    let answer = peers.client(NodeId(1), &cluster.nodes[0].address).read_index(ReadIndexRequest {}).await;
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert_eq!(refusal.message(), "node n2 was removed from the cluster");
    assert!(remove(&cluster, 2).await.unwrap().no_change, "what is left of it is done again");
    let why = remove(&cluster, 9).await.unwrap_err();
    assert!(matches!(why, ClientError::NotFound { .. }), "{why:?}");
}
