use temps_core::model::{NodeId, Source};
use temps_ledger::Ledger;
use temps_wire::client::ClientError;
use temps_wire::proto::{
    CancelRequest, CreateJoinTokenRequest, CreateTokenRequest, Deployment, GetDeploymentRequest,
    ListDeploymentsRequest, PauseRequest, RollbackRequest, StatusRequest, WhoAmIRequest,
};
use temps_wire::token::{ApiToken, JoinToken};

use super::cluster::{Cluster, deploy, deploy_build, deploy_request, digest, file, put, request_of, send};

#[tokio::test]
async fn a_deployment_is_seen_through_every_node() {
    let cluster = Cluster::start(2).await;
    let number = deploy(&cluster.client_of(0), "v1").await;
    let detail = cluster
        .client_of(1)
        .call(|mut api| async move { api.get_deployment(GetDeploymentRequest { number }).await })
        .await
        .unwrap();
    let deployment = detail.deployment.unwrap();
    assert_eq!((deployment.project.as_str(), deployment.environment.as_str()), ("shop", "production"));
    assert_eq!(
        (deployment.kind.as_str(), deployment.phase.as_str(), deployment.ended),
        ("deploy", "queued", false)
    );
    assert_eq!((deployment.by.as_str(), deployment.requests), ("admin", None));
    assert!(deployment.created_ms > 1_600_000_000_000, "a wall time");
    assert_eq!(detail.events[0].kind, "accepted");
    assert_eq!(detail.events[0].text, "Release r1 stored (bundle: 2B, by admin)");

    let client = cluster.client();
    let listed = client
        .call(|mut api| async move { api.list_deployments(ListDeploymentsRequest::default()).await })
        .await
        .unwrap();
    // It still runs, so only its duration may differ.
    let listed = Deployment { duration_ms: deployment.duration_ms, ..listed.deployments[0].clone() };
    assert_eq!(listed, deployment);
    let status =
        client.call(|mut api| async move { api.status(StatusRequest::default()).await }).await.unwrap();
    let environment = &status.environments[0];
    assert_eq!(environment.live.as_ref().map(|d| d.number), Some(number));
    assert_eq!(environment.release, None);
}

#[tokio::test]
async fn one_key_takes_effect_once_and_keys_of_others_do_not_meet() {
    let cluster = Cluster::start(2).await;
    put(&cluster.client(), &digest("v1"), "v1").await.unwrap();
    let send = async |client: &temps_wire::client::Client| {
        let request = deploy_request("v1");
        let answer = client.call_with_key("same", |mut api| {
            let request = request.clone();
            async move { api.deploy(request).await }
        });
        answer.await.unwrap()
    };
    let first = send(&cluster.client_of(0)).await;
    let again = send(&cluster.client_of(1)).await;
    assert_eq!((first.deployment, first.no_change), (1, false));
    assert_eq!(again, first);
    assert_eq!(cluster.log.state().deployments.len(), 1);

    let other = create_token(&cluster, "same-name", "other").await.unwrap();
    let by_other = send(&cluster.client_with(&other)).await;
    assert!(by_other.no_change, "it is another request, and the environment moves there already");
}

#[tokio::test]
async fn what_cannot_be_is_said_in_words() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let request = deploy_request("never sent");
    let unsent = client.call(|mut api| {
        let request = request.clone();
        async move { api.deploy(request).await }
    });
    assert!(matches!(unsent.await, Err(ClientError::NotFound { why }) if why.contains("send it again")));

    put(&client, &digest("v1"), "v1").await.unwrap();
    let request = temps_wire::proto::DeployRequest { project: "No Name".to_owned(), ..deploy_request("v1") };
    let named = client.call(|mut api| {
        let request = request.clone();
        async move { api.deploy(request).await }
    });
    assert!(matches!(named.await, Err(ClientError::Invalid { why }) if why.contains("No Name")));

    let cancel = client.call(|mut api| async move { api.cancel(CancelRequest { deployment: 9 }).await });
    assert_eq!(cancel.await, Err(ClientError::NotFound { why: "there is no deployment #9".to_owned() }));
    let pause = client.call(|mut api| async move { api.pause(PauseRequest { deployment: 9 }).await });
    assert_eq!(pause.await, Err(ClientError::NotFound { why: "there is no deployment #9".to_owned() }));

    let back = RollbackRequest { project: "shop".to_owned(), environment: "production".to_owned(), to: None };
    let back = client.call(|mut api| {
        let back = back.clone();
        async move { api.rollback(back).await }
    });
    assert!(matches!(back.await, Err(ClientError::NotFound { .. })));
}

#[tokio::test]
async fn a_huge_name_never_reaches_the_log() {
    let cluster = Cluster::start(1).await;
    let before = cluster.log.state().index;
    let huge = "x".repeat(1_000_000);
    let answer = cluster
        .client()
        .call(|mut api| {
            let request = temps_wire::proto::CreateProjectRequest { name: huge.clone() };
            async move { api.create_project(request).await }
        })
        .await;
    assert!(matches!(answer, Err(ClientError::Invalid { .. })), "{answer:?}");
    assert_eq!(cluster.log.state().index, before);
}

async fn create_token(cluster: &Cluster, key: &str, name: &str) -> Result<ApiToken, ClientError> {
    let request = CreateTokenRequest {
        name: name.to_owned(),
        role: "deployer".to_owned(),
        ..CreateTokenRequest::default()
    };
    let client = cluster.client();
    let answer = client.call_with_key(key, |mut api| {
        let request = request.clone();
        async move { api.create_token(request).await }
    });
    Ok(answer.await?.token.parse().unwrap())
}

#[tokio::test]
async fn a_created_token_works_and_a_repeated_request_gives_the_same() {
    let cluster = Cluster::start(2).await;
    let token = create_token(&cluster, "k1", "ci").await.unwrap();
    assert_eq!(create_token(&cluster, "k1", "ci").await.unwrap(), token);
    let who = cluster
        .client_with(&token)
        .call(|mut api| async move { api.who_am_i(WhoAmIRequest {}).await })
        .await
        .unwrap();
    assert_eq!((who.name.as_str(), who.role.as_str(), who.node.as_str()), ("ci", "deployer", "node-1"));
    assert!(matches!(create_token(&cluster, "k2", "ci").await, Err(ClientError::Conflict { .. })));
}

#[tokio::test]
async fn a_join_token_is_for_this_cluster_and_bounded() {
    let cluster = Cluster::start(1).await;
    let create = async |ttl_ms: u64, uses: u32| {
        let request = CreateJoinTokenRequest { ttl_ms, uses };
        cluster.client().call(|mut api| async move { api.create_join_token(request).await }).await
    };
    let token: JoinToken = create(0, 0).await.unwrap().token.parse().unwrap();
    assert_eq!(token.fingerprint(), cluster.admin.fingerprint());
    let kept = cluster.log.state();
    let kept = kept.join_tokens.values().find(|t| t.hash == token.hash()).unwrap();
    assert_eq!(kept.uses, 1);
    assert!(matches!(create(u64::MAX, 1).await, Err(ClientError::Invalid { .. })));
    assert!(matches!(create(1_000, u32::MAX).await, Err(ClientError::Invalid { .. })));
    assert_eq!(cluster.nodes[0].identity.node, NodeId(1));
}

#[tokio::test]
async fn what_is_to_run_is_checked_before_it_reaches_the_log() {
    let cluster = Cluster::start(2).await.with_containers().await;
    let client = cluster.client();
    let before = cluster.log.state().index;
    let id = format!("sha256:{}", digest("image"));
    let image = |reference: &str, node| Source::Image {
        reference: reference.to_owned(),
        id: id.clone(),
        node: NodeId(node),
    };
    let build = |dockerfile: &str| Source::Build {
        context: file("never sent"),
        dockerfile: dockerfile.to_owned(),
        timeout: 1,
    };
    for (source, expected) in [
        (image("app 1.2", 1), "not the name of an image"),
        (image("app:1.2", 9), "n9, which is no node of this cluster"),
        (build("../Dockerfile"), "without `..`"),
    ] {
        match send(&client, request_of(&source)).await {
            Err(ClientError::Invalid { why }) => assert!(why.contains(expected), "{why:?}"),
            other => panic!("{other:?}"),
        }
    }
    match send(&client, request_of(&build("Dockerfile"))).await {
        Err(ClientError::NotFound { why }) => assert!(why.contains("send it again"), "{why:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.log.state().index, before);
    assert_eq!(send(&client, request_of(&image("app:1.2", 2))).await, Ok(1));
    assert_eq!(deploy_build(&client, "source").await, 2);
}
