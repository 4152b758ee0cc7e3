//! Clients with TLS: which certificate a connection is shown, and what is answered about it.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{Entry, HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{Request, Response, Uri};
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tracing::{debug, warn};

use crate::answer::Why;
use crate::asked::Asked;
use crate::body::Answer;
use crate::client::{self, Client};
use crate::identity::HTTP2;
use crate::keyring::{ACME, Shown, proof};
use crate::told::PROTO;
use crate::worker::Worker;

/// How a handshake goes on.
enum Showing {
    Certificate(Arc<Shown>),
    /// It will ask for nothing.
    Proof(Arc<ServerConfig>),
    Nothing(Arc<ServerConfig>),
}

/// Serves one connection of a client with TLS.
pub(crate) async fn serve(worker: Rc<Worker>, mut stream: TcpStream, peer: IpAddr) {
    let Some(admitted) = client::admit(&worker, peer) else { return };
    let handshake = async {
        let Some((ip, early)) = client::who(&worker, &mut stream, peer).await else { return Ok(None) };
        let stream = Early { early, stream };
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let showing = showing(&worker, &start.client_hello());
        Ok::<_, std::io::Error>(match showing {
            Showing::Certificate(shown) => {
                let stream = start.into_stream(Arc::clone(&shown.config)).await?;
                Some((stream, ip, shown))
            }
            Showing::Proof(config) | Showing::Nothing(config) => {
                drop(start.into_stream(config).await?);
                None
            }
        })
    };
    let shaken = tokio::select! {
        biased;
        shaken = tokio::time::timeout(worker.limits.head, handshake) => shaken,
        () = admitted.connection.ordered() => return,
    };
    let (stream, ip, shown) = match shaken {
        Ok(Ok(Some(shaken))) => shaken,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => return debug!(%error, "a client's handshake failed"),
        Err(_) => return debug!("a client's handshake took too long"),
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    let mut client = Client::new(ip, "https", &worker.shared.trusted);
    client.shown = Some(shown);
    client::converse(worker, stream, Bytes::new(), http2, Rc::new(client), admitted).await;
}

/// A connection of which something was read already.
#[derive(Debug)]
struct Early {
    early: Bytes,
    stream: TcpStream,
}

impl AsyncRead for Early {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Early {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

fn showing(worker: &Worker, hello: &ClientHello<'_>) -> Showing {
    let keyring = worker.keyring();
    // Names in a handshake are ASCII, without a dot at the end.
    let host = hello.server_name().map(str::to_ascii_lowercase).unwrap_or_default();
    if hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME)) {
        if let Some(authorization) = worker.challenge(&host, |_| true) {
            match proof(&host, &authorization) {
                Ok(config) => return Showing::Proof(config),
                Err(why) => warn!(host, why, "no proof for a server of ACME can be made"),
            }
        }
        return Showing::Nothing(keyring.nobody());
    }
    match keyring.find(&host) {
        Some(shown) => Showing::Certificate(Arc::clone(shown)),
        None => Showing::Nothing(keyring.nobody()),
    }
}

/// Where a server of ACME asks, before the token (RFC 8555 section 8.3).
pub(crate) const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Where everybody is told whose edge this is; the rest of the path is short.
const CLUSTER: &str = "/.well-known/temps-cluster/";
const QUESTION_MAX: usize = 64;

/// What is answered before anybody is asked.
pub(crate) fn instead<B>(
    worker: &Worker,
    client: &Client,
    asked: &Asked,
    request: &Request<B>,
) -> Option<Why> {
    let (host, uri) = (asked.name(), request.uri());
    if let Some(token) = uri.path().strip_prefix(CHALLENGES)
        && let Some(authorization) = worker.challenge(host, |challenge| challenge.token == token)
    {
        return Some(Why::Proof(authorization));
    }
    if let Some(question) = uri.path().strip_prefix(CLUSTER)
        && question.len() <= QUESTION_MAX
        && worker.knows(host)
    {
        return Some(Why::Proof(worker.shared.tls.vouch(question)));
    }
    if let Some(shown) = &client.shown {
        return (!shown.covers(host)).then_some(Why::OtherHost);
    }
    let port = worker.https?;
    // Where a trusted proxy has taken the TLS off, it was there.
    if client.trusted.is_some() && request.headers().get(PROTO).is_some_and(|proto| proto == "https") {
        return None;
    }
    let keyring = worker.keyring();
    if keyring.is_empty() || !worker.route(host, uri.path(), |route| route.redirect).unwrap_or(false) {
        return None;
    }
    keyring.find(host).and_then(|_| with_tls(host, port, uri)).map(Why::Elsewhere)
}

/// For how many seconds a client is told to come by TLS alone.
pub(crate) fn hsts(worker: &Worker, client: &Client, asked: &Asked, uri: &Uri) -> Option<u64> {
    client.shown.as_ref().and_then(|_| worker.route(asked.name(), uri.path(), |route| route.hsts))?
}

/// Tells a client so, where the application has not.
pub(crate) fn insist(response: &mut Response<Answer>, seconds: u64) {
    if let Entry::Vacant(line) = response.headers_mut().entry(STRICT_TRANSPORT_SECURITY)
        && let Ok(value) = HeaderValue::try_from(format!("max-age={seconds}"))
    {
        line.insert(value);
    }
}

/// The same place, with TLS, where that is at `port`.
fn with_tls(host: &str, port: u16, uri: &Uri) -> Option<HeaderValue> {
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()
}
