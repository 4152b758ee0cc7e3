//! Counters that many threads read and each thread writes at its own place.
//!
//! A shared counter would move its cache line between cores with every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use temps_core::model::{CLASSES, EnvironmentId, Traffic, class_of};

use crate::wait::Queue;

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

/// Why a client did not get an answer of the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No instance took the connection.
    Refused,
    /// The application broke off.
    #[default]
    Reset,
    /// It was ended before it could answer, or the edge in between was.
    Cut,
    /// There is no instance.
    Shed,
}

/// What one worker counts of an environment.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    app_errors: AtomicU64,
    refused: AtomicU64,
    reset: AtomicU64,
    cut: AtomicU64,
    shed: AtomicU64,
}

/// What clients of one environment got.
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
            refused: sum(|counts| &counts.refused),
            reset: sum(|counts| &counts.reset),
            cut: sum(|counts| &counts.cut),
            shed: sum(|counts| &counts.shed),
        }
    }
}

/// One worker's hand on the counters of an environment.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) environment: EnvironmentId,
    meter: Arc<Meter>,
    worker: usize,
    /// Its requests that wait here until somebody is ready.
    pub(crate) waiting: Queue,
}

impl Account {
    pub(crate) fn new(environment: EnvironmentId, meter: Arc<Meter>, worker: usize) -> Self {
        Self { environment, meter, worker, waiting: Queue::default() }
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
    pub(crate) fn failed(&self, fault: Fault) {
        self.counts().requests.fetch_add(1, Ordering::Relaxed);
        self.broke(fault);
    }

    /// An answer that had begun broke off.
    pub(crate) fn broke(&self, fault: Fault) {
        let counts = self.counts();
        let counter = match fault {
            Fault::Refused => &counts.refused,
            Fault::Reset => &counts.reset,
            Fault::Cut => &counts.cut,
            Fault::Shed => &counts.shed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one worker counts of a release.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Attempts {
    requests: AtomicU64,
    errors: AtomicU64,
    refused: AtomicU64,
    reset: AtomicU64,
    aborted: AtomicU64,
    times: [AtomicU64; CLASSES.len() + 1],
}

/// What the instances of a release on this node do with requests.
#[derive(Debug)]
pub(crate) struct Gauge(Box<[Attempts]>);

impl Gauge {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Attempts::default()).collect())
    }

    /// An answer began.
    pub(crate) fn answered(&self, worker: usize, status: http::StatusCode, time: Duration) {
        let part = &self.0[worker];
        part.requests.fetch_add(1, Ordering::Relaxed);
        if status.is_server_error() {
            part.errors.fetch_add(1, Ordering::Relaxed);
        }
        part.time(time);
    }

    /// The instance did not take the connection.
    pub(crate) fn refused(&self, worker: usize) {
        self.0[worker].requests.fetch_add(1, Ordering::Relaxed);
        self.0[worker].refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The instance broke off before it answered.
    pub(crate) fn lost(&self, worker: usize) {
        self.0[worker].requests.fetch_add(1, Ordering::Relaxed);
        self.broke(worker);
    }

    /// The instance broke off within its answer.
    pub(crate) fn broke(&self, worker: usize) {
        self.0[worker].reset.fetch_add(1, Ordering::Relaxed);
    }

    /// The client left before an answer began.
    pub(crate) fn aborted(&self, worker: usize, time: Duration) {
        self.0[worker].aborted.fetch_add(1, Ordering::Relaxed);
        self.0[worker].time(time);
    }

    pub(crate) fn counts(&self) -> temps_core::model::Counts {
        let mut sum = temps_core::model::Counts::default();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for part in &self.0 {
            // What belongs to a request is read before the requests: never more failures than requests.
            sum.errors += read(&part.errors);
            sum.refused += read(&part.refused);
            sum.reset += read(&part.reset);
            sum.aborted += read(&part.aborted);
            sum.requests += read(&part.requests);
            for (class, n) in (0_u8..).zip(part.times.iter().map(read)).filter(|(_, n)| *n > 0) {
                *sum.times.0.entry(class).or_default() += n;
            }
        }
        sum
    }
}

impl Attempts {
    fn time(&self, time: Duration) {
        let class = class_of(u64::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX));
        self.times[usize::from(class)].fetch_add(1, Ordering::Relaxed);
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
pub(crate) const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;
