use std::time::{Duration, Instant};

use temps_ledger::Ledger;
use temps_wire::client::ClientError;
use temps_wire::proto::{
    ClusterStatusRequest, CreateProjectRequest, ListNodesRequest, ListProjectsRequest, StatusRequest,
};

use super::cluster::{Cluster, deploy};

#[tokio::test]
async fn without_a_quorum_what_helps_is_answered_and_the_rest_refused() {
    let cluster = Cluster::start(2).await;
    deploy(&cluster.client(), "v1").await;
    let whole = cluster
        .client()
        .call(|mut api| async move { api.cluster_status(ClusterStatusRequest {}).await })
        .await
        .unwrap();
    assert!(whole.quorum);
    assert_eq!((whole.leader, whole.nodes.len()), (Some(1), 2));
    assert_eq!(whole.state_hash, cluster.log.state().hash());
    for node in &cluster.nodes {
        node.seat.cut();
    }

    let client = cluster.client_of(0);
    let began = Instant::now();
    let status = client
        .call(|mut api| async move { api.cluster_status(ClusterStatusRequest {}).await })
        .await
        .unwrap();
    assert!(!status.quorum);
    assert_eq!((status.leader, status.nodes.len(), status.index), (None, 2, whole.index));
    let nodes =
        client.call(|mut api| async move { api.list_nodes(ListNodesRequest {}).await }).await.unwrap();
    assert!(nodes.nodes.iter().all(|node| !node.leader && node.status == "up"));
    let status =
        client.call(|mut api| async move { api.status(StatusRequest::default()).await }).await.unwrap();
    assert_eq!(status.environments[0].project, "shop");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let read = client.call(|mut api| async move { api.list_projects(ListProjectsRequest {}).await }).await;
    let write = client
        .call(
            |mut api| async move { api.create_project(CreateProjectRequest { name: "x".to_owned() }).await },
        )
        .await;
    for refused in [read.map(|_| ()), write.map(|_| ())] {
        assert_eq!(refused, Err(ClientError::NoQuorum { why: "no quorum: cut off".to_owned() }));
    }
}

#[tokio::test]
async fn a_change_is_taken_to_a_node_that_can_write() {
    let cluster = Cluster::start(2).await;
    cluster.nodes[0].seat.cut();
    let client = cluster.client();
    let answer = client.call(|mut api| async move {
        api.create_project(CreateProjectRequest { name: "x".to_owned() }).await
    });
    answer.await.unwrap();
}
