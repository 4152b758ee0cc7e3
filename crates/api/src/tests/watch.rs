use std::time::Duration;

use futures_util::StreamExt;
use temps_core::command::Command;
use temps_core::model::DeploymentId;
use temps_wire::client::ClientError;
use temps_wire::proto::EventId;
use tokio::time::timeout;

use super::cluster::{Cluster, deploy};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_watch_gives_each_event_once_and_ends_with_the_deployment() {
    let cluster = Cluster::start(1).await;
    let number = deploy(&cluster.client(), "v1").await;
    let mut watch = cluster.client().watch_deployment(number, None);
    let first = timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((first.kind.as_str(), first.deployment), ("accepted", Some(number)));

    // Entries that are not about it wake the watch and give nothing.
    cluster.write(Command::CreateProject { name: "other".to_owned() }).await;
    cluster.write(Command::Cancel { deployment: DeploymentId(number) }).await;
    let last = timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((last.kind.as_str(), last.text.as_str()), ("ended", "Cancelled."));
    assert!(timeout(SOON, watch.next()).await.unwrap().is_none());

    let rest: Vec<_> = cluster.client().watch_deployment(number, first.id).collect().await;
    assert_eq!(rest, [Ok(last.clone())]);
    let nothing: Vec<_> = cluster.client().watch_deployment(number, last.id).collect().await;
    assert!(nothing.is_empty());
    let beyond = EventId { index: u64::MAX, place: u32::MAX };
    assert!(cluster.client().watch_deployment(number, Some(beyond)).next().await.is_none());
}

#[tokio::test]
async fn a_watch_goes_on_at_another_node() {
    let mut cluster = Cluster::start(2).await;
    let number = deploy(&cluster.client(), "v1").await;
    let client = cluster.client();
    let mut watch = client.watch_deployment(number, None);
    let first = timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.kind, "accepted");
    cluster.nodes[0].stop().await;
    cluster.write(Command::Cancel { deployment: DeploymentId(number) }).await;
    let rest: Vec<_> = timeout(SOON, watch.collect()).await.unwrap();
    let kinds: Vec<_> = rest.into_iter().map(|event| event.unwrap().kind).collect();
    assert_eq!(kinds, ["ended"]);
    assert_eq!(client.endpoint(), Some(cluster.nodes[1].address.as_str()));
}

#[tokio::test]
async fn a_watch_of_nothing_or_with_nobody_left_is_an_error() {
    let mut cluster = Cluster::start(1).await;
    let none = cluster.client().watch_deployment(9, None).next().await.unwrap();
    assert_eq!(none, Err(ClientError::NotFound { why: "there is no deployment #9".to_owned() }));
    let number = deploy(&cluster.client(), "v1").await;
    let mut watch = cluster.client().watch_deployment(number, None);
    watch.next().await.unwrap().unwrap();
    cluster.nodes[0].stop().await;
    let lost = timeout(SOON, watch.next()).await.unwrap().unwrap();
    assert!(matches!(lost, Err(ClientError::Unreachable { .. })), "{lost:?}");
    assert!(watch.next().await.is_none());
}
