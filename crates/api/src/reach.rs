//! Whether a node of this cluster answers at an address of the public network.
//!
//! Every edge answers below [`PATH`] with a digest of what it is asked and of the cluster's CA certificate, which nobody
//! else has.

use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use temps_wire::token::Fingerprint;
use tokio::net::TcpStream;

/// Where edges say whose they are.
const PATH: &str = "/.well-known/temps-cluster/";
/// How long one address may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 1_024;

/// # Errors
/// What is there instead, for a person.
pub(crate) async fn node_at(address: SocketAddr, name: &str, cluster: Fingerprint) -> Result<(), String> {
    let asking = tokio::time::timeout(PATIENCE, ask(address, name, cluster));
    asking.await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

async fn ask(address: SocketAddr, name: &str, cluster: Fingerprint) -> Result<(), String> {
    let question = hex::encode(rand::random::<[u8; 16]>());
    let stream = TcpStream::connect(address).await.map_err(|why| format!("no connection: {why}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|why| format!("no HTTP: {why}"))?;
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("{PATH}{question}")).header("host", name).body(Empty::<&[u8]>::new());
    let request = request.map_err(|why| why.to_string())?;
    let answer = sender.send_request(request).await.map_err(|why| format!("no HTTP: {why}"))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await.map(|body| body.to_bytes());
    connection.abort();
    let expected = hex::encode(Sha256::new().chain_update(cluster.0).chain_update(&question).finalize());
    match body {
        Ok(body) if body.trim_ascii() == expected.as_bytes() => Ok(()),
        _ => Err(format!("another server answers there ({status})")),
    }
}
