//! One HTTP request and its answer, checked byte by byte.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::multiplex::Shared;
use super::shot::{Answer, Cause, Miss};
use super::{Kind, multiplex, socket};
use crate::trouble::chain;

/// The size of a large body, in bytes.
const LARGE: usize = 102_400;

/// Events that an event stream surely brings in three seconds: one at once, then one a second.
const EVENTS: usize = 2;

pub(super) type Payload = UnsyncBoxBody<Bytes, Infallible>;
pub(super) type Found<T> = std::result::Result<T, Miss>;

/// Connections to one edge, kept while they are idle.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) address: SocketAddr,
    idle: Mutex<Vec<SendRequest<Payload>>>,
    pub(super) shared: Shared,
}

impl Pool {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::new(Vec::new()), shared: Shared::default() }
    }

    pub(super) async fn stream(&self) -> Found<TcpStream> {
        let refused = |error: std::io::Error| Miss::new(Cause::Connect, error.to_string());
        let stream = TcpStream::connect(self.address).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        Ok(stream)
    }

    async fn fresh(&self) -> Found<SendRequest<Payload>> {
        let io = TokioIo::new(self.stream().await?);
        let (sender, connection) = http1::handshake(io).await.map_err(|error| lost(&error))?;
        tokio::spawn(async move {
            // The request that it carried tells how it ended.
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// An idle connection that the edge has not closed, or a fresh one. Closing an idle connection is
    /// the edge's right; nothing was sent on it.
    async fn kept(&self) -> Found<SendRequest<Payload>> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut sender) = idle else {
                return self.fresh().await;
            };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
    }

    fn keep(&self, sender: SendRequest<Payload>) {
        if !sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
    }
}

/// Sends request `number` and checks what comes back.
pub(super) async fn exchange(kind: Kind, number: u64, pool: &Pool, host: &str) -> Found<Answer> {
    let send = |request| one(kind, pool, request);
    let build = |method, target: String, body| Ask { number, host, method, target, body }.request();
    match kind {
        Kind::WebSocket => socket::session(pool, host, number).await,
        Kind::Http2 => multiplex::exchange(pool, host, number).await,
        Kind::Fresh | Kind::KeepAlive => {
            let response = send(build(Method::GET, "/".to_owned(), none())).await?;
            check(response, |version, body| body.starts_with(format!("hello from {version} ").as_bytes()))
        }
        Kind::Slow => {
            let ms = kind.duration(number).as_millis();
            let response = send(build(Method::GET, format!("/slow?ms={ms}"), none())).await?;
            check(response, |version, body| body == format!("slept {ms} ms in {version}").as_bytes())
        }
        Kind::Download => {
            let response = send(build(Method::GET, format!("/bytes?n={LARGE}"), none())).await?;
            check(response, |_, body| body == alphabet(LARGE))
        }
        Kind::Post => {
            let text = format!("order {number};").repeat(1 + usize::try_from(number % 50).unwrap_or(0));
            let body = Full::new(Bytes::from(text.clone())).boxed_unsync();
            let response = send(build(Method::POST, "/echo".to_owned(), body)).await?;
            check(response, |_, body| body == text.as_bytes())
        }
        Kind::Upload => {
            let body = Full::new(Bytes::from(alphabet(LARGE))).boxed_unsync();
            let response = send(build(Method::POST, "/echo".to_owned(), body)).await?;
            check(response, |_, body| body == alphabet(LARGE))
        }
        Kind::Chunked => {
            let response = send(build(Method::POST, "/echo".to_owned(), chunks(number))).await?;
            let expected: String = (0..CHUNKS).map(|n| chunk(number, n)).collect();
            check(response, |_, body| body == expected.as_bytes())
        }
        Kind::Count => {
            let response = send(build(Method::POST, "/count".to_owned(), none())).await?;
            check(response, |_, body| body == format!("r{number}").as_bytes())
        }
        Kind::Events => {
            let request = build(Method::GET, "/sse".to_owned(), none());
            let response = pool.fresh().await?.send_request(request).await;
            events(response.map_err(|error| lost(&error))?, kind.duration(number)).await
        }
    }
}

/// Who an application says it is.
pub(super) struct Who {
    pub(super) version: String,
    pub(super) project: String,
}

impl Who {
    /// An answer of this application.
    pub(super) fn answered(self, is_error: bool) -> Answer {
        Answer { version: self.version, project: self.project, is_error }
    }
}

/// What the application sent, and who it says it is.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) who: Option<Who>,
    pub(super) body: Bytes,
}

struct Ask<'a> {
    number: u64,
    host: &'a str,
    method: Method,
    target: String,
    body: Payload,
}

impl Ask<'_> {
    fn request(self) -> Request<Payload> {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        // Targets are written in this file and hosts are test names: both are always valid.
        *request.uri_mut() = self.target.parse().unwrap_or_default();
        let values = [(header::HOST, self.host.to_owned()), (X_NUMBER, format!("r{}", self.number))];
        for (name, value) in values {
            if let Ok(value) = value.parse() {
                request.headers_mut().insert(name, value);
            }
        }
        request
    }
}

const X_NUMBER: header::HeaderName = header::HeaderName::from_static("x-number");

async fn one(kind: Kind, pool: &Pool, request: Request<Payload>) -> Found<Reply> {
    let keeps = !matches!(kind, Kind::Fresh);
    let mut sender = if keeps { pool.kept().await? } else { pool.fresh().await? };
    let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| lost(&error))?.to_bytes();
    if keeps {
        pool.keep(sender);
    }
    Ok(Reply { status: head.status, who: who(&head.headers), body })
}

/// Who answered, if an application did.
pub(super) fn who(headers: &http::HeaderMap) -> Option<Who> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Some(Who { version: text("x-version")?, project: text("x-project").unwrap_or_default() })
}

pub(super) fn check(answer: Reply, is_right: impl Fn(&str, &[u8]) -> bool) -> Found<Answer> {
    let Reply { status, who, body } = answer;
    let shown = || String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
    let Some(who) = who else {
        return Err(Miss::new(Cause::Platform, format!("{status} not from the application: {}", shown())));
    };
    if status.is_server_error() {
        return Ok(who.answered(true));
    }
    if !is_right(&who.version, &body) {
        return Err(Miss::new(Cause::Body, format!("{status}, {} bytes: {}", body.len(), shown())));
    }
    Ok(who.answered(false))
}

/// Reads events until the client has had enough; an end before is a cut.
async fn events(response: Response<Incoming>, time: Duration) -> Found<Answer> {
    let Some(who) = who(response.headers()) else {
        let detail = format!("{} not from the application", response.status());
        return Err(Miss::new(Cause::Platform, detail));
    };
    let mut body = response.into_body();
    let mut text = Vec::new();
    let read = async {
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Err(error) => return chain(&error),
            }
        }
        "the stream ended".to_owned()
    };
    if let Ok(ended) = tokio::time::timeout(time, read).await {
        return Err(Miss::new(Cause::Cut, ended));
    }
    let seen = text.windows(6).filter(|window| *window == b"data: ").count();
    if seen < EVENTS {
        return Err(Miss::new(Cause::Body, format!("{seen} events in {time:?}")));
    }
    Ok(who.answered(false))
}

pub(super) fn lost(error: &hyper::Error) -> Miss {
    Miss::new(Cause::Reset, chain(error))
}

pub(super) fn none() -> Payload {
    Empty::new().boxed_unsync()
}

const CHUNKS: u64 = 5;

fn chunk(number: u64, n: u64) -> String {
    format!("part {n} of {number}\n").repeat(20)
}

fn chunks(number: u64) -> Payload {
    let parts = stream::unfold(0, move |n| async move {
        if n == CHUNKS {
            return None;
        }
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some((Ok(Frame::data(Bytes::from(chunk(number, n)))), n + 1))
    });
    StreamBody::new(parts).boxed_unsync()
}

/// What the application sends for `/bytes`.
fn alphabet(n: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(n).collect()
}
