use http_body_util::BodyExt;
use temps_core::model::{
    Certificate, CertificateFrom, CertificateId, ClusterState, EnvironmentId, Opaque, ReleaseId, Role,
};
use temps_core::table::EdgeReport;
use temps_wire::identity::CLUSTER_NAME;
use temps_wire::token::ApiToken;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::cluster::{Cluster, deploy, within};
use super::peer::without_certificate;

/// Status and text of `/metrics`.
async fn scrape(cluster: &Cluster, token: Option<&str>) -> (u16, String) {
    let mut channel = without_certificate(cluster).await;
    let mut request = http::Request::get(format!("https://{CLUSTER_NAME}/metrics"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = channel.ready().await.unwrap().call(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn metrics_are_for_whoever_has_a_token() {
    let cluster = Cluster::start(1).await;
    assert_eq!(scrape(&cluster, None).await.0, 401);
    assert_eq!(scrape(&cluster, Some("nonsense")).await.0, 401);
    let token = ApiToken::random(cluster.admin.fingerprint());
    cluster.grant("prometheus", &token, Role::Viewer).await;
    let (status, text) = scrape(&cluster, Some(&token.reveal())).await;
    assert_eq!(status, 200, "{text}");
    for line in ["temps_node_up{node=\"node-1\"} 1", "# TYPE temps_requests_total counter", "temps_leads 1"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(&token.reveal()));
    let one_project = ApiToken::random(cluster.admin.fingerprint());
    cluster.grant("of-shop", &one_project, within("shop", Role::Admin)).await;
    assert_eq!(scrape(&cluster, Some(&one_project.reveal())).await.0, 403, "they tell of all projects");
}

#[tokio::test]
async fn the_ends_of_certificates_are_told_by_name() {
    let mut state = ClusterState::default();
    for (id, names, not_after) in
        [(1, vec!["a.example", "b.example"], 5_000_500), (2, vec!["a.example"], 9_000_000)]
    {
        let certificate = Certificate {
            names: names.into_iter().map(str::to_owned).collect(),
            chain: String::new(),
            key: Opaque(String::new()),
            not_before: 0,
            not_after,
            renew_at: 0,
            issuer: String::new(),
            from: CertificateFrom::Uploaded,
        };
        state.tls.certificates.insert(CertificateId(id), certificate);
    }
    let cluster = Cluster::start_from(1, state).await;
    let (_, text) = scrape(&cluster, Some(&cluster.admin.reveal())).await;
    for line in ["{name=\"a.example\"} 9000", "{name=\"b.example\"} 5000"] {
        assert!(text.contains(&format!("temps_certificate_not_after_seconds{line}\n")), "{text}");
    }
}

#[tokio::test]
async fn what_is_in_flight_is_told_by_release() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    let releases = [(ReleaseId(1), 12), (ReleaseId(2), 0)].into();
    let by_release = [(EnvironmentId(1), releases), (EnvironmentId(99), [(ReleaseId(3), 1)].into())].into();
    cluster.nodes[0].edge.send_replace(EdgeReport { by_release, ..EdgeReport::default() });
    let (_, text) = scrape(&cluster, Some(&cluster.admin.reveal())).await;
    let told: Vec<_> = text.lines().filter(|line| line.starts_with("temps_in_flight_requests")).collect();
    let of = "temps_in_flight_requests{project=\"shop\",environment=\"production\",release";
    let expected = [format!("{of}=\"r1\"}} 12"), format!("{of}=\"r2\"}} 0")];
    assert_eq!(told, expected, "an environment that is gone has no name");
}
