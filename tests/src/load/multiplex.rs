//! Requests as streams of one HTTP/2 connection for each edge, which is opened again when the edge ends it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex;

use super::exchange::{Found, Payload, Pool, Reply, check, lost, none, who};
use super::shot::Answer;

/// Time between signs of life on the connection.
const PING: Duration = Duration::from_secs(5);

/// The connection that all streams share.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Option<SendRequest<Payload>>>);

impl Shared {
    /// The connection, where it takes streams, or a new one. Refusing new streams is the edge's right.
    async fn sender(&self, pool: &Pool) -> Found<SendRequest<Payload>> {
        let mut kept = self.0.lock().await;
        if let Some(sender) = kept.as_mut().filter(|sender| !sender.is_closed())
            && sender.ready().await.is_ok()
        {
            return Ok(sender.clone());
        }
        let io = TokioIo::new(pool.stream().await?);
        let opened = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .handshake(io)
            .await;
        let (sender, connection) = opened.map_err(|error| lost(&error))?;
        tokio::spawn(async move {
            // Each stream tells how it ended.
            let _ = connection.await;
        });
        Ok(kept.insert(sender).clone())
    }
}

/// Sends an even number as a GET, an odd one as a POST, and checks what comes back.
pub(super) async fn exchange(pool: &Pool, host: &str, number: u64) -> Found<Answer> {
    let said = format!("stream {number};").repeat(1 + usize::try_from(number % 300).unwrap_or(0));
    let posts = number % 2 == 1;
    let mut request =
        Request::new(if posts { Full::new(Bytes::from(said.clone())).boxed_unsync() } else { none() });
    let path = if posts { "/echo" } else { "/" };
    *request.method_mut() = if posts { Method::POST } else { Method::GET };
    // Hosts are test names and make a valid address.
    *request.uri_mut() = format!("http://{host}{path}").parse().unwrap_or_default();
    let mut sender = pool.shared.sender(pool).await?;
    let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| lost(&error))?.to_bytes();
    let reply = Reply { status: head.status, who: who(&head.headers), body };
    check(reply, |version, body| {
        if posts {
            body == said.as_bytes()
        } else {
            body.starts_with(format!("hello from {version} ").as_bytes())
        }
    })
}
