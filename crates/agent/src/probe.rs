//! One health check over HTTP/1.1, or over HTTP/2 where the application speaks that alone.
//!
//! A check looks like real traffic: the same port, the application's own Host. It follows no redirect,
//! and only the expected status passes. What the answers add up to is not known here.

mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use temps_core::model::{Health, Protocol};
use temps_core::text;
use tokio::net::TcpStream;

/// How applications recognise a check in their logs.
const USER_AGENT: &str = concat!("temps-health/", env!("CARGO_PKG_VERSION"));
/// How much of an answer's body is read, so that small servers do not see a broken connection.
const BODY_READ: usize = 64 * 1024;
/// How long that may take.
const BODY_WAIT: Duration = Duration::from_millis(50);
/// How much of a `Location` is shown.
const LOCATION_SHOWN: usize = 200;

/// What a check brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// It was the expected status.
    pub(crate) passed: bool,
    /// What came, for a person. It is the same text for the same answer.
    pub(crate) text: String,
}

/// Makes one check on a fresh connection.
pub(crate) async fn check(address: SocketAddr, host: &str, health: &Health, protocol: Protocol) -> Answer {
    let limit = Duration::from_millis(health.timeout);
    match tokio::time::timeout(limit, ask(address, host, &health.path, protocol)).await {
        Ok(Ok(response)) => {
            let mut answer = judge(&response, health.expect);
            // So answer many servers that want TLS.
            let may_want_tls = response.status() == StatusCode::BAD_REQUEST && !answer.passed;
            if may_want_tls && tls::speaks(address).await {
                answer.text = format!("{}: {}", answer.text, only_tls(address));
            }
            answer
        }
        Ok(Err(Failure::NotHttp(_))) if tls::speaks(address).await => {
            Answer { passed: false, text: format!("not HTTP: {}", only_tls(address)) }
        }
        Ok(Err(Failure::NotHttp(text) | Failure::Other(text))) => Answer { passed: false, text },
        Err(_) => {
            Answer { passed: false, text: format!("no answer within {}", text::duration(health.timeout)) }
        }
    }
}

fn judge(response: &Response<()>, expect: u16) -> Answer {
    let status = response.status().as_u16();
    if status == expect {
        return Answer { passed: true, text: format!("answered {status}") };
    }
    let to = match response.headers().get(header::LOCATION) {
        Some(location) => format!(" to {}", shown(location.as_bytes())),
        None => String::new(),
    };
    Answer { passed: false, text: format!("answered {status}{to}, expected {expect}") }
}

fn shown(location: &[u8]) -> String {
    let text = String::from_utf8_lossy(location);
    text.chars().filter(|c| !c.is_control()).take(LOCATION_SHOWN).collect()
}

fn only_tls(address: SocketAddr) -> String {
    format!("port {} speaks TLS, and has to speak plain HTTP", address.port())
}

/// Why there is no answer, for a person.
enum Failure {
    /// There is a connection, and what came over it is no answer.
    NotHttp(String),
    Other(String),
}

async fn ask(
    address: SocketAddr,
    host: &str,
    path: &str,
    protocol: Protocol,
) -> Result<Response<()>, Failure> {
    let request = match protocol {
        Protocol::Http1 => Request::get(path).header(header::HOST, host).header(header::CONNECTION, "close"),
        Protocol::Http2 => Request::get(format!("http://{host}{path}")),
    };
    let request = request
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header("x-forwarded-proto", "http")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the check cannot be made with path {path:?} and host {host:?}: {error}"))
        .map_err(Failure::Other)?;

    let stream = TcpStream::connect(address).await.map_err(|error| unreachable(address.port(), &error))?;
    let io = TokioIo::new(stream);
    if protocol == Protocol::Http2 {
        let shaken = http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = shaken.map_err(|error| broken(&error))?;
        return alongside(connection, async move { sender.send_request(request).await }).await;
    }
    let (mut sender, connection) = http1::handshake(io).await.map_err(|error| broken(&error))?;
    alongside(connection, async move { sender.send_request(request).await }).await
}

/// The answer, while the connection moves.
async fn alongside(
    connection: impl Future<Output = hyper::Result<()>>,
    asked: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> Result<Response<()>, Failure> {
    let asking = async { Ok(without_body(asked.await.map_err(|error| broken(&error))?).await) };
    tokio::pin!(connection);
    tokio::pin!(asking);
    // The connection only moves while it is polled; its own end is told through the request.
    tokio::select! {
        biased;
        response = &mut asking => response,
        _ = &mut connection => asking.await,
    }
}

async fn without_body(response: Response<Incoming>) -> Response<()> {
    let (parts, body) = response.into_parts();
    let _ = tokio::time::timeout(BODY_WAIT, Limited::new(body, BODY_READ).collect()).await;
    Response::from_parts(parts, ())
}

fn unreachable(port: u16, error: &io::Error) -> Failure {
    Failure::Other(match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused on port {port}"),
        _ => format!("no connection to port {port}: {error}"),
    })
}

fn broken(error: &hyper::Error) -> Failure {
    Failure::NotHttp(if error.is_parse() { format!("not HTTP: {error}") } else { silence(error) })
}

fn silence(error: &hyper::Error) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionReset) {
            return "the connection was reset without an answer".to_owned();
        }
        cause = inner.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "the connection was closed without an answer".to_owned();
    }
    format!("no answer: {error}")
}

#[cfg(test)]
mod tests;
