//! The one listener of a node: TLS by our own acceptor, HTTP/2 and HTTP/1.1, and who is at the other end.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use temps_core::model::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::service::Routes;
use tower::Service;
use tracing::{debug, warn};

use crate::identity::{NodeIdentity, certified_node};
use crate::shown::Shown;
use crate::tls::{TlsError, server_config};

/// Who opened the connection of a request: a node, by its verified certificate, or somebody without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity(pub Option<NodeId>);

/// From where a connection came, where that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerAddress(pub Option<IpAddr>);

/// Time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many handshakes may be under way, and how many connections without a node's certificate may be
/// open. More are closed at once, so that a flood exhausts no memory and never keeps nodes apart.
const HANDSHAKES_MAX: usize = 1_024;
const STRANGERS_MAX: usize = 4_096;
/// How many requests one connection may have open.
const STREAMS_MAX: u32 = 1_024;
/// A connection that is silent for this long twice is closed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long a head of HTTP/1.1 may take, and how long a connection may wait for one; and the most that is read ahead.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_MAX: usize = 64 * 1024;
/// Time for requests in flight once the server closes. Clients resume streams elsewhere.
const CLOSING: Duration = Duration::from_secs(3);

/// Serves `routes` until `shutdown` is ready, then finishes what is in flight for a few seconds.
/// Browsers are shown what is in `shown` then. Requests carry a [`PeerIdentity`] and a [`PeerAddress`] extension.
///
/// # Errors
/// [`TlsError`] where the identity cannot be used. A failing connection is no error.
pub async fn serve(
    listener: TcpListener,
    identity: &NodeIdentity,
    shown: Arc<Shown>,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
) -> Result<(), TlsError> {
    let acceptor = TlsAcceptor::from(server_config(identity, shown)?);
    let routes = routes.prepare();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let closing = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let tcp = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener) => accepted,
        };
        let Ok(shaking) = Arc::clone(&handshakes).try_acquire_owned() else {
            warn!(limit = HANDSHAKES_MAX, "too many handshakes at once, a new connection is closed");
            continue;
        };
        let (acceptor, routes, closing) = (acceptor.clone(), routes.clone(), closing.subscribe());
        let strangers = Arc::clone(&strangers);
        connections.spawn(async move {
            let shaken = handshake(&acceptor, tcp).await;
            drop(shaking);
            let Some((tls, peer)) = shaken else { return };
            let _seat = match peer.0 {
                Some(_) => None,
                None => match strangers.try_acquire() {
                    Ok(seat) => Some(seat),
                    Err(_) => {
                        warn!(
                            limit = STRANGERS_MAX,
                            "too many connections of others than nodes, one is closed"
                        );
                        return;
                    }
                },
            };
            connection(tls, peer, routes, closing).await;
        });
    }
    drop(listener);
    closing.send_replace(true);
    let all_closed = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING, all_closed).await.is_err() {
        debug!("requests in flight were cut because the server closes");
    }
    Ok(())
}

/// The next connection. Errors here are those of single connections or of a lack of file descriptors,
/// and both pass.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => return tcp,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn handshake(acceptor: &TlsAcceptor, tcp: TcpStream) -> Option<(TlsStream<TcpStream>, PeerIdentity)> {
    let from = tcp.peer_addr().map_or_else(|_| "unknown".to_owned(), |a| a.to_string());
    let shake = async {
        tcp.set_nodelay(true)?;
        acceptor.accept(tcp).await
    };
    let result: io::Result<_> = match tokio::time::timeout(HANDSHAKE_TIMEOUT, shake).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    match result {
        Ok(tls) => {
            // The acceptor has verified the chain; only the name is read here.
            let leaf = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let peer = PeerIdentity(leaf.and_then(certified_node));
            Some((tls, peer))
        }
        Err(error) => {
            debug!(%from, %error, "handshake failed");
            None
        }
    }
}

async fn connection(
    tls: TlsStream<TcpStream>,
    peer: PeerIdentity,
    routes: Routes,
    mut closing: watch::Receiver<bool>,
) {
    let address = PeerAddress(tls.get_ref().0.peer_addr().ok().map(|address| address.ip().to_canonical()));
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(address);
        let mut routes = routes.clone();
        async move {
            std::future::poll_fn(|cx| Service::<http::Request<Incoming>>::poll_ready(&mut routes, cx))
                .await?;
            routes.call(request).await
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(32 * 1024)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(tls), service));
    let closes = async {
        // An error means that the server is gone, which closes as well.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = closes => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests;
