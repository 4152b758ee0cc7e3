//! Counters that many threads read and each thread writes at its own place.
//!
//! A shared counter would move its cache line between cores with every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use temps_core::model::Traffic;

/// One number on a cache line of its own.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Padded(AtomicU64);

/// A number kept in one part for each worker.
#[derive(Debug)]
pub(crate) struct Sharded(Box<[Padded]>);

impl Sharded {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Padded::default()).collect())
    }

    /// Adds, and answers this worker's part as it was before.
    pub(crate) fn add(&self, worker: usize, n: u64) -> u64 {
        self.0[worker].0.fetch_add(n, Ordering::AcqRel)
    }

    /// Takes one away, and answers what is left of this worker's part.
    pub(crate) fn take(&self, worker: usize) -> u64 {
        self.0[worker].0.fetch_sub(1, Ordering::AcqRel) - 1
    }

    pub(crate) fn part(&self, worker: usize) -> u64 {
        self.0[worker].0.load(Ordering::Acquire)
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Acquire)).sum()
    }
}

/// The cumulative counters of one environment.
#[derive(Debug)]
pub(crate) struct Meter {
    requests: Sharded,
    app_errors: Sharded,
    platform_errors: Sharded,
}

impl Meter {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            requests: Sharded::new(workers),
            app_errors: Sharded::new(workers),
            platform_errors: Sharded::new(workers),
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.sum(),
            app_errors: self.app_errors.sum(),
            platform_errors: self.platform_errors.sum(),
        }
    }
}

/// One worker's hand on the counters of an environment.
#[derive(Debug)]
pub(crate) struct Account {
    meter: Arc<Meter>,
    worker: usize,
}

impl Account {
    pub(crate) fn new(meter: Arc<Meter>, worker: usize) -> Self {
        Self { meter, worker }
    }

    /// The application answered.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        self.meter.requests.add(self.worker, 1);
        if status.is_server_error() {
            self.meter.app_errors.add(self.worker, 1);
        }
    }

    /// We answered in its place, because it could not.
    pub(crate) fn failed(&self) {
        self.meter.requests.add(self.worker, 1);
        self.meter.platform_errors.add(self.worker, 1);
    }

    /// An answer that had begun broke off.
    pub(crate) fn cut(&self) {
        self.meter.platform_errors.add(self.worker, 1);
    }
}
