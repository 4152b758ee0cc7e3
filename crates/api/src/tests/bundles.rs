use bytes::Bytes;
use futures_util::stream;
use temps_core::command::Command;
use temps_core::model::{NodeId, Role};
use temps_wire::client::ClientError;
use temps_wire::proto::{BundleChunk, HasBundleRequest};
use temps_wire::token::ApiToken;

use super::cluster::{Cluster, digest, put};
use crate::parts::Artifacts;

async fn has(client: &temps_wire::client::Client, content: &str) -> bool {
    let digest = digest(content);
    let answer = client.call(|mut api| {
        let request = HasBundleRequest { digest: digest.clone() };
        async move { api.has_bundle(request).await }
    });
    answer.await.unwrap().stored
}

#[tokio::test]
async fn a_bundle_is_on_two_nodes_when_it_is_stored() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_of(0);
    assert!(!has(&client, "hello").await);
    let stored = put(&client, &digest("hello"), "hello").await.unwrap();
    assert_eq!(stored.nodes, ["node-1", "node-2"]);
    assert!(cluster.nodes[0].shelf.has(&digest("hello")).await);
    assert!(cluster.nodes[1].shelf.has(&digest("hello")).await);
    assert!(has(&client, "hello").await);
    // Sent again, it is there already.
    assert_eq!(put(&client, &digest("hello"), "hello").await.unwrap().nodes, stored.nodes);
}

#[tokio::test]
async fn another_node_is_taken_where_one_fails() {
    let mut cluster = Cluster::start(3).await;
    cluster.nodes[1].stop().await;
    let stored = put(&cluster.client_of(0), &digest("hello"), "hello").await.unwrap();
    assert_eq!(stored.nodes, ["node-1", "node-3"]);
    assert!(cluster.nodes[2].shelf.has(&digest("hello")).await);
}

#[tokio::test]
async fn one_node_of_several_is_not_enough_and_said() {
    let cluster = Cluster::start(2).await;
    cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: Vec::new() }).await;
    let why = put(&cluster.client_of(0), &digest("hello"), "hello").await.unwrap_err();
    assert!(matches!(&why, ClientError::NoQuorum { why } if why.contains("node-1 alone")), "{why}");
    assert!(!has(&cluster.client_of(0), "hello").await);
}

#[tokio::test]
async fn one_node_alone_is_enough_for_a_cluster_of_one() {
    let cluster = Cluster::start(1).await;
    assert_eq!(put(&cluster.client(), &digest("hello"), "hello").await.unwrap().nodes, ["node-1"]);
    assert!(has(&cluster.client(), "hello").await);
}

#[tokio::test]
async fn a_bundle_that_is_not_what_it_says_leaves_nothing() {
    let cluster = Cluster::start(2).await;
    let wrong = digest("something else");
    let why = put(&cluster.client_of(0), &wrong, "hello").await.unwrap_err();
    assert!(matches!(why, ClientError::Invalid { .. }), "{why}");
    assert!(!cluster.nodes[0].shelf.has(&wrong).await && !cluster.nodes[1].shelf.has(&wrong).await);
}

#[tokio::test]
async fn whoever_may_not_send_a_large_bundle_is_told_so() {
    let cluster = Cluster::start(1).await;
    let token = ApiToken::random(cluster.admin.fingerprint());
    cluster.grant("v", &token, Role::Viewer).await;
    let piece = Bytes::from(vec![7; 256 * 1024]);
    let chunks: Vec<_> =
        (0..128).map(|_| BundleChunk { digest: digest("x"), bytes: 1, data: piece.clone() }).collect();
    let send = async |token: &ApiToken| {
        let client = cluster.client_with(token);
        let sending = client.call(|mut api| {
            let chunks = chunks.clone();
            async move { api.put_bundle(stream::iter(chunks)).await }
        });
        sending.await.unwrap_err()
    };
    for _ in 0..5 {
        let why = send(&token).await;
        assert!(matches!(why, ClientError::Forbidden { .. }), "{why}");
        let why = send(&cluster.admin).await;
        assert!(matches!(&why, ClientError::Invalid { why } if why.contains("longer")), "{why}");
    }
}
