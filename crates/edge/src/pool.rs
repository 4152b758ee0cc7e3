//! Connections of one worker to one instance: of one start of it, at one address.
//!
//! An instance that ends may take the other end of its connections with it, so that what is sent there vanishes
//! and nothing ever comes back. Such connections end by what the table says, and not by what the network does.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use crate::client::Ticks;
use crate::multiplex::Connections;
use crate::standing::Failure;
use crate::table::Instance;
use crate::upload::RequestBody;

/// How long a connection is kept idle. Common servers close theirs after 5 s or more idle seconds;
/// a request that can be repeated bears losing that race.
pub(crate) const KEEP: Duration = Duration::from_secs(15);

/// How long a connection may have been idle for a request that cannot be repeated: shorter than the
/// keep-alive time of any common server, so that none closes it just then.
const KEEP_FOR_ONCE: Duration = Duration::from_secs(1);

/// How long one try to connect to an instance of this node may take, and how often it is tried. Where a first
/// packet was lost, the kernel would repeat it only after a second.
const CONNECT: Duration = Duration::from_millis(450);
const TRIES: usize = 2;

/// How long the end of an answer may take to arrive after its instance has ended: it is on its way, or never comes.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// When silence on a connection becomes suspicious, how often the other end is then asked, and how many times.
const SILENCE: Duration = Duration::from_secs(15);
const ASK: Duration = Duration::from_secs(5);
const ASKED: u32 = 3;

/// Why no answer comes from an instance that has ended.
pub(crate) const ENDED: &str = "it has ended";

/// What carries the bytes of a connection to an instance.
#[derive(Debug)]
pub(crate) struct Line {
    /// The head of an answer has come, and its end has not.
    answering: Cell<bool>,
    task: RefCell<AbortHandle>,
}

impl Line {
    pub(crate) fn new(task: AbortHandle) -> Self {
        Self { answering: Cell::new(false), task: RefCell::new(task) }
    }

    pub(crate) fn answer_begins(&self) {
        self.answering.set(true);
    }

    /// A tunnel took the place of HTTP.
    pub(crate) fn carried_by(&self, task: AbortHandle) {
        *self.task.borrow_mut() = task;
    }

    pub(crate) fn cut(&self) {
        self.task.borrow().abort();
    }
}

/// A connection that carries one exchange.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    pub(crate) line: Rc<Line>,
    /// Where it goes back to, unless it serves one exchange only.
    pub(crate) pool: Option<Rc<Pool>>,
}

impl Carrier {
    /// The exchange is over on both sides: the connection can carry another.
    pub(crate) fn put_back(self) {
        if let Some(pool) = self.pool
            && !self.sender.is_closed()
            && !pool.is_withdrawn()
        {
            self.line.answering.set(false);
            let idle = Idle { sender: self.sender, line: self.line, since: pool.ticks.now() };
            pool.idle.borrow_mut().push(idle);
        }
    }
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    line: Rc<Line>,
    since: u32,
}

/// Connections of one worker to one instance.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) instance: Arc<Instance>,
    pub(crate) worker: usize,
    pub(crate) ticks: Ticks,
    idle: RefCell<Vec<Idle>>,
    /// Where it speaks HTTP/2.
    pub(crate) many: Connections,
    /// All that are open.
    lines: RefCell<Vec<Weak<Line>>>,
    ended: Cell<bool>,
    /// Stops those who are just connecting.
    end: Notify,
}

impl Pool {
    pub(crate) fn new(instance: Arc<Instance>, worker: usize, ticks: Ticks) -> Self {
        Self {
            instance,
            worker,
            ticks,
            idle: RefCell::default(),
            many: Connections::default(),
            lines: RefCell::default(),
            ended: Cell::new(false),
            end: Notify::new(),
        }
    }

    /// The connection used last, if it is young enough for the request.
    pub(crate) fn reuse(self: &Rc<Self>, repeatable: bool) -> Option<Carrier> {
        let limit = Ticks::count(if repeatable { KEEP } else { KEEP_FOR_ONCE });
        let now = self.ticks.now();
        let mut idle = self.idle.borrow_mut();
        // A connection whose last exchange is not wholly over yet is left for later.
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let candidate = &idle[at];
            if candidate.sender.is_closed() {
                idle.remove(at);
            } else if now.wrapping_sub(candidate.since) >= limit {
                return None;
            } else if candidate.sender.is_ready() {
                let Idle { sender, line, .. } = idle.remove(at);
                return Some(Carrier { sender, line, pool: Some(Rc::clone(self)) });
            }
        }
        None
    }

    /// Opens a connection. An instance where nobody listens or answers is passed over for a moment.
    pub(crate) async fn connect(pool: &Rc<Self>) -> io::Result<Carrier> {
        let carrier = handshake(TokioIo::new(Self::open(pool).await?)).await?;
        pool.keep_in_mind(&carrier.line)?;
        Ok(Carrier { pool: Some(Rc::clone(pool)), ..carrier })
    }

    /// Opens a connection on which nothing is spoken yet.
    pub(crate) async fn open(pool: &Self) -> io::Result<TcpStream> {
        let end = pool.end.notified();
        if pool.ended.get() {
            return Err(io::Error::other(ENDED));
        }
        let stream = tokio::select! {
            connected = reach(&pool.instance) => connected?,
            // Its address may be another's by now.
            () = end => return Err(io::Error::other(ENDED)),
        };
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(ASK).with_retries(ASKED);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(stream)
    }

    /// It ends with its instance.
    pub(crate) fn keep_in_mind(&self, line: &Rc<Line>) -> io::Result<()> {
        if self.ended.get() {
            return Err(io::Error::other(ENDED));
        }
        self.lines.borrow_mut().push(Rc::downgrade(line));
        Ok(())
    }

    /// The instance ended by itself, from now on.
    pub(crate) fn ended(&self) -> Notified<'_> {
        self.end.notified()
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.instance.withdrawn.load(Ordering::Acquire)
    }

    /// The instance ended by itself: who waits for an answer to begin has waited enough. An answer under way
    /// may have been sent whole before.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        self.end.notify_waiters();
        self.clear();
        let open = std::mem::take(&mut *self.lines.borrow_mut());
        let (answering, waiting): (Vec<_>, Vec<_>) =
            open.iter().filter_map(Weak::upgrade).partition(|line| line.answering.get());
        waiting.iter().for_each(|line| line.cut());
        if !waiting.is_empty() || !answering.is_empty() {
            let (waiting, answering) = (waiting.len(), answering.len());
            warn!(instance = %self.instance.id, waiting, answering, "an instance in use ended by itself");
        }
        let answering: Vec<_> = answering.iter().map(Rc::downgrade).collect();
        if !answering.is_empty() {
            tokio::task::spawn_local(async move {
                tokio::time::sleep(LAST_WORDS).await;
                answering.iter().filter_map(Weak::upgrade).for_each(|line| line.cut());
            });
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Closes idle connections: all, as the instance serves no new requests.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.many.clear();
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn prune(&self) {
        let now = self.ticks.now();
        let limit = Ticks::count(KEEP);
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.sender.is_closed() && now.wrapping_sub(idle.since) < limit);
        self.many.prune(now);
        self.lines.borrow_mut().retain(|line| line.strong_count() > 0);
    }
}

/// A connection to the address of an instance.
async fn reach(instance: &Instance) -> io::Result<TcpStream> {
    instance.down.attempt();
    for _ in 0..TRIES {
        match tokio::time::timeout(CONNECT, TcpStream::connect(instance.address)).await {
            Ok(Ok(stream)) => {
                instance.down.clear();
                return Ok(stream);
            }
            Ok(Err(error)) => {
                // Being out of ports or descriptors says nothing about the instance.
                let absent = matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::HostUnreachable
                        | io::ErrorKind::NetworkUnreachable
                );
                if absent {
                    instance.down.mark();
                    instance.failed(Failure::Connection);
                }
                return Err(error);
            }
            Err(_) => {}
        }
    }
    instance.down.mark();
    instance.failed(Failure::Connection);
    Err(io::ErrorKind::TimedOut.into())
}

/// Starts HTTP/1 on a connection that belongs to no pool yet.
pub(crate) async fn handshake<T>(io: T) -> io::Result<Carrier>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
    let task = tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "a connection to an application ended");
        }
    });
    Ok(Carrier { sender, line: Rc::new(Line::new(task.abort_handle())), pool: None })
}
