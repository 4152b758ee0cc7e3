//! The body of an answer, and what is owed when it ends.
//!
//! While an instance's answer is under way its request is in flight. At the end the connection to it can carry
//! another, unless the answer broke off or the client left.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tracing::debug;

use crate::client::Active;
use crate::count::{Account, Fault};
use crate::instance::Lease;
use crate::peer;
use crate::pool::Carrier;
use crate::record::Record;
use crate::upload::{BodyError, Upload};

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    kind: Kind,
    owed: Option<Owed>,
    record: Option<Rc<Record>>,
}

#[derive(Debug)]
enum Kind {
    Text(Bytes),
    Stream(Incoming),
}

/// What is owed when an answer ends.
#[derive(Debug)]
pub(crate) struct Owed {
    pub(crate) carrier: Option<Carrier>,
    pub(crate) upload: Option<Rc<Upload>>,
    /// Dropped with the rest: then the request is no longer in flight.
    pub(crate) lease: Option<Lease>,
    pub(crate) account: Option<Rc<Account>>,
    pub(crate) active: Option<Active>,
}

impl Owed {
    fn nothing_but(active: Option<Active>) -> Self {
        Self { carrier: None, upload: None, lease: None, account: None, active }
    }

    /// The answer is complete.
    fn pay(self) {
        let Owed { carrier, upload, lease, account: _, mut active } = self;
        if let Some(active) = &mut active {
            active.answered();
        }
        match upload {
            Some(upload) if !upload.ended() => upload.discard(active),
            Some(_) | None => {
                if let Some(carrier) = carrier {
                    carrier.put_back();
                }
            }
        }
        drop(lease);
    }

    /// The answer broke off.
    fn cut(self, error: &hyper::Error) -> Fault {
        let by_client = self.upload.as_ref().is_some_and(|upload| upload.failed());
        let fault = match &self.lease {
            Some(lease) if !by_client => lease.broke(),
            Some(_) => Fault::Reset,
            None => peer::why_broken(error),
        };
        if let (Some(account), false) = (&self.account, by_client) {
            account.broke(fault);
        }
        self.forget();
        fault
    }

    /// The client left, or the answer broke off: nothing of this exchange is used again.
    fn forget(self) {
        if let Some(upload) = &self.upload {
            drop(upload.cancel());
        }
    }
}

impl Answer {
    pub(crate) fn text(text: Bytes, active: Option<Active>) -> Self {
        Self { kind: Kind::Text(text), owed: Some(Owed::nothing_but(active)), record: None }
    }

    pub(crate) fn stream(incoming: Incoming, owed: Owed) -> Self {
        Self { kind: Kind::Stream(incoming), owed: Some(owed), record: None }
    }

    /// Is told in the log.
    pub(crate) fn recorded(mut self, record: Rc<Record>) -> Self {
        self.record = Some(record);
        self
    }

    fn count(&self, data: &Bytes) {
        if let Some(record) = &self.record {
            record.note(|line| line.bytes_out += data.len() as u64);
        }
    }

    fn ended(&mut self) {
        if let Some(record) = self.record.take() {
            record.end();
        }
        if let Some(owed) = self.owed.take() {
            owed.pay();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match &mut this.kind {
            Kind::Text(text) if text.is_empty() => Poll::Ready(None),
            Kind::Text(text) => {
                let text = std::mem::take(text);
                this.count(&text);
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            Kind::Stream(incoming) => match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let is_last = frame.is_trailers() || incoming.is_end_stream();
                    if let Some(data) = frame.data_ref() {
                        this.count(data);
                    }
                    if is_last {
                        this.ended();
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Some(Err(error)) => {
                    debug!(%error, "an answer broke off");
                    if let Some(record) = &this.record {
                        record.note(|line| line.error = Some("the answer broke off".into()));
                    }
                    match this.owed.take().map(|owed| owed.cut(&error)) {
                        // Another edge learns so whose fault it is.
                        Some(Fault::Cut) => Poll::Ready(Some(Err(peer::broken_by_us().into()))),
                        Some(_) | None => Poll::Ready(Some(Err(error.into()))),
                    }
                }
                None => {
                    this.ended();
                    Poll::Ready(None)
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Text(text) => text.is_empty(),
            Kind::Stream(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Text(text) => SizeHint::with_exact(text.len() as u64),
            Kind::Stream(incoming) => incoming.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let complete = match &self.kind {
            Kind::Text(_) => true,
            // An answer without a body is never polled.
            Kind::Stream(incoming) => incoming.is_end_stream(),
        };
        if let Some(record) = self.record.take().filter(|_| complete) {
            record.end();
        }
        match self.owed.take() {
            Some(owed) if complete => owed.pay(),
            Some(owed) => owed.forget(),
            None => {}
        }
    }
}
