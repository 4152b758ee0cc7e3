use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use temps_core::command::Command;
use temps_core::model::{DeploymentId, Role, Source};
use temps_ledger::Ledger;
use temps_wire::identity::CLUSTER_NAME;
use temps_wire::tls::pinned_client_config;
use temps_wire::token::ApiToken;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::cluster::{Cluster, deploy, digest};
use crate::operations::ROLES;

/// What was asked, and how.
pub(super) struct Asked<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) body: Option<Bytes>,
    pub(super) headers: &'a [(&'a str, &'a str)],
}

pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) headers: http::HeaderMap,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }
}

/// Asks over HTTP/1.1, as programs do that know nothing else.
pub(super) async fn send(cluster: &Cluster, asked: Asked<'_>) -> Answered {
    let answer = send_to(cluster, 0, asked).await;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let text = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answered { status, kind, text, headers }
}

/// Returns when the head has come.
pub(super) async fn send_to(cluster: &Cluster, node: usize, asked: Asked<'_>) -> http::Response<Incoming> {
    let mut tls = (*pinned_client_config(cluster.admin.fingerprint()).unwrap()).clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tcp = TcpStream::connect(&cluster.nodes[node].address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from(CLUSTER_NAME).unwrap();
    let tls = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    let mut request =
        http::Request::builder().method(asked.method).uri(asked.path).header("host", CLUSTER_NAME);
    if let Some(token) = asked.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in asked.headers {
        request = request.header(*name, *value);
    }
    if asked.body.is_some() && !asked.headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(asked.body.unwrap_or_default())).unwrap();
    sender.send_request(request).await.unwrap()
}

async fn ask(cluster: &Cluster, method: &str, path: &str, body: Option<Value>) -> Answered {
    let token = cluster.admin.reveal();
    let body = body.map(|body| Bytes::from(body.to_string()));
    send(cluster, Asked { token: Some(&token), method, path, body, headers: &[] }).await
}

/// A refusal says what, as text for a person, under the right status.
fn refuses(answered: &Answered, status: u16, says: &str) {
    assert_eq!(
        (answered.status, answered.kind.as_str()),
        (status, "application/problem+json"),
        "{}",
        answered.text
    );
    let problem = answered.json();
    assert_eq!(problem["status"], json!(status));
    assert!(problem["detail"].as_str().unwrap().contains(says), "{says:?} is not in {problem}");
}

#[tokio::test]
async fn what_grpc_can_http_can() {
    let cluster = Cluster::start(1).await;
    let document = ask(&cluster, "GET", "/api/openapi.json", None).await.json();
    let mut described = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.push(operation["operationId"].as_str().unwrap().to_owned());
            // What is described is there.
            let at = path.replace(['{', '}'], "");
            let answered = ask(&cluster, &method.to_uppercase(), &at, None).await;
            assert_ne!(answered.status, 405, "{method} {path}");
            assert!(!answered.text.contains("there is no /api"), "{method} {path}");
        }
    }
    described.sort();
    let mut all: Vec<_> = ROLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    all.sort();
    assert_eq!(described, all);
}

#[tokio::test]
async fn a_program_without_grpc_can_look_and_change() {
    let cluster = Cluster::start(1).await;
    let token = cluster.admin.reveal();
    let key = [("idempotency-key", "k1")];
    let mut told = Vec::new();
    for _ in 0..2 {
        let body = Some(json!({ "name": "ci", "role": "deployer" }).to_string().into());
        let create =
            Asked { token: Some(&token), method: "POST", path: "/api/v1/tokens", body, headers: &key };
        told.push(send(&cluster, create).await.json());
    }
    assert_eq!(told[0], told[1], "the same key is the same token");
    let made = told[0]["token"].as_str().unwrap();
    let project = json!({ "name": "shop" });
    let (token, path) = (Some(made), "/api/v1/projects");
    let create = Asked { token, method: "POST", path, body: Some(project.to_string().into()), headers: &[] };
    let created = send(&cluster, create).await;
    assert_eq!((created.status, created.text.as_str()), (200, "{}"));
    // A key that was used for something else is another key.
    let cancel =
        Asked { token, method: "POST", path: "/api/v1/deployments/7/cancel", body: None, headers: &key };
    refuses(&send(&cluster, cancel).await, 404, "#7");
    let listed = ask(&cluster, "GET", "/api/v1/projects", None).await.json();
    assert_eq!(listed, json!({ "names": ["shop"] }));

    let at = "/api/v1/projects/shop/environments/production/variables";
    let set = json!({ "set": { "COLOUR": "blue" } });
    assert_eq!(ask(&cluster, "PATCH", at, Some(set)).await.status, 200);
    let names = ask(&cluster, "GET", at, None).await.json();
    assert_eq!(names, json!({ "variables": { "COLOUR": "" } }));
    let values = ask(&cluster, "GET", &format!("{at}?values=true"), None).await.json();
    assert_eq!(values, json!({ "variables": { "COLOUR": "blue" } }));

    let at = "/api/v1/projects/shop/environments/production/settings";
    let set = json!({ "set": { "health.path": "/up" }, "unset": ["deploy.deadline"] });
    let answered = ask(&cluster, "PATCH", at, Some(set)).await.json();
    assert_eq!(answered, json!({ "no_change": false, "deployment": null }));
    let settings = ask(&cluster, "GET", at, None).await.json();
    assert_eq!(
        (&settings["settings"][0]["key"], &settings["settings"][0]["value"]),
        (&json!("health.path"), &json!("/up"))
    );
    refuses(&ask(&cluster, "POST", "/api/v1/deployments/7/redeploy", None).await, 404, "#7");

    let node = ask(&cluster, "POST", "/api/v1/nodes/1/cordon", None).await;
    assert_eq!(node.json(), json!({ "no_change": false }));
    let nodes = ask(&cluster, "GET", "/api/v1/nodes", None).await.json();
    assert_eq!(nodes["nodes"][0]["cordoned"], json!(true));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let cluster = Cluster::start(1).await;
    let get = async |path: &str| ask(&cluster, "GET", path, None).await;
    refuses(&get("/api/v1/nothing").await, 404, "/api/openapi.json");
    refuses(&ask(&cluster, "DELETE", "/api/v1/projects", None).await, 405, "does not take DELETE");
    refuses(&get("/api/v1/deployments/seven").await, 400, "invalid digit");
    refuses(&get("/api/v1/deployments/7").await, 404, "#7");
    refuses(&get("/api/v1/deployments?colour=blue").await, 400, "colour");
    refuses(&get("/api/v1/deployments?limit=1&limit=2").await, 400, "limit");
    refuses(&get("/api/v1/projects/a%20b/environments/production/variables").await, 404, "a b");
    let post = async |path: &str, body: Value| ask(&cluster, "POST", path, Some(body)).await;
    refuses(&post("/api/v1/projects", json!({ "nam": "shop" })).await, 400, "nam");
    refuses(&post("/api/v1/projects", json!({ "name": 7 })).await, 400, "expected a string");
    refuses(&post("/api/v1/projects", json!([])).await, 400, "an object");
    refuses(&post("/api/v1/deployments/x/cancel", json!({})).await, 400, "no number");
    refuses(&post("/api/v1/deployments/7/cancel", json!({ "deployment": 8 })).await, 400, "in the path");
    refuses(&post("/api/v1/deployments/7/cancel?now=1", json!({})).await, 400, "takes no query");
    let at = "/api/v1/projects/shop/environments/production/deployments";
    refuses(&post(at, json!({})).await, 400, "nothing was deployed there yet");

    let admin = cluster.admin.reveal();
    let form = Asked {
        token: Some(&admin),
        method: "POST",
        path: "/api/v1/projects",
        body: Some(json!({ "name": "shop" }).to_string().into()),
        headers: &[("content-type", "text/plain")],
    };
    refuses(&send(&cluster, form).await, 400, "application/json");

    let viewer = ApiToken::random(cluster.admin.fingerprint());
    cluster.grant("eve", &viewer, Role::Viewer).await;
    let viewer = viewer.reveal();
    let create = |token| Asked {
        token,
        method: "POST",
        path: "/api/v1/projects",
        body: Some(json!({ "name": "shop" }).to_string().into()),
        headers: &[],
    };
    refuses(&send(&cluster, create(None)).await, 401, "temps login");
    refuses(&send(&cluster, create(Some("nonsense"))).await, 401, "token");
    refuses(&send(&cluster, create(Some(&viewer))).await, 403, "needs a deployer");
    // Whether something is there is told to nobody who may not look.
    let peek =
        Asked { token: None, method: "POST", path: at, body: Some(Bytes::from_static(b"{}")), headers: &[] };
    refuses(&send(&cluster, peek).await, 401, "temps login");
}

#[tokio::test]
async fn a_job_deploys_what_it_has_stored() {
    let cluster = Cluster::start(1).await;
    let content = "a bundle".repeat(1000);
    let sum = digest(&content);
    let token = cluster.admin.reveal();
    let path = format!("/api/v1/bundles/{sum}");
    let put = |token, content: &[u8]| Asked {
        token,
        method: "PUT",
        path: &path,
        body: Some(Bytes::copy_from_slice(content)),
        headers: &[("content-type", "application/octet-stream")],
    };
    refuses(&send(&cluster, put(None, content.as_bytes())).await, 401, "temps login");
    refuses(&send(&cluster, put(Some(&token), b"another")).await, 400, "announced digest");
    assert_eq!(ask(&cluster, "GET", &path, None).await.json(), json!({ "stored": false }));
    let stored = send(&cluster, put(Some(&token), content.as_bytes())).await;
    assert_eq!(stored.json(), json!({ "nodes": ["node-1"] }));
    assert_eq!(ask(&cluster, "GET", &path, None).await.json(), json!({ "stored": true }));

    let number = deploy(&cluster.client(), "v1").await;
    let state = cluster.log.state();
    let release = &state.releases[&state.deployments[&DeploymentId(number)].to];
    let Source::Bundle { bundle } = &release.source else { panic!("it is a bundle") };
    let wish = json!({
        "bundle": { "digest": bundle.digest, "bytes": bundle.bytes },
        "settings": serde_json::to_value(&release.spec).unwrap(),
    });
    let at = "/api/v1/projects/other/environments/production/deployments";
    let answered = ask(&cluster, "POST", at, Some(wish)).await.json();
    assert_eq!(answered, json!({ "deployment": number + 1, "no_change": false, "covered": [] }));
    let detail = ask(&cluster, "GET", &format!("/api/v1/deployments/{}", number + 1), None).await.json();
    assert_eq!(detail["deployment"]["project"], json!("other"));
}

#[tokio::test]
async fn a_timeline_resumes_where_it_was_left() {
    let cluster = Cluster::start(1).await;
    let number = deploy(&cluster.client(), "v1").await;
    cluster.write(Command::Cancel { deployment: DeploymentId(number) }).await;
    let path = format!("/api/v1/deployments/{number}/events");
    let all = ask(&cluster, "GET", &path, None).await;
    assert_eq!((all.status, all.kind.as_str()), (200, "text/event-stream"));
    let events: Vec<&str> = all.text.split_terminator("\n\n").collect();
    let kinds: Vec<Value> = events
        .iter()
        .map(|event| {
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            serde_json::from_str::<Value>(data).unwrap()["kind"].clone()
        })
        .collect();
    assert_eq!(kinds, ["accepted", "ended"]);
    let first = events[0].lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    let token = cluster.admin.reveal();
    let resume = |id| Asked { token: Some(&token), method: "GET", path: &path, body: None, headers: id };
    let after_first = [("last-event-id", first)];
    let rest = send(&cluster, resume(&after_first)).await;
    assert_eq!(rest.text.trim_end(), events[1]);
    refuses(&send(&cluster, resume(&[("last-event-id", "yesterday")])).await, 400, "120.0");
}
