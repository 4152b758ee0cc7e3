use std::time::Duration;

use temps_core::command::{Action, Command, Observation};
use temps_core::model::{Artifact, DeploymentId, Form, NodeId};
use temps_wire::client::ClientError;
use temps_wire::proto::{BuildLogRequest, LogLine};
use tokio::time::timeout;
use tonic::Streaming;

use super::cluster::{Cluster, deploy, deploy_build, digest};

const SOON: Duration = Duration::from_secs(10);

/// A deployment whose image `node` is asked to build.
async fn building(cluster: &Cluster, node: u64) -> DeploymentId {
    let id = DeploymentId(deploy_build(&cluster.client_of(0), "source").await);
    let build = Action::Build { deployment: id, node: NodeId(node) };
    cluster.plan(vec![Action::Begin { deployment: id }, build]).await;
    id
}

async fn built(cluster: &Cluster, deployment: DeploymentId, node: u64) {
    let form = Form::Image { id: format!("sha256:{}", digest("image")), total: 5 };
    let image = Artifact { digest: digest("manifest"), bytes: 8, form };
    cluster.report(node, Observation::Built { deployment, image }).await;
}

async fn log(
    cluster: &Cluster,
    id: DeploymentId,
    follow: bool,
    tail: u32,
) -> Result<Streaming<LogLine>, String> {
    let request = BuildLogRequest { deployment: id.0, follow, tail };
    let client = cluster.client_of(0);
    let answer = client.call(|mut api| async move { api.build_log(request).await });
    match answer.await {
        Err(ClientError::NotFound { why }) => Err(why),
        other => Ok(other.unwrap()),
    }
}

async fn next(lines: &mut Streaming<LogLine>) -> Option<String> {
    let line = timeout(SOON, lines.message()).await.unwrap().unwrap()?;
    assert_eq!(line.instance, "");
    Some(format!("{} {}", line.node, String::from_utf8_lossy(&line.text)))
}

async fn rest(mut lines: Streaming<LogLine>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(line) = next(&mut lines).await {
        all.push(line);
    }
    all
}

#[tokio::test]
async fn the_log_comes_from_the_node_that_built() {
    let cluster = Cluster::start(2).await.with_containers().await;
    for node in [1, 2] {
        let id = building(&cluster, node).await;
        let workshop = &cluster.nodes[node as usize - 1].workshop;
        workshop.write(id.0, 10, "Step 1/2");
        workshop.write(id.0, 20, "Step 2/2");
        let name = format!("node-{node}");
        let all = [format!("{name} Step 1/2"), format!("{name} Step 2/2")];
        assert_eq!(rest(log(&cluster, id, false, 0).await.unwrap()).await, all);
        assert_eq!(rest(log(&cluster, id, false, 1).await.unwrap()).await, all[1..]);
        // Once it is over, following is reading.
        built(&cluster, id, node).await;
        assert_eq!(rest(log(&cluster, id, true, 0).await.unwrap()).await, all);
        cluster.write(Command::Cancel { deployment: id }).await;
        cluster.plan(vec![Action::End { deployment: id, phase: temps_core::model::Phase::Cancelled }]).await;
    }
}

#[tokio::test]
async fn following_waits_for_the_beginning_and_ends_with_the_build() {
    let cluster = Cluster::start(2).await.with_containers().await;
    let id = DeploymentId(deploy_build(&cluster.client_of(0), "source").await);
    let why = log(&cluster, id, false, 0).await.unwrap_err();
    assert!(why.contains("has not begun yet"), "{why}");
    let mut lines = log(&cluster, id, true, 0).await.unwrap();
    let build = Action::Build { deployment: id, node: NodeId(2) };
    cluster.plan(vec![Action::Begin { deployment: id }, build]).await;
    let why = log(&cluster, id, false, 0).await.unwrap_err();
    assert!(why.contains("the build on node-2 has not begun yet"), "{why}");
    cluster.nodes[1].workshop.write(id.0, 10, "Step 1/2");
    assert_eq!(next(&mut lines).await.as_deref(), Some("node-2 Step 1/2"));
    cluster.nodes[1].workshop.write(id.0, 10, "Step 2/2");
    cluster.nodes[1].workshop.end(id.0);
    built(&cluster, id, 2).await;
    assert_eq!(next(&mut lines).await.as_deref(), Some("node-2 Step 2/2"));
    assert_eq!(next(&mut lines).await, None);
}

#[tokio::test]
async fn the_next_builder_is_followed_where_one_is_lost() {
    let mut cluster = Cluster::start(3).await.with_containers().await;
    let id = building(&cluster, 2).await;
    cluster.nodes[1].workshop.write(id.0, 10, "old");
    cluster.nodes[1].workshop.write(id.0, 11, "begun");
    let mut lines = log(&cluster, id, true, 1).await.unwrap();
    assert_eq!(next(&mut lines).await.as_deref(), Some("node-2 begun"));
    cluster.nodes[1].stop().await;
    cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: Vec::new() }).await;
    cluster.nodes[0].workshop.write(id.0, 5, "begun anew");
    cluster.plan(vec![Action::Build { deployment: id, node: NodeId(1) }]).await;
    assert_eq!(next(&mut lines).await.as_deref(), Some("node-1 begun anew"));
    cluster.nodes[0].workshop.write(id.0, 6, "done");
    cluster.nodes[0].workshop.end(id.0);
    built(&cluster, id, 1).await;
    assert_eq!(rest(lines).await, ["node-1 done"]);
}

#[tokio::test]
async fn a_log_that_is_out_of_reach_is_told_apart_from_none() {
    let mut cluster = Cluster::start(2).await.with_containers().await;
    let why = log(&cluster, DeploymentId(9), false, 0).await.unwrap_err();
    assert_eq!(why, "there is no deployment #9");
    let id = building(&cluster, 2).await;
    built(&cluster, id, 2).await;
    let why = log(&cluster, id, true, 0).await.unwrap_err();
    assert_eq!(why, "node-2, where it was built, has no log of it any more");
    cluster.nodes[1].stop().await;
    let why = log(&cluster, id, false, 0).await.unwrap_err();
    assert!(why.contains("its log is on node-2") && why.contains("does not answer"), "{why}");
    cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: Vec::new() }).await;
    let why = log(&cluster, id, false, 0).await.unwrap_err();
    assert!(why.contains("its log is on node-2") && why.contains("is lost"), "{why}");
}

#[tokio::test]
async fn a_bundle_has_no_build() {
    let cluster = Cluster::start(1).await;
    let id = DeploymentId(deploy(&cluster.client_of(0), "v1").await);
    for follow in [false, true] {
        let why = log(&cluster, id, follow, 0).await.unwrap_err();
        assert_eq!(why, "deployment #1 runs a bundle as it was sent; nothing was built");
    }
}
