use temps_core::command::{Action, Observation};
use temps_core::model::{Artifact, DeploymentId, Form, NodeFacts, NodeId, RuntimeKind, Source};
use temps_wire::proto::{Deployment, DeploymentDetail, GetDeploymentRequest, ListNodesRequest};

use super::cluster::{Cluster, deploy, deploy_build, digest, request_of, send};

async fn detail(cluster: &Cluster, number: u64) -> DeploymentDetail {
    let client = cluster.client();
    let answer =
        client.call(|mut api| async move { api.get_deployment(GetDeploymentRequest { number }).await });
    answer.await.unwrap()
}

async fn deployment(cluster: &Cluster, number: u64) -> Deployment {
    detail(cluster, number).await.deployment.unwrap()
}

#[tokio::test]
async fn a_deployment_says_what_was_given_and_what_came_of_it() {
    let cluster = Cluster::start(1).await;
    let shown = deployment(&cluster, deploy(&cluster.client(), "v1").await).await;
    assert_eq!((shown.source.as_str(), shown.image.as_str()), ("bundle", ""));

    let cluster = Cluster::start(1).await.with_containers().await;
    let id = format!("sha256:{}", digest("image"));
    let number = deploy_build(&cluster.client(), "source").await;
    let shown = deployment(&cluster, number).await;
    assert_eq!((shown.source.as_str(), shown.image.as_str()), ("build of 6B with Dockerfile", ""));
    let deployment_id = DeploymentId(number);
    let build = Action::Build { deployment: deployment_id, node: NodeId(1) };
    cluster.plan(vec![Action::Begin { deployment: deployment_id }, build]).await;
    assert_eq!(deployment(&cluster, number).await.phase, "building");
    let form = Form::Image { id: id.clone(), total: 1_000_000 };
    let image = Artifact { digest: digest("manifest"), bytes: 8, form };
    cluster.report(1, Observation::Built { deployment: deployment_id, image }).await;
    let shown = detail(&cluster, number).await;
    assert_eq!(shown.deployment.unwrap().image, id);
    let events: Vec<_> = shown.events.iter().map(|e| (e.kind.as_str(), e.text.as_str())).collect();
    assert_eq!(events[1], ("building", "Build started on node-1"));
    assert_eq!(events[2], ("built", "Build completed (image: 1.0MB)"));

    let reference = "app:1.2".to_owned();
    let image = Source::Image { reference, id: id.clone(), node: NodeId(1) };
    let number = send(&cluster.client(), request_of(&image)).await.unwrap();
    let shown = deployment(&cluster, number).await;
    assert_eq!((shown.source.as_str(), shown.image), ("image app:1.2", id));
}

#[tokio::test]
async fn a_node_says_what_it_is() {
    let cluster = Cluster::start(2).await;
    let facts = NodeFacts {
        runtime: Some(RuntimeKind::Docker),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        free: Some(5_000_000_000),
        trouble: Some("the engine does not answer".to_owned()),
    };
    cluster.report(2, Observation::Facts(facts)).await;
    let client = cluster.client();
    let answer = client.call(|mut api| async move { api.list_nodes(ListNodesRequest {}).await });
    let nodes = answer.await.unwrap().nodes;
    let [silent, told] = &nodes[..] else { panic!("{nodes:?}") };
    assert_eq!((silent.runtime.as_str(), silent.free_bytes, silent.trouble.as_str()), ("", None, ""));
    assert_eq!((told.runtime.as_str(), told.free_bytes), ("docker", Some(5_000_000_000)));
    assert_eq!((told.labels["zone"].as_str(), told.trouble.as_str()), ("a", "the engine does not answer"));
}
