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

/// What one worker counts of an environment.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    app_errors: AtomicU64,
    platform_errors: AtomicU64,
}

/// The cumulative counters of one environment.
#[derive(Debug)]
pub(crate) struct Meter(Box<[Counts]>);

impl Meter {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Counts::default()).collect())
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let sum =
            |of: fn(&Counts) -> &AtomicU64| self.0.iter().map(|part| of(part).load(Ordering::Relaxed)).sum();
        Traffic {
            requests: sum(|counts| &counts.requests),
            app_errors: sum(|counts| &counts.app_errors),
            platform_errors: sum(|counts| &counts.platform_errors),
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

    fn counts(&self) -> &Counts {
        &self.meter.0[self.worker]
    }

    /// The application answered.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        self.counts().requests.fetch_add(1, Ordering::Relaxed);
        if status.is_server_error() {
            self.counts().app_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// We answered in its place, because it could not.
    pub(crate) fn failed(&self) {
        self.counts().requests.fetch_add(1, Ordering::Relaxed);
        self.cut();
    }

    /// An answer that had begun broke off.
    pub(crate) fn cut(&self) {
        self.counts().platform_errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where one worker stands in the order of choices of a route.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Turn {
    choice: AtomicU64,
    instance: AtomicU64,
}

/// Where each worker stands in the order of choices of a route.
#[derive(Debug)]
pub(crate) struct Turns(Box<[Turn]>);

impl Turns {
    /// Workers begin at different places, so that they do not all choose the same first.
    pub(crate) fn new(workers: usize) -> Self {
        let turn = |worker| Turn {
            choice: AtomicU64::new((worker as u64 + 1).wrapping_mul(STRIDE / 7)),
            instance: AtomicU64::new(worker as u64),
        };
        Self((0..workers).map(turn).collect())
    }

    /// A point of the whole range of numbers; successive ones fall evenly at every scale.
    pub(crate) fn choice(&self, worker: usize) -> u64 {
        self.0[worker].choice.fetch_add(STRIDE, Ordering::Relaxed)
    }

    /// One after the other.
    pub(crate) fn instance(&self, worker: usize) -> usize {
        usize::try_from(self.0[worker].instance.fetch_add(1, Ordering::Relaxed)).unwrap_or(0)
    }
}

/// 2^64 divided by the golden ratio.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;
