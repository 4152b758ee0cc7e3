//! Forwarding to the edge of another node, which decides there.
//!
//! All requests of one worker to one node share a connection of HTTP/2. One that changes its protocol gets a
//! connection of its own.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::uri::Authority;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use temps_core::model::EnvironmentId;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::debug;

use crate::call::{Call, name_of};
use crate::count::Fault;
use crate::head::NOT_HERE;
use crate::heard::{Heard, Silence};
use crate::identity::Tls;
use crate::instance::{Sent, describe};
use crate::pick::Ask;
use crate::pool::handshake;
use crate::table::Peer;
use crate::upload::RequestBody;
use crate::worker::Spawn;

/// How long connecting, the handshake included, may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How soon a silent connection is tested, and how long the test may take before it is given up with what is on it.
const TEST: Duration = Duration::from_secs(1);
const GIVE_UP: Duration = Duration::from_secs(7);
/// A connection that was tested and still is silent after this time gets no further requests.
const SILENT: Duration = Duration::from_secs(2);
/// Larger than any head that a client may send, ours included.
pub(crate) const HEAD: u32 = 1024 * 1024;
/// What all streams of a connection may hold together. Each holds little; a slow client must not stop others.
pub(crate) const ALL_STREAMS: u32 = i32::MAX as u32;

type Sender = http2::SendRequest<RequestBody>;

/// One worker's way to the edge of one node.
#[derive(Debug)]
pub(crate) struct PeerLink {
    pub(crate) peer: Arc<Peer>,
    authority: Authority,
    server: ServerName<'static>,
    tls: Tls,
    sender: RefCell<Option<(Sender, Silence)>>,
    connecting: tokio::sync::Mutex<()>,
    attempts: Cell<u64>,
}

/// What became of a request sent to another edge.
#[derive(Debug)]
pub(crate) enum Reply {
    Sent(Sent),
    /// It has no such instance, and read no body.
    NotHere,
}

impl PeerLink {
    pub(crate) fn new(peer: Arc<Peer>, tls: Tls) -> Self {
        let name = name_of(peer.node);
        Self {
            authority: Authority::try_from(name.clone()).expect("a node's name is an authority"),
            server: ServerName::try_from(name).expect("a node's name is a DNS name"),
            peer,
            tls,
            sender: RefCell::default(),
            connecting: tokio::sync::Mutex::default(),
            attempts: Cell::new(0),
        }
    }

    /// Asks the other edge. What it has certainly not processed comes back as unsent.
    pub(crate) async fn send(&self, call: &Call, environment: EnvironmentId, ask: Ask) -> Reply {
        let sent = if call.upgrade.is_some() {
            self.send_tunnel(call, environment, ask).await
        } else {
            self.send_request(call, environment, ask).await
        };
        match sent {
            Sent::Answered(response, _)
                if response.status() == StatusCode::MISDIRECTED_REQUEST
                    && response.headers().contains_key(NOT_HERE) =>
            {
                if call.upload.as_ref().is_none_or(|upload| upload.is_whole()) {
                    Reply::NotHere
                } else {
                    Reply::Sent(Sent::Lost("another node refused it after reading from it".to_owned()))
                }
            }
            sent => Reply::Sent(sent),
        }
    }

    async fn send_request(&self, call: &Call, environment: EnvironmentId, ask: Ask) -> Sent {
        loop {
            let (mut sender, fresh) = match self.sender().await {
                Ok(sender) => sender,
                Err(error) => return Sent::Unsent(format!("cannot connect to {}: {error}", self.peer.node)),
            };
            let request = call.to_peer(&self.authority, environment, ask);
            let error = match sender.try_send_request(request).await {
                Ok(response) => return Sent::Answered(response, None),
                Err(error) => error,
            };
            let given_back = error.message().is_some();
            let error = error.into_error();
            let why = describe(&error);
            debug!(node = %self.peer.node, why, "forwarding failed");
            self.sender.borrow_mut().take_if(|(kept, _)| kept.is_closed());
            let whole = call.upload.as_ref().is_none_or(|upload| upload.is_whole());
            if !whole || !(given_back || is_refused(&error)) {
                return Sent::Lost(why);
            }
            if fresh {
                return Sent::Unsent(why);
            }
            // A connection that the other edge is closing: it has not processed this request.
            self.sender.borrow_mut().take();
        }
    }

    async fn send_tunnel(&self, call: &Call, environment: EnvironmentId, ask: Ask) -> Sent {
        let connecting = async {
            let stream = self.connect(&self.tls.connect_tunnel).await?;
            handshake(TokioIo::new(stream)).await
        };
        let mut carrier = match connecting.await {
            Ok(carrier) => carrier,
            Err(error) => return Sent::Unsent(format!("cannot connect to {}: {error}", self.peer.node)),
        };
        let request = call.to_peer_tunnel(&self.authority, environment, ask);
        match carrier.sender.try_send_request(request).await {
            Ok(response) => Sent::Answered(response, Some(carrier)),
            Err(error) if error.message().is_some() => Sent::Unsent(describe(&error.into_error())),
            Err(error) => Sent::Lost(describe(&error.into_error())),
        }
    }

    /// The shared connection; `true`: it was opened just now. Who waits for another's attempt shares its failure.
    async fn sender(&self) -> io::Result<(Sender, bool)> {
        if let Some(sender) = self.open_sender() {
            return Ok((sender, false));
        }
        let seen = self.attempts.get();
        let _turn = self.connecting.lock().await;
        if let Some(sender) = self.open_sender() {
            return Ok((sender, false));
        }
        if self.attempts.get() != seen {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "another attempt has just failed"));
        }
        self.attempts.set(seen + 1);
        let (stream, silence) = Heard::on(self.connect(&self.tls.connect).await?);
        let (sender, connection) = http2::Builder::new(Spawn)
            .timer(TokioTimer::new())
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(ALL_STREAMS)
            .max_header_list_size(HEAD)
            .keep_alive_interval(TEST)
            .keep_alive_timeout(GIVE_UP)
            .keep_alive_while_idle(true)
            // Clients leave when they like; that is no attack by this edge.
            .max_concurrent_reset_streams(4096)
            .max_local_error_reset_streams(None)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let node = self.peer.node;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                debug!(%node, %error, "a connection to another edge ended");
            }
        });
        *self.sender.borrow_mut() = Some((sender.clone(), silence));
        Ok((sender, true))
    }

    /// The connection that is kept, unless its link may be broken. What is on it stays, in case the link is mended.
    fn open_sender(&self) -> Option<Sender> {
        let kept = self.sender.borrow();
        let (sender, silence) = kept.as_ref()?;
        (!sender.is_closed() && silence.lasts() < SILENT).then(|| sender.clone())
    }

    async fn connect(&self, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        self.peer.down.attempt();
        let connecting = async {
            let stream = TcpStream::connect(&self.peer.address).await?;
            stream.set_nodelay(true)?;
            connector.connect(self.server.clone(), stream).await
        };
        let connected = tokio::time::timeout(CONNECT, connecting).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match &connected {
            Ok(_) => self.peer.down.clear(),
            Err(_) => self.peer.down.mark(),
        }
        connected
    }
}

/// What an edge says to another one when it ended an answer itself.
const BROKEN_BY_US: h2::Reason = h2::Reason::CANCEL;

/// The error with which an answer ends that we broke off.
pub(crate) fn broken_by_us() -> h2::Error {
    BROKEN_BY_US.into()
}

/// Why an answer of another edge broke off: it tells when the application did.
pub(crate) fn why_broken(error: &hyper::Error) -> Fault {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            let by_application = error.is_reset() && error.reason() == Some(h2::Reason::INTERNAL_ERROR);
            return if by_application { Fault::Reset } else { Fault::Cut };
        }
        source = cause.source();
    }
    Fault::Cut
}

/// Whether the other side said that it has not processed the request.
pub(crate) fn is_refused(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return reason == Some(h2::Reason::REFUSED_STREAM)
                || (error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR));
        }
        source = cause.source();
    }
    false
}
