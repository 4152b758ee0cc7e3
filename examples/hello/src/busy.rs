//! What is in flight, counted exactly: from a request's arrival until its answer's body is sent.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};

/// Held while a request, its answer's body or its socket lasts.
#[derive(Debug)]
pub(crate) struct Busy {
    pub(crate) counters: Vec<Arc<AtomicU64>>,
    activity: Arc<Activity>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(1, Ordering::SeqCst);
        }
        self.activity.touch();
    }
}

/// When one connection was last used.
#[derive(Debug)]
pub(crate) struct Activity {
    busy: Arc<AtomicU64>,
    last: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { busy: Arc::default(), last: Mutex::new(Instant::now()) }
    }
}

impl Activity {
    /// A request begins on this connection.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Busy { counters: vec![Arc::clone(&self.busy)], activity: Arc::clone(self) }
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when the connection has been without a request for `time`.
    pub(crate) async fn idle_for(&self, time: Duration) {
        loop {
            let idle = self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            let left = time.saturating_sub(idle);
            if left.is_zero() && self.busy.load(Ordering::SeqCst) == 0 {
                self.touch();
                return;
            }
            tokio::time::sleep(left.max(Duration::from_millis(5))).await;
        }
    }
}

/// Why an answer breaks off in the middle.
pub(crate) type BrokenOff = Box<dyn std::error::Error + Send + Sync>;

/// A body that holds on to its request's count until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) inner: UnsyncBoxBody<Bytes, BrokenOff>,
    pub(crate) busy: Option<Busy>,
}

impl Body for Held {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
