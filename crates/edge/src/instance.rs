//! Sending a request to an instance of this node.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use temps_core::table::Protocol;
use tracing::{debug, info};

use crate::call::Call;
use crate::count::{Fault, Gauge, Sharded};
use crate::multiplex::{self, Stream};
use crate::pool::{Carrier, ENDED, Pool};
use crate::standing::Failure;

/// A request counted in flight at an instance, until this is dropped.
pub(crate) struct Lease {
    pub(crate) pool: Rc<Pool>,
    since: Instant,
    /// What became of it is counted.
    told: Cell<bool>,
    /// Its part of a connection that carries others, too.
    stream: Cell<Option<Stream>>,
}

impl Lease {
    pub(crate) fn new(pool: Rc<Pool>) -> Self {
        pool.instance.in_flight.add(pool.worker, 1);
        Self { pool, since: Instant::now(), told: Cell::new(false), stream: Cell::new(None) }
    }

    /// The answer comes on this stream.
    pub(crate) fn carried_by(&self, stream: Stream) {
        self.stream.set(Some(stream));
    }

    /// Whether the client wants to change the protocol of a connection that can carry HTTP/2 alone.
    pub(crate) fn cannot_change(&self, call: &Call) -> bool {
        call.upgrade.is_some() && self.pool.instance.protocol == Protocol::Http2
    }

    /// An answer begins.
    pub(crate) fn answered(&self, status: StatusCode) {
        self.told.set(true);
        self.gauge().answered(self.pool.worker, status, self.since.elapsed());
        self.pool.instance.answered(status);
    }

    /// The instance did not take the connection.
    pub(crate) fn refused(&self) {
        self.told.set(true);
        self.gauge().refused(self.pool.worker);
    }

    /// The instance broke off before it answered. One that is being stopped is not to blame, nor is it for a
    /// client that broke off first.
    pub(crate) fn lost(&self, by_client: bool) -> Fault {
        if by_client {
            return Fault::Reset;
        }
        self.told.set(true);
        if self.withdrawn() {
            return Fault::Cut;
        }
        self.gauge().lost(self.pool.worker);
        self.pool.instance.failed(Failure::Connection);
        Fault::Reset
    }

    /// The instance broke off within its answer.
    pub(crate) fn broke(&self) -> Fault {
        if self.withdrawn() {
            return Fault::Cut;
        }
        self.gauge().broke(self.pool.worker);
        Fault::Reset
    }

    fn gauge(&self) -> &Gauge {
        &self.pool.instance.gauge
    }

    pub(crate) fn withdrawn(&self) -> bool {
        self.pool.is_withdrawn()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("instance", &self.pool.instance.id).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.told.get() {
            self.gauge().aborted(self.pool.worker, self.since.elapsed());
        }
        let left = self.pool.instance.in_flight.take(self.pool.worker);
        if left == 0 && self.withdrawn() && self.pool.instance.in_flight.sum() == 0 {
            self.pool.instance.news.notify_one();
        }
    }
}

/// What became of sending a request somewhere.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The head of the answer, and the connection that carries its body.
    Answered(Response<Incoming>, Option<Carrier>),
    /// Nothing reached an application: it may go elsewhere, whatever its method.
    Unsent(String),
    /// It may have reached an application, and there will be no answer from there.
    Lost(String),
}

/// Sends a request to an instance. A failure of a connection that had been used before is made good
/// once, on a fresh connection, where repeating the request cannot do harm.
pub(crate) async fn send(lease: &Lease, call: &mut Call, retries: &Sharded) -> Sent {
    let pool = &lease.pool;
    if pool.instance.protocol == Protocol::Http2 {
        return Box::pin(multiplex::send(lease, call, retries)).await;
    }
    while let Some(mut carrier) = pool.reuse(call.repeatable) {
        match carrier.sender.try_send_request(call.to_instance()).await {
            Ok(response) => {
                carrier.line.answer_begins();
                return Sent::Answered(response, Some(carrier));
            }
            // It was given back, so no byte of it went out.
            Err(error) if error.message().is_some() => {
                retries.add(pool.worker, 1);
                call.retries += 1;
            }
            Err(error) => {
                let why = why_lost(pool, call, &error.into_error());
                debug!(instance = %pool.instance.id, why, "a kept connection failed");
                if !call.may_repeat() || lease.withdrawn() {
                    return Sent::Lost(why);
                }
                call.note_repeat();
                retries.add(pool.worker, 1);
                call.retries += 1;
                break;
            }
        }
    }
    // What happens now and then takes no room in what is kept for each request.
    let mut carrier = match Box::pin(Pool::connect(pool)).await {
        Ok(carrier) => carrier,
        Err(error) => {
            debug!(instance = %pool.instance.id, %error, "cannot connect");
            return Sent::Unsent(format!("cannot connect: {error}"));
        }
    };
    match carrier.sender.try_send_request(call.to_instance()).await {
        Ok(response) => {
            carrier.line.answer_begins();
            Sent::Answered(response, Some(carrier))
        }
        Err(error) if error.message().is_some() => Sent::Unsent(describe(&error.into_error())),
        Err(error) => Sent::Lost(why_lost(pool, call, &error.into_error())),
    }
}

/// Why no answer comes any more. Of a connection that we ended ourselves the error tells nothing.
pub(crate) fn why_lost(pool: &Pool, call: &Call, error: &hyper::Error) -> String {
    if !pool.has_ended() {
        return describe(error);
    }
    if !call.may_repeat() {
        info!(instance = %pool.instance.id, "the instance ended before it answered a request that may not be repeated");
    }
    ENDED.to_owned()
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
