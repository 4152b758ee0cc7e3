//! An open-loop load: every request has its moment, whether or not the ones before it were answered,
//! and its latency counts from that moment. Every request is recorded; nothing is tried twice.
//!
//! *Failed* is what a user would call failed: no connection, a reset, no answer in time, an answer
//! that the application did not send, a wrong or a short body. A 5xx of the application itself is
//! counted apart.

mod exchange;
mod kind;
mod multiplex;
mod report;
mod shot;
mod socket;
mod strike;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

pub use self::kind::Kind;
pub use self::report::{KindReport, Report};
pub use self::shot::{Cause, Ending, Miss, Shot};
pub use self::strike::Struck;

use self::exchange::Pool;
use self::strike::Strike;
use crate::trouble::{Result, Trouble};

/// How long after its expected time a request may be answered before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An edge that gets load.
#[derive(Clone, Debug)]
pub struct Target {
    /// For reports.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What is sent: for each kind, how many a second through all edges together.
#[derive(Clone, Debug)]
pub struct Mix {
    /// The Host of every request.
    pub host: String,
    /// The project that has to answer.
    pub project: String,
    /// Kinds with their rates.
    pub rates: Vec<(Kind, f64)>,
}

impl Mix {
    /// These kinds. The first part of the host is the project's name.
    #[must_use]
    pub fn of(host: &str, rates: Vec<(Kind, f64)>) -> Self {
        let project = host.split('.').next().unwrap_or_default().to_owned();
        Self { host: host.to_owned(), project, rates }
    }

    /// Everything that the suite knows, at a rate that a busy machine bears.
    #[must_use]
    pub fn everything(host: &str) -> Self {
        let rates = vec![
            (Kind::Fresh, 25.0),
            (Kind::KeepAlive, 50.0),
            (Kind::Post, 15.0),
            (Kind::Chunked, 6.0),
            (Kind::Download, 4.0),
            (Kind::Upload, 4.0),
            (Kind::Http2, 20.0),
            (Kind::Slow, 3.0),
            (Kind::WebSocket, 2.0),
            (Kind::Events, 1.0),
        ];
        Self::of(host, rates)
    }

    /// The same at half the rate, for runs of an hour beside other work.
    #[must_use]
    pub fn halved(mut self) -> Self {
        self.rates.iter_mut().for_each(|(_, rate)| *rate /= 2.0);
        self
    }

    /// The same with one more kind.
    #[must_use]
    pub fn and(mut self, kind: Kind, rate: f64) -> Self {
        self.rates.push((kind, rate));
        self
    }

    /// Only short requests, on fresh and kept connections.
    #[must_use]
    pub fn short(host: &str) -> Self {
        let rates = vec![(Kind::Fresh, 20.0), (Kind::KeepAlive, 40.0), (Kind::Post, 10.0)];
        Self::of(host, rates)
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    shots: Arc<Mutex<Vec<Shot>>>,
    started: Instant,
    strikes: Mutex<Vec<Strike>>,
    thread: JoinHandle<std::io::Result<()>>,
}

/// What all requests share.
#[derive(Debug)]
struct Range {
    host: String,
    project: String,
    targets: Vec<Target>,
    pools: Vec<Pool>,
    started: Instant,
    next: AtomicU64,
    stop: Arc<AtomicBool>,
    shots: Arc<Mutex<Vec<Shot>>>,
}

impl Load {
    /// Starts the load, on a thread of its own.
    #[must_use]
    pub fn start(targets: Vec<Target>, mix: Mix) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shots = Arc::new(Mutex::new(Vec::new()));
        let started = Instant::now();
        let range = Arc::new(Range {
            host: mix.host,
            project: mix.project,
            pools: targets.iter().map(|t| Pool::new(t.address)).collect(),
            targets,
            started,
            next: AtomicU64::new(0),
            stop: Arc::clone(&stop),
            shots: Arc::clone(&shots),
        });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(fire(range, mix.rates));
            Ok(())
        });
        Self { stop, shots, started, strikes: Mutex::default(), thread }
    }

    /// The number of requests that ended until now.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.shots.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What was seen until now.
    #[must_use]
    pub fn so_far(&self) -> Report {
        self.report()
    }

    /// Destroys something: what cannot but be lost with it is counted apart. The fault returns when everything is
    /// there again, and tells when it had destroyed what it does, where it can.
    ///
    /// # Errors
    /// The fault's own.
    pub fn strike(&self, struck: Struck, fault: impl FnOnce() -> Result<Option<Instant>>) -> Result {
        let begun = self.started.elapsed();
        let over = fault()?;
        let back = self.started.elapsed();
        let over = over.map_or(back, |over| over.saturating_duration_since(self.started));
        let strike = Strike { struck, begun, over, back };
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner).push(strike);
        Ok(())
    }

    fn report(&self) -> Report {
        let strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        Report::of(&self.shots.lock().unwrap_or_else(PoisonError::into_inner), &strikes)
    }

    /// Sends nothing more, waits for every answer, and tells what happened.
    ///
    /// # Errors
    /// When the load itself broke.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::SeqCst);
        let Self { shots, strikes, thread, .. } = self;
        thread.join().map_err(|_| Trouble::new("the load's thread panicked"))??;
        let strikes = strikes.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Report::of(&shots.lock().unwrap_or_else(PoisonError::into_inner), &strikes))
    }
}

async fn fire(range: Arc<Range>, rates: Vec<(Kind, f64)>) {
    let in_flight = TaskTracker::new();
    let mut clocks = Vec::new();
    for (kind, rate) in rates {
        let (range, in_flight) = (Arc::clone(&range), in_flight.clone());
        clocks.push(tokio::spawn(async move { tick(&range, kind, rate, &in_flight).await }));
    }
    for clock in clocks {
        // A clock only ends when the load is stopped.
        let _ = clock.await;
    }
    in_flight.close();
    in_flight.wait().await;
}

/// Starts requests of one kind at their moments. A late clock catches up; it skips none.
async fn tick(range: &Arc<Range>, kind: Kind, rate: f64, in_flight: &TaskTracker) {
    let period = Duration::from_secs_f64(1.0 / rate.max(0.001));
    // Kinds do not start in step.
    let mut due = Instant::now() + period.mul_f64(rand::random_range(0.0..1.0));
    while !range.stop.load(Ordering::SeqCst) {
        tokio::time::sleep_until(due.into()).await;
        in_flight.spawn(shoot(Arc::clone(range), kind, due));
        due += period;
    }
}

async fn shoot(range: Arc<Range>, kind: Kind, due: Instant) {
    let number = range.next.fetch_add(1, Ordering::SeqCst);
    let at = usize::try_from(number).unwrap_or(0) % range.targets.len().max(1);
    let limit = due + kind.duration(number) + PATIENCE;
    let sent = range.started.elapsed();
    let work = exchange::exchange(kind, number, &range.pools[at], &range.host);
    let ending = match tokio::time::timeout_at(limit.into(), work).await {
        Ok(Ok(answer)) if ![range.project.as_str(), ""].contains(&answer.project.as_str()) => {
            let detail = format!("{} of {} answered", answer.version, answer.project);
            Ending::Failed(Miss::new(Cause::Stranger, detail))
        }
        Ok(Ok(answer)) => Ending::Answered(answer),
        Ok(Err(miss)) => Ending::Failed(miss),
        Err(_) => Ending::Failed(Miss::new(Cause::Timeout, "no answer in time")),
    };
    let shot = Shot {
        number,
        kind,
        edge: range.targets[at].name.clone(),
        at: due.saturating_duration_since(range.started),
        sent,
        latency: due.elapsed(),
        ending,
    };
    range.shots.lock().unwrap_or_else(PoisonError::into_inner).push(shot);
}
