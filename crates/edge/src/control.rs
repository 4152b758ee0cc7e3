//! The control thread: it hears the server, hands tables to the workers, and reports.
//!
//! It carries no request. When it has no server it changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use temps_core::model::{EnvironmentId, Measured};
use temps_core::table::{Certificates, EdgeReport, Table};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use crate::compile::Compiler;
use crate::config::{EdgeError, Limits};
use crate::frame::{self, ToEdge, Wire};
use crate::handover::Estate;
use crate::keyring::Smith;
use crate::report::{Ledger, Session, add_traffic, add_up, news, take_in};
use crate::run::{Order, Waiting, Worked};
use crate::store::{self, Numbered};
use crate::table::Swap;
use crate::worker::Shared;

/// How often a report is sent at least.
const REPORT: Duration = Duration::from_millis(250);

/// Adding up what thousands of environments count takes its time: that is one of so many parts of all, at most.
const RARELY: u32 = 100;

/// How long whoever connects may take to say what it is.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// How long an edge that takes over may need until it has begun.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happens to an edge from outside.
#[derive(Debug)]
pub(crate) enum Event {
    /// A server connected.
    Server(Box<Wire>),
    /// An edge wants to take over.
    Heir(Box<Wire>),
    /// A server said something; `None`: it is gone.
    Said(Session, Option<ToEdge>),
    /// The edge before this one reported; `None`: it has ended.
    Predecessor(Option<EdgeReport>),
    /// A worker ended.
    WorkerEnded(usize),
}

/// The server being heard.
#[derive(Debug)]
struct Heard {
    session: Session,
    /// Only the newest matters to a server that is slow to listen.
    reports: watch::Sender<EdgeReport>,
    conversation: JoinHandle<()>,
}

/// The edge before this one, while it finishes.
#[derive(Debug)]
struct Before {
    tables: mpsc::UnboundedSender<Table>,
    report: EdgeReport,
}

/// What turns that which a server says into that which workers read.
#[derive(Debug)]
pub(crate) struct Makers {
    pub(crate) compiler: Compiler,
    pub(crate) smith: Smith,
}

/// The control thread.
#[derive(Debug)]
pub(crate) struct Control {
    data_dir: PathBuf,
    mark: u64,
    /// Who began to count: this edge, or the first of those before it.
    counting: u64,
    limits: Limits,
    shared: Arc<Shared>,
    compiler: Compiler,
    smith: Smith,
    workers: Vec<Worked>,
    running: usize,
    estate: Option<Estate>,
    events: mpsc::UnboundedSender<Event>,
    accepting: Option<JoinHandle<()>>,
    table: Option<Table>,
    ledger: Ledger,
    heard: Option<Heard>,
    sessions: Session,
    before: Option<Before>,
    /// What edges counted that have ended.
    base: BTreeMap<EnvironmentId, Measured>,
    to_save: watch::Sender<Numbered>,
    saved: Arc<AtomicU64>,
    stopping: bool,
    retries_told: u64,
    /// Until then only what happens is a reason to report.
    next_report: Instant,
}

impl Control {
    pub(crate) fn new(
        (data_dir, mark): (PathBuf, u64),
        limits: Limits,
        shared: Arc<Shared>,
        makers: Makers,
        workers: Vec<Worked>,
        estate: Estate,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            data_dir,
            mark,
            counting: begun(),
            limits,
            shared,
            compiler: makers.compiler,
            smith: makers.smith,
            running: workers.len(),
            workers,
            estate: Some(estate),
            events,
            accepting: None,
            table: None,
            ledger: Ledger::default(),
            heard: None,
            sessions: 0,
            before: None,
            base: BTreeMap::new(),
            to_save: watch::Sender::new(None),
            saved: Arc::default(),
            stopping: false,
            retries_told: 0,
            next_report: Instant::now(),
        }
    }

    /// Runs until the workers have ended. `first`: what they were started with.
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Event>,
        first: Option<(Table, Swap)>,
        predecessor: Option<(StdUnixStream, EdgeReport)>,
    ) -> Result<(), EdgeError> {
        let failed = |error: io::Error| EdgeError::Worker(error.to_string());
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        // Heard and ignored: a terminal that closes is no reason to stop.
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let saving = store::keep(
            self.data_dir.clone(),
            self.to_save.subscribe(),
            Arc::clone(&self.saved),
            Arc::clone(&self.shared.news),
        );
        spawn_local(saving);
        if let Some((table, swap)) = first {
            // It came from the disk, or from an edge that saved it.
            self.saved.store(swap.seq, Ordering::Release);
            self.ledger.add(swap.seq, &table, 0, swap.table);
            if predecessor.is_some() {
                self.saved.store(0, Ordering::Release);
                self.to_save.send_replace(Some((swap.seq, Arc::new(table.clone()))));
            }
            self.table = Some(table);
        }
        if let Some((stream, report)) = predecessor {
            self.follow(stream, report).map_err(failed)?;
        }
        self.accept().map_err(failed)?;
        let mut ticks = tokio::time::interval(REPORT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let news = Arc::clone(&self.shared.news);
        loop {
            let mut happened = true;
            tokio::select! {
                event = inbox.recv() => {
                    if let Some(event) = event {
                        self.on(event).await?;
                    }
                }
                () = news.notified() => {}
                _ = ticks.tick() => happened = false,
                _ = terminate.recv() => self.stop(self.limits.drain, Waiting::Served),
                _ = interrupt.recv() => self.stop(self.limits.drain, Waiting::Served),
                _ = hangup.recv() => {}
            }
            if happened || Instant::now() >= self.next_report {
                self.report();
            }
            // The one before counts what it finishes through this one.
            if self.running == 0 && self.before.is_none() {
                // The last report must reach the server before the connection ends with this runtime.
                if let Some(Heard { reports, conversation, .. }) = self.heard.take() {
                    drop(reports);
                    let _ = tokio::time::timeout(INTRODUCTION, conversation).await;
                }
                return Ok(());
            }
        }
    }

    async fn on(&mut self, event: Event) -> Result<(), EdgeError> {
        match event {
            Event::Server(wire) if self.estate.is_some() => self.hear(*wire),
            // It came just before another edge took over: it will find that one.
            Event::Server(_) => {}
            Event::Heir(wire) => self.hand_over(*wire).await,
            Event::Said(session, said) if self.heard.as_ref().is_some_and(|h| h.session == session) => {
                match said {
                    Some(ToEdge::Table(table)) => self.serve(*table, session),
                    Some(ToEdge::Certificates(certificates)) => self.show(&certificates),
                    Some(ToEdge::Shutdown { grace_ms }) => {
                        self.stop(Duration::from_millis(grace_ms), Waiting::Served);
                    }
                    Some(ToEdge::Taken) => self.retire(),
                    Some(ToEdge::Hello | ToEdge::Takeover) => {}
                    None => {
                        info!("the server is gone, serving goes on");
                        self.heard = None;
                        self.shared.heard.store(false, Ordering::Relaxed);
                    }
                }
            }
            Event::Said(..) => {}
            Event::Predecessor(Some(news)) => {
                if let Some(before) = &mut self.before {
                    take_in(&mut before.report, news);
                }
            }
            Event::Predecessor(None) => {
                if let Some(before) = self.before.take() {
                    info!("the edge before has ended");
                    add_traffic(&mut self.base, &before.report.traffic);
                }
            }
            Event::WorkerEnded(index) => {
                self.running -= 1;
                // It has no requests left that could choose by any table.
                self.shared.acknowledged[index].store(u64::MAX, Ordering::Release);
                if !self.stopping {
                    return Err(EdgeError::Worker(format!("worker {index} ended by itself")));
                }
            }
        }
        Ok(())
    }

    /// Listens to a server from now on, and to no other.
    fn hear(&mut self, wire: Wire) {
        self.sessions += 1;
        let session = self.sessions;
        let (reports, to_send) = watch::channel(EdgeReport::default());
        let conversation = spawn_local(converse(wire, session, to_send, self.events.clone()));
        self.heard = Some(Heard { session, reports, conversation });
        self.shared.heard.store(true, Ordering::Relaxed);
    }

    /// Certificates come rarely, so the disk may be waited for.
    fn show(&mut self, certificates: &Certificates) {
        if self.estate.is_some() {
            store::save_certificates(&self.data_dir, certificates);
        }
        let keyring = Arc::new(self.smith.forge(certificates));
        for worker in &self.workers {
            let _ = worker.send(Order::Show(Arc::clone(&keyring)));
        }
    }

    fn serve(&mut self, table: Table, session: Session) {
        if !self.ledger.is_news(&table, session) {
            debug!(index = table.index, "an older table than the present one, ignored");
            return;
        }
        let swap = self.compiler.compile(&table);
        self.ledger.add(swap.seq, &table, session, Arc::clone(&swap.table));
        for worker in &self.workers {
            let _ = worker.send(Order::Swap(swap.clone()));
        }
        if let Some(before) = &self.before {
            let _ = before.tables.send(Table { version: swap.seq, ..table.clone() });
        }
        if self.estate.is_some() {
            self.to_save.send_replace(Some((swap.seq, Arc::new(table.clone()))));
        } else {
            // The edge that took over saves it.
            self.saved.store(swap.seq, Ordering::Release);
        }
        self.table = Some(table);
    }

    fn report(&mut self) {
        let begun = Instant::now();
        let workers =
            self.shared.acknowledged.iter().map(|seq| seq.load(Ordering::Acquire)).min().unwrap_or(0);
        let before = self.before.as_ref().map_or(u64::MAX, |before| before.report.version);
        self.ledger.acknowledge(workers.min(self.saved.load(Ordering::Acquire)).min(before));
        let retries = self.shared.retries.sum();
        if retries != self.retries_told {
            debug!(retries, "requests were sent again");
            self.retries_told = retries;
        }
        let Some(heard) = &self.heard else { return };
        let (index, version) = self.ledger.served(heard.session);
        let mine = EdgeReport {
            index,
            version,
            in_flight: self.compiler.in_flight(workers),
            by_release: self.compiler.by_release(),
            traffic: self.compiler.traffic(),
            pid: std::process::id(),
            mark: self.mark,
            counting: self.counting,
        };
        let before = self.before.as_ref().map(|before| &before.report);
        heard.reports.send_replace(add_up(mine, before, &self.base));
        self.next_report = begun + begun.elapsed() * RARELY;
    }

    fn stop(&mut self, grace: Duration, waiting: Waiting) {
        info!(grace_s = grace.as_secs(), "stopping");
        self.stopping = true;
        let until = Instant::now() + grace;
        for worker in &self.workers {
            let _ = worker.send(Order::Stop { until, waiting });
        }
        if waiting == Waiting::Served {
            // From now on another edge may be started.
            self.stop_listening();
        }
    }

    fn stop_listening(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
        self.estate = None;
    }

    /// Offers everything to an edge that wants to take over. Until it says that it has begun nothing changes here.
    async fn hand_over(&mut self, mut wire: Wire) {
        let Some(estate) = self.estate.as_ref().filter(|_| !self.stopping) else { return };
        let offer = async {
            // Two edges must not save tables at the same time.
            while self.saved.load(Ordering::Acquire) < self.compiler.newest() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            estate.give(&wire).await?;
            let table = match &self.table {
                Some(table) => ToEdge::Table(Box::new(table.clone())),
                None => ToEdge::Hello,
            };
            frame::send(&mut wire, &table).await?;
            frame::receive::<ToEdge>(&mut wire).await
        };
        // The workers serve meanwhile; only tables and reports wait.
        match tokio::time::timeout(PATIENCE, offer).await {
            Ok(Ok(Some(ToEdge::Taken))) => {
                self.hear(wire);
                self.retire();
            }
            Ok(Ok(_)) | Ok(Err(_)) | Err(_) => warn!("another edge wanted to take over and did not"),
        }
    }

    /// Another edge accepts in our place: finish, and end.
    fn retire(&mut self) {
        info!("another edge has taken over");
        self.stop_listening();
        self.stop(self.limits.retire, Waiting::Inherited);
    }

    /// Feeds the edge before this one, and hears it, until it has finished.
    fn follow(&mut self, stream: StdUnixStream, report: EdgeReport) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let wire = frame::wire(UnixStream::from_std(stream)?);
        let (tables, to_send) = mpsc::unbounded_channel();
        spawn_local(feed(wire, to_send, self.events.clone()));
        if let Some(table) = &self.table {
            // It serves this one already, and so learns our number of it.
            let _ = tables.send(Table { version: self.compiler.newest(), ..table.clone() });
        }
        // It counts on.
        if report.counting > 0 {
            self.counting = report.counting;
        }
        self.before = Some(Before { tables, report });
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let Some(estate) = &self.estate else { return Ok(()) };
        let listener = UnixListener::from_std(estate.control.try_clone()?)?;
        self.accepting = Some(spawn_local(greet(listener, self.events.clone())));
        Ok(())
    }
}

/// A number that no other edge of this machine has: the nanosecond in which it began.
fn begun() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Accepts whoever connects, and finds out what it is.
async fn greet(listener: UnixListener, events: mpsc::UnboundedSender<Event>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let events = events.clone();
        spawn_local(async move {
            let mut wire = frame::wire(stream);
            let event = match tokio::time::timeout(INTRODUCTION, frame::receive(&mut wire)).await {
                Ok(Ok(Some(ToEdge::Hello))) => Event::Server(Box::new(wire)),
                Ok(Ok(Some(ToEdge::Takeover))) => Event::Heir(Box::new(wire)),
                Ok(_) | Err(_) => return,
            };
            let _ = events.send(event);
        });
    }
}

/// Passes on what a server says, and reports to it, until it is gone or another is heard.
async fn converse(
    mut wire: Wire,
    session: Session,
    mut reports: watch::Receiver<EdgeReport>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut told = EdgeReport::default();
    loop {
        tokio::select! {
            said = frame::receive::<ToEdge>(&mut wire) => match said {
                Ok(Some(said)) => drop(events.send(Event::Said(session, Some(said)))),
                Ok(None) => break,
                Err(error) => {
                    warn!(%error, "what the server says is not understood");
                    break;
                }
            },
            changed = reports.changed() => {
                if changed.is_err() {
                    return;
                }
                let report = reports.borrow_and_update().clone();
                if frame::send(&mut wire, &news(&report, &told)).await.is_err() {
                    break;
                }
                told = report;
            }
        }
    }
    let _ = events.send(Event::Said(session, None));
}

/// Sends tables to the edge before this one, and passes on its reports.
async fn feed(
    mut wire: Wire,
    mut tables: mpsc::UnboundedReceiver<Table>,
    events: mpsc::UnboundedSender<Event>,
) {
    loop {
        tokio::select! {
            report = frame::receive::<EdgeReport>(&mut wire) => match report {
                Ok(Some(report)) => drop(events.send(Event::Predecessor(Some(report)))),
                Ok(None) | Err(_) => break,
            },
            table = tables.recv() => {
                let Some(table) = table else { break };
                if frame::send(&mut wire, &ToEdge::Table(Box::new(table))).await.is_err() {
                    break;
                }
            }
        }
    }
    let _ = events.send(Event::Predecessor(None));
}
