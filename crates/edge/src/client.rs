//! The connections of clients: what each is doing, and the ends of those that do nothing.
//!
//! A connection waits for a request (idle), is in the middle of a request's head, or is busy. A head
//! that drips and a connection that stays idle are ended by a sweep over all connections of a worker, which
//! costs a request nothing.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tracing::debug;

use crate::callers::Caller;
use crate::keyring::Shown;
use crate::network::Network;
use crate::worker::{Known, Worker};
use crate::{front, proxy};

/// One step of a worker's coarse clock.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// A coarse clock that costs nothing to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticks(Arc<AtomicU32>);

impl Ticks {
    pub(crate) fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// A duration in ticks, at least one.
    pub(crate) fn count(duration: Duration) -> u32 {
        u32::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX).max(1)
    }
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// Ask a connection to end after what it is doing, or at once.
const FINISH: u8 = 1;
const END: u8 = 2;

/// Whose connection it is. Those of other edges may be idle for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Client,
    Edge,
}

/// What one connection is doing.
#[derive(Debug)]
pub(crate) struct Connection {
    phase: AtomicU8,
    since: AtomicU32,
    requests: AtomicU32,
    /// Requests that were answered, and those that the client gave up before.
    answered: AtomicU32,
    given_up: AtomicU32,
    pub(crate) http2: AtomicBool,
    whose: Whose,
    order: AtomicU8,
    waker: AtomicWaker,
    ticks: Ticks,
}

impl Connection {
    pub(crate) fn new(whose: Whose, ticks: Ticks) -> Self {
        Self {
            whose,
            phase: AtomicU8::new(IDLE),
            since: AtomicU32::new(ticks.now()),
            requests: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
            http2: AtomicBool::new(false),
            order: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            ticks,
        }
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
        self.since.store(self.ticks.now(), Ordering::Relaxed);
    }

    fn order(&self, order: u8) {
        self.order.store(order, Ordering::Relaxed);
        self.waker.wake();
    }

    /// For how many ticks it has been idle; `None` where it is not, or is about to end.
    pub(crate) fn idle_for(&self, now: u32) -> Option<u32> {
        let idle = self.whose == Whose::Client
            && self.phase.load(Ordering::Relaxed) == IDLE
            && self.order.load(Ordering::Relaxed) == 0;
        idle.then(|| now.wrapping_sub(self.since.load(Ordering::Relaxed)))
    }

    /// It has to make room for another, unless it is about to be used.
    pub(crate) fn make_room(&self) {
        self.order(FINISH);
    }

    /// A client that asks and does not want the answer, again and again, makes work for others at no cost of its
    /// own. It may connect anew.
    fn give_up(&self) {
        let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        let client = self.whose == Whose::Client && self.http2.load(Ordering::Relaxed);
        if client && given_up >= MOST_GIVEN_UP && given_up > self.answered.load(Ordering::Relaxed) {
            self.order(if given_up < 2 * MOST_GIVEN_UP { FINISH } else { END });
        }
    }

    /// Waits until it is ordered to end; for a client that has not said anything yet.
    pub(crate) async fn ordered(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.order.load(Ordering::Relaxed) == 0 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Ends it where it has taken too long; `closing`: since when the edge is about to stop.
    pub(crate) fn sweep(&self, now: u32, head: u32, idle: u32, closing: Option<u32>) {
        let age = now.wrapping_sub(self.since.load(Ordering::Relaxed));
        match self.phase.load(Ordering::Relaxed) {
            IDLE => match closing {
                // A client that is about to send learns from that answer to connect anew; only one that
                // stays silent is closed.
                Some(since) if age.min(now.wrapping_sub(since)) >= LINGER => self.order(FINISH),
                Some(_) if self.http2.load(Ordering::Relaxed) => self.order(FINISH),
                Some(_) | None => {
                    if age >= idle && self.whose == Whose::Client {
                        self.order(FINISH);
                    }
                }
            },
            HEAD if age >= head => self.order(END),
            // Its open streams end as they would; it takes no more.
            BUSY if closing.is_some() && self.http2.load(Ordering::Relaxed) => self.order(FINISH),
            _ => {}
        }
    }
}

/// So many requests a client may give up on one connection of HTTP/2, unless more were answered.
const MOST_GIVEN_UP: u32 = 1_000;

/// How long an idle connection stays open while the edge is about to stop: 5 s.
const LINGER: u32 = 20;

/// A request under way on a connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Active {
    connection: Arc<Connection>,
    answered: bool,
}

impl Active {
    pub(crate) fn begin(connection: &Arc<Connection>) -> Self {
        connection.requests.fetch_add(1, Ordering::Relaxed);
        connection.phase.store(BUSY, Ordering::Relaxed);
        Self { connection: Arc::clone(connection), answered: false }
    }

    /// The client has its answer.
    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.connection.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connection.enter(IDLE);
        }
        if self.answered {
            self.connection.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            self.connection.give_up();
        }
    }
}

/// Who a client is.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    /// Its address, as applications are told it.
    pub(crate) address: HeaderValue,
    /// How it speaks to us: `http` or `https`.
    pub(crate) scheme: &'static str,
    /// It is a proxy that is trusted, as are all of these; `None`: it is not.
    pub(crate) trusted: Option<Arc<[Network]>>,
    /// What it was shown; nothing where its connection has no TLS.
    pub(crate) shown: Option<Arc<Shown>>,
}

impl Client {
    pub(crate) fn new(ip: IpAddr, scheme: &'static str, trusted: &Arc<[Network]>) -> Self {
        let ip = ip.to_canonical();
        let address = HeaderValue::try_from(ip.to_string()).expect("an address is visible ASCII");
        let is_trusted = trusted.iter().any(|network| network.contains(ip));
        Self { ip, address, scheme, trusted: is_trusted.then(|| Arc::clone(trusted)), shown: None }
    }
}

/// A connection of a client that takes some of the room.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) connection: Arc<Connection>,
    _known: Known,
    /// Nothing for proxies in front, which bring many clients.
    caller: Option<Caller>,
}

/// One more connection of a client, where there is room.
pub(crate) fn admit(worker: &Rc<Worker>, peer: IpAddr) -> Option<Admitted> {
    let shared = &worker.shared;
    let in_front = shared.trusted.iter().chain(&shared.proxy_protocol);
    let caller = match in_front.into_iter().any(|network| network.contains(peer)) {
        true => None,
        false => match shared.callers.admit(peer, worker.limits.per_address) {
            Some(caller) => Some(caller),
            None => {
                debug!(%peer, "too many connections of one address");
                return None;
            }
        },
    };
    if !worker.make_room() {
        debug!("too many connections, and all are in use");
        return None;
    }
    let connection = Arc::new(Connection::new(Whose::Client, worker.ticks.clone()));
    let known = worker.know(&connection);
    Some(Admitted { connection, _known: known, caller })
}

/// Serves one connection of a client without TLS, or of a load balancer on its behalf.
pub(crate) async fn serve(worker: Rc<Worker>, mut stream: TcpStream, peer: IpAddr) {
    let Some(admitted) = admit(&worker, peer) else { return };
    let beginning = async {
        let (ip, early) = who(&worker, &mut stream, peer).await?;
        Some((ip, first_bytes(&mut stream, early).await?))
    };
    let beginning = tokio::select! {
        biased;
        beginning = tokio::time::timeout(worker.limits.head, beginning) => beginning,
        () = admitted.connection.ordered() => return,
    };
    let Ok(Some((ip, first))) = beginning else { return };
    let client = Rc::new(Client::new(ip, "http", &worker.shared.trusted));
    let http2 = first.starts_with(PREFACE);
    converse(worker, stream, first, http2, client, admitted).await;
}

/// Answers requests on a connection. `first`: what was read of it already.
pub(crate) async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    worker: Rc<Worker>,
    stream: S,
    first: Bytes,
    http2: bool,
    client: Rc<Client>,
    admitted: Admitted,
) {
    let Admitted { connection, _known, caller } = admitted;
    connection.http2.store(http2, Ordering::Relaxed);
    connection.enter(if http2 || first.is_empty() { IDLE } else { HEAD });

    let io =
        ClientIo { io: TokioIo::new(stream), first, connection: Arc::clone(&connection), _caller: caller };
    let state = Arc::clone(&connection);
    let of_client = Rc::clone(&worker);
    let service = service_fn(move |request| {
        let active = Active::begin(&state);
        front::serve(Rc::clone(&of_client), Rc::clone(&client), active, request)
    });
    let ended = if http2 {
        drive(worker.http2.serve_connection(io, service), &connection).await
    } else {
        let mut http1 = hyper::server::conn::http1::Builder::new();
        // Heads and idleness are timed by the sweep: hyper has one time for both.
        http1.timer(TokioTimer::new()).header_read_timeout(None);
        drive(http1.serve_connection(io, service).with_upgrades(), &connection).await
    };
    if let Err(error) = ended {
        debug!(%error, "a client's connection ended");
    }
}

const PREFACE: &[u8] = b"PRI ";

/// Who the client is, and what was read from it to find out.
pub(crate) async fn who(worker: &Worker, stream: &mut TcpStream, peer: IpAddr) -> Option<(IpAddr, Bytes)> {
    if !worker.shared.proxy_protocol.iter().any(|network| network.contains(peer)) {
        return Some((peer, Bytes::new()));
    }
    match proxy::read(stream).await {
        Ok((source, early)) => Some((source.unwrap_or(peer), early)),
        Err(error) => {
            debug!(%peer, %error, "a connection without a header of the PROXY protocol");
            None
        }
    }
}

/// What the client sends first: enough to tell HTTP/2 from HTTP/1. `early`: what was read already.
async fn first_bytes(stream: &mut TcpStream, early: Bytes) -> Option<Bytes> {
    let is_enough = |bytes: &[u8]| bytes.len() >= PREFACE.len() || !PREFACE.starts_with(bytes);
    if is_enough(&early) {
        return Some(early);
    }
    let mut buffer = [0; 2048];
    let mut have = early.len();
    buffer[..have].copy_from_slice(&early);
    loop {
        let n = stream.read(&mut buffer[have..]).await.ok()?;
        have += n;
        if n == 0 {
            return None;
        }
        if is_enough(&buffer[..have]) {
            return Some(Bytes::copy_from_slice(&buffer[..have]));
        }
    }
}

/// A connection that can be asked to end.
pub(crate) trait Graceful: Future<Output = hyper::Result<()>> {
    /// Finish what is under way, and take no more.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S, B> Graceful for hyper::server::conn::http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B, E> Graceful for hyper::server::conn::http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs a connection to its end, or to where it is ordered to end.
pub(crate) async fn drive(serving: impl Graceful, connection: &Connection) -> hyper::Result<()> {
    let mut serving = pin!(serving);
    let mut finishing = false;
    poll_fn(|cx| {
        connection.waker.register(cx.waker());
        let order = connection.order.load(Ordering::Relaxed);
        if order == END {
            return Poll::Ready(Ok(()));
        }
        // What has arrived is looked at first, so that a request just received is not lost.
        if let Poll::Ready(ended) = serving.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        if order == FINISH && !finishing {
            let busy = connection.phase.load(Ordering::Relaxed) != IDLE;
            if connection.http2.load(Ordering::Relaxed) || !busy {
                finishing = true;
                serving.as_mut().finish();
                return serving.as_mut().poll(cx);
            }
            connection.order.store(0, Ordering::Relaxed);
        }
        Poll::Pending
    })
    .await
}

/// A client's socket, which tells when a head begins.
#[derive(Debug)]
struct ClientIo<S> {
    io: TokioIo<S>,
    first: Bytes,
    connection: Arc<Connection>,
    /// A tunnel counts, too.
    _caller: Option<Caller>,
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.first.has_remaining() {
            let n = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..n]);
            self.first.advance(n);
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready()
            && self.connection.phase.load(Ordering::Relaxed) == IDLE
            && !self.connection.http2.load(Ordering::Relaxed)
        {
            self.connection.enter(HEAD);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for ClientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
