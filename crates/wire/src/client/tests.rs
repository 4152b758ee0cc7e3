use std::time::{Duration, Instant};

use temps_core::model::NodeId;
use tokio::net::TcpListener;
use tonic::service::Routes;

use super::{Client, ClientError, join};
use crate::identity::NodeIdentity;
use crate::proto::{JoinRequest, WhoAmIRequest};
use crate::serve::serve;
use crate::token::{ApiToken, JoinToken};

/// A node without any service.
async fn start(identity: NodeIdentity) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        serve(listener, &identity, std::sync::Arc::default(), Routes::default(), std::future::pending()).await
    });
    address
}

/// An address where nobody listens.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn cluster() -> (NodeIdentity, ApiToken) {
    let identity = NodeIdentity::found("test", NodeId(1)).unwrap();
    let token = ApiToken::random(identity.ca_fingerprint().unwrap());
    (identity, token)
}

async fn who_am_i(client: &Client) -> ClientError {
    client.call(|mut api| async move { api.who_am_i(WhoAmIRequest {}).await }).await.unwrap_err()
}

#[tokio::test]
async fn the_endpoint_that_works_is_used_and_remembered() {
    let (identity, token) = cluster();
    let (dead, alive) = (nobody().await, start(identity).await);
    let client = Client::new(vec![dead, format!("https://{alive}/")], &token);
    assert!(matches!(who_am_i(&client).await, ClientError::Other { .. }), "the node answers");
    assert!(client.endpoint().unwrap().contains(&alive));
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_passed_over() {
    let (identity, token) = cluster();
    // The kernel accepts for it, and nothing ever answers.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alive = start(identity).await;
    let client = Client::new(vec![frozen.local_addr().unwrap().to_string(), alive.clone()], &token);
    let began = Instant::now();
    assert!(matches!(who_am_i(&client).await, ClientError::Other { .. }), "the other node answers");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(client.endpoint(), Some(alive.as_str()));
}

#[tokio::test]
async fn another_cluster_is_refused_at_once() {
    let (_, token) = cluster();
    let (other, _) = cluster();
    let client = Client::new(vec![start(other.clone()).await], &token);
    let began = Instant::now();
    let error = who_am_i(&client).await;
    assert!(
        matches!(&error, ClientError::Unauthenticated { why } if why.contains("another cluster")),
        "{error}"
    );
    let token = JoinToken::random(token.fingerprint());
    let error = join(&start(other).await, &token, JoinRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unauthenticated { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let (_, token) = cluster();
    let address = nobody().await;
    let client = Client::new(vec![address.clone()], &token).with_patience(Duration::from_millis(300));
    let error = who_am_i(&client).await;
    assert!(matches!(&error, ClientError::Unreachable { why } if why.contains(&address)), "{error}");
    let client = Client::new(Vec::new(), &token);
    assert!(matches!(who_am_i(&client).await, ClientError::Unreachable { .. }));
}

#[tokio::test]
async fn a_client_never_prints_its_token() {
    let (_, token) = cluster();
    let client = Client::new(vec!["127.0.0.1:1".to_owned()], &token);
    let secret = token.reveal();
    assert!(!format!("{client:?}").contains(secret.rsplit('.').next().unwrap()));
}
