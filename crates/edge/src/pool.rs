//! Connections of one worker to one instance.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tracing::debug;

use crate::client::Ticks;
use crate::table::Instance;
use crate::upload::RequestBody;

/// How long a connection is kept idle. Common servers close theirs after 5 s or more idle seconds;
/// a request that can be repeated bears losing that race.
const KEEP: Duration = Duration::from_secs(15);

/// How long a connection may have been idle for a request that cannot be repeated: shorter than the
/// keep-alive time of any common server, so that none closes it just then.
const KEEP_FOR_ONCE: Duration = Duration::from_secs(1);

/// How long a connection to an instance of this node may take.
const CONNECT: Duration = Duration::from_secs(2);

/// A connection that carries one exchange.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    /// Where it goes back to, unless it serves one exchange only.
    pub(crate) pool: Option<Rc<Pool>>,
}

impl Carrier {
    /// The exchange is over on both sides: the connection can carry another.
    pub(crate) fn put_back(self) {
        if let Some(pool) = self.pool
            && !self.sender.is_closed()
            && !pool.instance.withdrawn.load(Ordering::Acquire)
        {
            pool.idle.borrow_mut().push(Idle { sender: self.sender, since: pool.ticks.now() });
        }
    }
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: u32,
}

/// Connections of one worker to one instance.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) instance: Arc<Instance>,
    pub(crate) worker: usize,
    ticks: Ticks,
    idle: RefCell<Vec<Idle>>,
}

impl Pool {
    pub(crate) fn new(instance: Arc<Instance>, worker: usize, ticks: Ticks) -> Self {
        Self { instance, worker, ticks, idle: RefCell::default() }
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
                let sender = idle.remove(at).sender;
                return Some(Carrier { sender, pool: Some(Rc::clone(self)) });
            }
        }
        None
    }

    /// Opens a connection. An instance where nobody listens is passed over for a moment.
    pub(crate) async fn connect(pool: &Rc<Self>) -> io::Result<Carrier> {
        let connecting = TcpStream::connect(pool.instance.address);
        let stream = match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                // Being out of ports or descriptors says nothing about the instance.
                if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable) {
                    pool.instance.down.mark();
                }
                return Err(error);
            }
            Err(_) => {
                pool.instance.down.mark();
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        stream.set_nodelay(true)?;
        let sender = handshake(TokioIo::new(stream)).await?;
        Ok(Carrier { sender, pool: Some(Rc::clone(pool)) })
    }

    /// Closes idle connections: all, as the instance serves no new requests.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn prune(&self) {
        let now = self.ticks.now();
        let limit = Ticks::count(KEEP);
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.sender.is_closed() && now.wrapping_sub(idle.since) < limit);
    }
}

/// Starts HTTP/1 on a connection.
pub(crate) async fn handshake<T>(io: T) -> io::Result<http1::SendRequest<RequestBody>>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "a connection to an application ended");
        }
    });
    Ok(sender)
}
