//! The body of a client's request on its way to an application.
//!
//! It is never gathered. Only while it goes to the edge of another node is its beginning remembered,
//! because that edge may answer "not here". It says so before it reads anything, so it has then received
//! no more than the window it first granted: what was sent beyond that proves that it accepted.

use std::cell::{Cell, OnceCell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::client::Active;

/// The window that an edge grants each forwarded request before it reads.
pub(crate) const WINDOW: u32 = 256 * 1024;

/// How long what a client still sends is read after it has its answer, so that it can read the answer.
const DISCARD: Duration = Duration::from_secs(30);

/// How long a client that asked whether to go on waits, if the application does not say.
const CONTINUE: Duration = Duration::from_secs(1);

pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Holds a body back until the application asks for it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Opens it after a while in any case.
    pub(crate) fn open_later(self: &Arc<Self>) {
        let gate = Arc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(CONTINUE).await;
            gate.open();
        });
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.open.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.open.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// What was read of a body.
#[derive(Debug, Default)]
struct Record {
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes: usize,
    last: usize,
}

#[derive(Debug)]
struct Inner {
    incoming: Option<Incoming>,
    record: Option<Record>,
    /// How many recorded frames the present reader has had.
    at: usize,
    waker: Option<Waker>,
    /// Since when more of it is waited for.
    waiting: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// The body of a client's request, which one reader at a time reads from its beginning.
#[derive(Debug)]
pub(crate) struct Upload {
    inner: RefCell<Inner>,
    length: SizeHint,
    reader: Cell<u64>,
    begun: Cell<bool>,
    ended: Cell<bool>,
    failed: Cell<bool>,
    /// Bytes that were read, where somebody wants to know.
    received: OnceCell<Rc<Cell<u64>>>,
    /// How long the client may send nothing while more is waited for.
    patience: Cell<Option<Duration>>,
    stopped: Cell<bool>,
    pub(crate) gate: Option<Arc<Gate>>,
}

impl Upload {
    /// `None` where there is nothing to send.
    pub(crate) fn new(incoming: Incoming, expects: bool) -> Option<Rc<Self>> {
        if incoming.is_end_stream() {
            return None;
        }
        Some(Rc::new(Self {
            length: incoming.size_hint(),
            inner: RefCell::new(Inner {
                incoming: Some(incoming),
                record: None,
                at: 0,
                waker: None,
                waiting: None,
                alarm: None,
            }),
            reader: Cell::new(0),
            begun: Cell::new(false),
            ended: Cell::new(false),
            failed: Cell::new(false),
            received: OnceCell::new(),
            patience: Cell::new(None),
            stopped: Cell::new(false),
            gate: expects.then(Arc::default),
        }))
    }

    /// Counts the bytes that are read from here on.
    pub(crate) fn received(&self) -> Rc<Cell<u64>> {
        Rc::clone(self.received.get_or_init(Rc::default))
    }

    /// A new reader, from the beginning. The one before reads no more.
    pub(crate) fn read(self: &Rc<Self>) -> RequestBody {
        self.reader.set(self.reader.get() + 1);
        self.inner.borrow_mut().at = 0;
        RequestBody::Upload(Rc::clone(self), self.reader.get())
    }

    /// Remembers what is read from here on, so that it can be read again.
    pub(crate) fn remember(&self) {
        if !self.begun.get() {
            self.inner.borrow_mut().record = Some(Record::default());
        }
    }

    /// Whether a new reader would get all of it.
    pub(crate) fn is_whole(&self) -> bool {
        !self.begun.get() || self.inner.borrow().record.is_some()
    }

    /// Whether all of it was read.
    pub(crate) fn ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether the client broke it off.
    pub(crate) fn failed(&self) -> bool {
        self.failed.get()
    }

    /// Whether the client sent nothing for too long.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Before the answer begins, the client may not send nothing for so long while more is waited for.
    pub(crate) fn expect_within(&self, patience: Duration) {
        self.patience.set(Some(patience));
    }

    /// From here on both sides may be silent for as long as they like.
    pub(crate) fn answer_begins(&self) {
        self.patience.set(None);
    }

    /// Whether the client still waits to be asked for it.
    pub(crate) fn held_back(&self) -> bool {
        !self.begun.get() && self.gate.as_ref().is_some_and(|gate| !gate.open.load(Ordering::Acquire))
    }

    /// The application gets no more of it.
    pub(crate) fn cancel(&self) -> Option<Incoming> {
        self.reader.set(self.reader.get() + 1);
        let mut inner = self.inner.borrow_mut();
        inner.record = None;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
        if let Some(gate) = &self.gate {
            gate.waker.wake();
        }
        inner.incoming.take()
    }

    /// The answer is complete, the body is not: the application gets no more of it, and the client may
    /// finish for a while, since closing earlier could destroy the answer under way to it.
    pub(crate) fn discard(&self, active: Option<Active>) {
        let held_back = self.held_back();
        let Some(mut incoming) = self.cancel() else { return };
        // A client that was never asked to send will not.
        if held_back {
            return;
        }
        tokio::task::spawn_local(async move {
            let rest = async { while let Some(Ok(_)) = next(&mut incoming).await {} };
            let _ = tokio::time::timeout(DISCARD, rest).await;
            drop(incoming);
            drop(active);
        });
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &self.gate {
            ready!(gate.poll(cx));
        }
        let mut inner = self.inner.borrow_mut();
        let Inner { incoming, record, at, waker, waiting, alarm } = &mut *inner;
        if let Some(record) = record {
            if let Some(frame) = record.frames.get(*at) {
                *at += 1;
                return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
            }
            if self.ended.get() {
                let trailers = (*at == record.frames.len()).then(|| record.trailers.clone()).flatten();
                *at += 1;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
        }
        // The reader asks for more only once what it had went out. Beyond its first window the other
        // edge must have read, and so accepted.
        if record.as_ref().is_some_and(|record| record.bytes - record.last >= WINDOW as usize) {
            *record = None;
        }
        let Some(body) = incoming else { return Poll::Ready(None) };
        self.begun.set(true);
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            *waker = Some(cx.waker().clone());
            if let Some(patience) = self.patience.get() {
                ready!(overdue(waiting, alarm, patience, cx));
                self.failed.set(true);
                self.stopped.set(true);
                return Poll::Ready(Some(Err("the client sent nothing for too long".into())));
            }
            return Poll::Pending;
        };
        *waiting = None;
        match frame {
            Some(Ok(frame)) => {
                if let (Some(received), Some(data)) = (self.received.get(), frame.data_ref()) {
                    received.set(received.get() + data.len() as u64);
                }
                if let Some(record) = record {
                    if let Some(data) = frame.data_ref() {
                        record.last = data.len();
                        record.bytes += data.len();
                        record.frames.push(data.clone());
                        *at += 1;
                    } else {
                        record.trailers = frame.trailers_ref().cloned();
                        *at += 1;
                    }
                }
                if frame.is_trailers() || body.is_end_stream() {
                    self.ended.set(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.failed.set(true);
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                self.ended.set(true);
                Poll::Ready(None)
            }
        }
    }
}

/// Whether it was waited for too long; the time starts with the first look.
fn overdue(
    waiting: &mut Option<Instant>,
    alarm: &mut Option<Pin<Box<Sleep>>>,
    patience: Duration,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let end = *waiting.get_or_insert_with(Instant::now) + patience;
    // One alarm is set anew only when it rings: most bodies come without a pause.
    let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(end)));
    ready!(alarm.as_mut().poll(cx));
    if Instant::now() >= end {
        return Poll::Ready(());
    }
    alarm.as_mut().reset(end);
    alarm.as_mut().poll(cx)
}

async fn next(incoming: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await
}

/// The body of a request that we send.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    /// A client's, read by the reader of this number.
    Upload(Rc<Upload>, u64),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Upload(upload, reader) if upload.reader.get() == *reader => upload.poll(cx),
            RequestBody::Upload(..) => {
                Poll::Ready(Some(Err("the answer was complete before the request".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Upload(upload, _) => {
                let inner = upload.inner.borrow();
                let all_read =
                    inner.record.as_ref().is_none_or(|r| inner.at >= r.frames.len() && r.trailers.is_none());
                upload.ended.get() && all_read
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Upload(upload, _) => upload.length,
        }
    }
}
