use temps_core::command::{Action, Observation};
use temps_core::model::{DeploymentId, Phase};
use temps_ledger::Ledger;
use temps_wire::client::{Client, ClientError};
use temps_wire::proto::{
    Accepted, GetDeploymentRequest, GetSettingsRequest, GetSettingsResponse, RedeployRequest,
    SetSettingsRequest, SetSettingsResponse, Setting,
};

use super::cluster::{Cluster, deploy, deploy_request, digest, put};

async fn set(
    client: &Client,
    pairs: &[(&str, &str)],
    unset: &[&str],
) -> Result<SetSettingsResponse, ClientError> {
    let request = SetSettingsRequest {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        set: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        unset: unset.iter().map(|key| (*key).to_owned()).collect(),
    };
    let call = client.call(|mut api| {
        let request = request.clone();
        async move { api.set_settings(request).await }
    });
    call.await
}

async fn get(client: &Client) -> GetSettingsResponse {
    let request = GetSettingsRequest { project: "shop".to_owned(), environment: "production".to_owned() };
    let call = client.call(|mut api| {
        let request = request.clone();
        async move { api.get_settings(request).await }
    });
    call.await.unwrap()
}

async fn again(client: &Client, deployment: u64) -> Result<Accepted, ClientError> {
    client.call(|mut api| async move { api.redeploy(RedeployRequest { deployment }).await }).await
}

fn one(all: &GetSettingsResponse, key: &str) -> Setting {
    all.settings.iter().find(|setting| setting.key == key).unwrap().clone()
}

fn told(accepted: &Accepted) -> Vec<(&str, &str, Option<&str>)> {
    accepted.covered.iter().map(|c| (c.key.as_str(), c.value.as_str(), c.file.as_deref())).collect()
}

async fn succeed(cluster: &Cluster, number: u64) {
    let deployment = DeploymentId(number);
    cluster
        .plan(vec![Action::Begin { deployment }, Action::End { deployment, phase: Phase::Succeeded }])
        .await;
}

#[tokio::test]
async fn a_setting_is_seen_where_it_is_said_and_with_what_it_runs() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let answer = set(&client, &[("health.path", "/up")], &[]).await.unwrap();
    assert_eq!((answer.no_change, answer.deployment), (false, None), "nothing runs yet");
    let shown = get(&client).await;
    let path = one(&shown, "health.path");
    assert_eq!((shown.release, shown.pending), (None, false));
    assert_eq!((path.value.as_deref(), path.running, path.file), (Some("/up"), None, None));
    assert!(path.description.contains("health checks"), "{}", path.description);

    let first = deploy(&client, "v1").await;
    succeed(&cluster, first).await;
    cluster.report(1, Observation::Artifact { digest: digest("v1"), stored: true }).await;
    let shown = get(&client).await;
    let path = one(&shown, "health.path");
    assert_eq!((shown.deployment, shown.pending), (Some(first), false));
    assert_eq!(
        (path.running.as_deref(), path.file.as_deref(), path.origin.as_str()),
        (Some("/up"), Some("/"), "cluster")
    );
    let host = one(&shown, "health.host");
    assert_eq!((host.running, host.default_value, host.origin.as_str()), (None, None, "default"));

    // The next deployment would do otherwise, and what to deploy again is said.
    let pairs = [("deploy.drain_timeout", "10m"), ("rollback.error_rate_floor", "0.5%")];
    let answer = set(&client, &pairs, &["health.path"]).await.unwrap();
    assert_eq!(answer.deployment, Some(first));
    assert!(set(&client, &pairs, &["health.path"]).await.unwrap().no_change);
    let shown = get(&client).await;
    let (path, drain) = (one(&shown, "health.path"), one(&shown, "deploy.drain_timeout"));
    assert!(shown.pending);
    assert_eq!((path.value, path.running.as_deref(), path.next.as_deref()), (None, Some("/up"), Some("/")));
    assert_eq!((drain.running.as_deref(), drain.next.as_deref()), (Some("30s"), Some("10m")));

    let accepted = again(&client, first).await.unwrap();
    assert!(accepted.deployment > first && !accepted.no_change);
    let covered =
        [("deploy.drain_timeout", "10m", Some("30s")), ("rollback.error_rate_floor", "0.5%", Some("5%"))];
    assert_eq!(told(&accepted), covered);
    let number = accepted.deployment;
    let detail =
        client.call(|mut api| async move { api.get_deployment(GetDeploymentRequest { number }).await });
    let deployment = detail.await.unwrap().deployment.unwrap();
    assert_eq!((deployment.kind.as_str(), deployment.covered), ("deploy", accepted.covered));
    succeed(&cluster, number).await;
    assert!(!get(&client).await.pending);
}

#[tokio::test]
async fn who_deploys_is_told_what_the_cluster_puts_in_place_of_the_file() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    set(&client, &[("health.path", "/up"), ("health.interval", "5s")], &[]).await.unwrap();
    put(&client, &digest("v1"), "v1").await.unwrap();
    let request = deploy_request("v1");
    let preview = client.call(|mut api| {
        let request = request.clone();
        async move { api.preview_deployment(request).await }
    });
    let preview = preview.await.unwrap().covered;
    for no_change in [false, true] {
        let accepted = client.call(|mut api| {
            let request = request.clone();
            async move { api.deploy(request).await }
        });
        let accepted = accepted.await.unwrap();
        assert_eq!(accepted.no_change, no_change);
        // What the file says just so is not worth a word.
        assert_eq!(told(&accepted), [("health.path", "/up", Some("/"))]);
        assert_eq!(preview, accepted.covered);
    }
}

#[tokio::test]
async fn what_cannot_be_set_is_said_in_words() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let before = cluster.log.state().index;
    let long = format!("/{}", "x".repeat(300));
    for (pair, expected) in [
        (
            ("health.pth", "/up"),
            "there is no setting \"health.pth\"; there are: health.path, health.interval",
        ),
        (("health.path", "up"), "health.path: a path must start with `/`"),
        (("health.interval", "5"), "write for example \"5s\""),
        (("health.path", long.as_str()), "at most 256 fit"),
    ] {
        match set(&client, &[pair], &[]).await {
            Err(ClientError::Invalid { why }) => assert!(why.contains(expected), "{why:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(set(&client, &[], &["x"]).await, Err(ClientError::Invalid { .. })));
    assert_eq!(cluster.log.state().index, before, "nothing of it reached the log");
    assert!(matches!(again(&client, 9).await, Err(ClientError::NotFound { why }) if why.contains("#9")));
    let missing = GetSettingsRequest { project: "nope".to_owned(), environment: "production".to_owned() };
    let call = client.call(|mut api| {
        let missing = missing.clone();
        async move { api.get_settings(missing).await }
    });
    assert!(matches!(call.await, Err(ClientError::NotFound { why }) if why.contains("nope")));
}
