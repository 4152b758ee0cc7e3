//! Instances that speak HTTP/2: many requests on each of few connections.
//!
//! What is not known here is whether such an instance hangs. It is not asked with pings, as common servers of gRPC end
//! a connection after a few of them without a word in between; the kernel asks for us whether its host is there.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::AbortHandle;
use tracing::debug;

use crate::call::Call;
use crate::client::Ticks;
use crate::count::Sharded;
use crate::greeting::{Greeted, Greeting};
use crate::instance::{Lease, Sent, describe, why_lost};
use crate::peer::{ALL_STREAMS, is_refused};
use crate::pool::{ENDED, KEEP, Line, Pool};
use crate::upload::{RequestBody, WINDOW};

/// How long an instance may take to greet.
const GREETING: Duration = Duration::from_secs(2);

/// As many requests are on one connection, or fewer where the instance says so; then there is another one.
const STREAMS: usize = 100;

/// The longest head of an answer.
const HEAD: u32 = 256 * 1024;

/// Runs what hyper spawns, of which the first is what carries the bytes.
#[derive(Clone, Debug, Default)]
struct Spawn(Rc<OnceCell<AbortHandle>>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, task: F) {
        let task = tokio::task::spawn_local(task);
        self.0.get_or_init(|| task.abort_handle());
    }
}

type Sender = http2::SendRequest<RequestBody>;

/// One connection.
#[derive(Debug)]
struct Shared {
    sender: Sender,
    /// Counts the connections of the instance.
    number: u64,
    /// It ends with its instance.
    _line: Rc<Line>,
    most: usize,
    streams: Cell<usize>,
    /// Since when it has none.
    idle: Cell<u32>,
    ticks: Ticks,
}

impl Shared {
    fn has_room(&self) -> bool {
        self.streams.get() < self.most
    }
}

/// A request on a connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Stream(Rc<Shared>);

impl Stream {
    fn on(connection: &Rc<Shared>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self(Rc::clone(connection))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.idle.set(self.0.ticks.now());
    }
}

/// Connections of one worker to one instance.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: RefCell<Vec<Rc<Shared>>>,
    connecting: tokio::sync::Mutex<()>,
    attempts: Cell<u64>,
}

impl Connections {
    /// Requests under way stay where they are.
    pub(crate) fn clear(&self) {
        self.open.borrow_mut().clear();
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn prune(&self, now: u32) {
        let limit = Ticks::count(KEEP);
        self.open.borrow_mut().retain(|connection| {
            let idle = connection.streams.get() == 0 && now.wrapping_sub(connection.idle.get()) >= limit;
            !connection.sender.is_closed() && !idle
        });
    }

    /// A place on the first connection that has room, so that those not needed become idle.
    fn place(&self, after: u64) -> Option<Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|connection| !connection.sender.is_closed());
        open.iter().find(|connection| connection.number > after && connection.has_room()).map(Stream::on)
    }
}

/// Whether a request may find its connection at its end already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Kept,
    Fresh,
}

/// Sends a request. One that the instance has certainly not processed, because it refused it or was closing the
/// connection, is sent again whatever its method; any other as over HTTP/1.
pub(crate) async fn send(lease: &Lease, call: &mut Call, retries: &Sharded) -> Sent {
    let pool = &lease.pool;
    // Only connections later than this one will do.
    let mut after = 0;
    loop {
        let (stream, age) = match place(pool, after).await {
            Ok(place) => place,
            Err(error) => {
                debug!(instance = %pool.instance.id, %error, "cannot connect");
                return Sent::Unsent(format!("cannot connect: {error}"));
            }
        };
        let ended = pool.ended();
        let mut sender = stream.0.sender.clone();
        let sent = tokio::select! {
            sent = sender.try_send_request(call.to_instance_in_http2()) => sent,
            // Answers under way may still come, but this one has not begun.
            () = ended => return Sent::Lost(ENDED.to_owned()),
        };
        let error = match sent {
            Ok(response) => {
                lease.carried_by(stream);
                return Sent::Answered(response, None);
            }
            Err(error) => error,
        };
        let given_back = error.message().is_some();
        let error = error.into_error();
        let unprocessed = given_back || is_refused(&error);
        let whole = call.upload.as_ref().is_none_or(|upload| upload.is_whole());
        let why = if unprocessed { describe(&error) } else { why_lost(pool, call, &error) };
        debug!(instance = %pool.instance.id, why, "a stream failed");
        match (unprocessed && whole, age) {
            (true, Age::Fresh) => return Sent::Unsent(why),
            (true, Age::Kept) => {}
            (false, Age::Kept) if call.may_repeat() && !lease.withdrawn() => call.note_repeat(),
            (false, _) => return Sent::Lost(why),
        }
        retries.add(pool.worker, 1);
        after = pool.many.attempts.get();
    }
}

/// A place on a connection that was opened after this many.
async fn place(pool: &Rc<Pool>, after: u64) -> io::Result<(Stream, Age)> {
    let many = &pool.many;
    let age = if after == 0 { Age::Kept } else { Age::Fresh };
    if let Some(stream) = many.place(after) {
        return Ok((stream, age));
    }
    let seen = many.attempts.get();
    let _turn = many.connecting.lock().await;
    if let Some(stream) = many.place(after) {
        return Ok((stream, age));
    }
    if many.attempts.get() != seen && many.open.borrow().is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "another attempt has just failed"));
    }
    many.attempts.set(many.attempts.get() + 1);
    let connection = connect(pool).await?;
    let stream = Stream::on(&connection);
    if !pool.is_withdrawn() {
        many.open.borrow_mut().push(connection);
    }
    Ok((stream, Age::Fresh))
}

async fn connect(pool: &Rc<Pool>) -> io::Result<Rc<Shared>> {
    let (stream, greeting) = Greeted::on(Pool::open(pool).await?);
    let spawn = Spawn::default();
    let (sender, connection) = http2::Builder::new(spawn.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        // Each stream holds little; a slow client must not stop others.
        .initial_connection_window_size(ALL_STREAMS)
        .max_header_list_size(HEAD)
        // Clients leave when they like; that is no attack by the instance.
        .max_concurrent_reset_streams(4096)
        .max_local_error_reset_streams(None)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let id = pool.instance.id;
    let task = tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(instance = %id, %error, "a connection to an application ended");
        }
    });
    let carrying = spawn.0.get().cloned().unwrap_or_else(|| task.abort_handle());
    let line = Rc::new(Line::new(carrying));
    // Whoever waits for an answer to begin is told by the pool; others are under way.
    line.answer_begins();
    let Ok(Ok(Greeting::Http2(most))) = tokio::time::timeout(GREETING, greeting).await else {
        line.cut();
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"));
    };
    pool.keep_in_mind(&line).inspect_err(|_| line.cut())?;
    Ok(Rc::new(Shared {
        sender,
        number: pool.many.attempts.get(),
        _line: line,
        most: most.min(STREAMS),
        streams: Cell::new(0),
        idle: Cell::new(pool.ticks.now()),
        ticks: pool.ticks.clone(),
    }))
}
