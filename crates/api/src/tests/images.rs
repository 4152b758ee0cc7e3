use temps_core::command::Command;
use temps_core::model::NodeId;
use temps_wire::client::ClientError;
use temps_wire::proto::{ResolveImageRequest, ResolveImageResponse};

use super::cluster::Cluster;
use crate::parts::FindFailed;

const ID: &str = "sha256:6e7bb8b1b5c8a3f6c37b3b6f8f34d6e3a0d9b7b2b0d1c2e3f4a5b6c7d8e9f0a1";

async fn resolve(cluster: &Cluster, reference: &str) -> Result<ResolveImageResponse, ClientError> {
    let client = cluster.client_of(0);
    let reference = reference.to_owned();
    let answer = client.call(|mut api| {
        let request = ResolveImageRequest { reference: reference.clone() };
        async move { api.resolve_image(request).await }
    });
    answer.await
}

fn asked(cluster: &Cluster) -> Vec<Vec<bool>> {
    let pulls = |node: &super::cluster::Running| {
        node.engine.asked.lock().unwrap().iter().map(|(_, pull)| *pull).collect()
    };
    cluster.nodes.iter().map(pulls).collect()
}

#[tokio::test]
async fn the_own_node_is_asked_first_and_its_registry() {
    let cluster = Cluster::start(2).await.with_containers().await;
    cluster.nodes[0].engine.has(ID, "the registry did not answer; the local image is used");
    let answer = resolve(&cluster, "app:1.2").await.unwrap();
    assert_eq!((answer.id.as_str(), answer.node, answer.node_name.as_str()), (ID, 1, "node-1"));
    assert_eq!(answer.warning, "the registry did not answer; the local image is used");
    assert_eq!(cluster.nodes[0].engine.asked.lock().unwrap()[..], [("app:1.2".to_owned(), true)]);
    assert_eq!(asked(&cluster)[1], [false; 0]);
}

#[tokio::test]
async fn another_node_is_asked_without_its_registry_once_one_has_answered() {
    let cluster = Cluster::start(3).await.with_containers().await;
    cluster.nodes[0].engine.fails(FindFailed::NotFound("no such image".to_owned()));
    cluster.nodes[1].engine.fails(FindFailed::Unavailable("the engine does not answer".to_owned()));
    cluster.nodes[2].engine.has(ID, "");
    let answer = resolve(&cluster, "app:1.2").await.unwrap();
    assert_eq!((answer.node, answer.node_name.as_str(), answer.warning.as_str()), (3, "node-3", ""));
    assert_eq!(asked(&cluster), [[true], [false], [false]]);
}

#[tokio::test]
async fn a_node_without_containers_passes_the_question_on() {
    let cluster = Cluster::start(2).await.with_containers().await;
    cluster.nodes[1].engine.has(ID, "");
    assert_eq!(resolve(&cluster, "app").await.unwrap().node, 2);
    assert_eq!(asked(&cluster), [[true], [true]]);
}

#[tokio::test]
async fn an_unknown_image_is_refused_with_what_each_node_said() {
    let mut cluster = Cluster::start(3).await.with_containers().await;
    cluster.nodes[0].engine.fails(FindFailed::NotFound("no such image: app:1.2".to_owned()));
    cluster.nodes[1].engine.fails(FindFailed::NotFound("nor here".to_owned()));
    cluster.nodes[2].stop().await;
    let Err(ClientError::NotFound { why }) = resolve(&cluster, "app:1.2").await else { panic!() };
    for expected in
        ["node-1: no such image: app:1.2", "node-2: nor here", "node-3: ", "push it to its registry"]
    {
        assert!(why.contains(expected), "{why:?} should say {expected:?}");
    }
}

#[tokio::test]
async fn without_a_node_that_runs_containers_that_is_said() {
    let cluster = Cluster::start(2).await;
    let Err(ClientError::NotFound { why }) = resolve(&cluster, "app").await else { panic!() };
    assert!(why.contains("no node that is up runs containers"), "{why}");
    let cluster = cluster.with_containers().await;
    cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: Vec::new() }).await;
    assert!(matches!(resolve(&cluster, "app").await, Err(ClientError::NotFound { .. })));
    assert_eq!(asked(&cluster)[1], [false; 0], "a lost node is not asked");
}

#[tokio::test]
async fn a_name_that_is_none_reaches_no_engine() {
    let cluster = Cluster::start(1).await.with_containers().await;
    for name in ["", "a b", "x\n", &"x".repeat(513)] {
        let answer = resolve(&cluster, name).await;
        assert!(matches!(&answer, Err(ClientError::Invalid { .. })), "{name:?}: {answer:?}");
    }
    assert_eq!(asked(&cluster)[0], [false; 0]);
}
