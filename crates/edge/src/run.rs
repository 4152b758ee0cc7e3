//! Starting an edge: sockets, workers, and the control thread, which is the caller's.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::callers::Callers;
use crate::client::{self, TICK};
use crate::compile::Compiler;
use crate::config::{EdgeConfig, EdgeError, Limits};
use crate::control::{Control, Event, Makers};
use crate::count::Sharded;
use crate::handover::{self, Estate};
use crate::keyring::{Keyring, Smith};
use crate::listen::{Sockets, bind, bind_secure};
use crate::table::{Swap, Uptime};
use crate::worker::{Shared, Worker};
use crate::{identity, log, owner, secure, store};

/// What the control thread tells a worker.
#[derive(Debug)]
pub(crate) enum Order {
    /// Serve this table.
    Swap(Swap),
    /// Show these certificates.
    Show(Arc<Keyring>),
    /// Accept no more, finish what is under way, and end.
    Stop {
        /// When to end in any case.
        until: Instant,
        /// What becomes of connections that wait to be accepted.
        waiting: Waiting,
    },
}

/// What becomes of connections that wait to be accepted when an edge stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Another edge has the same sockets.
    Inherited,
    /// Nobody else will accept them.
    Served,
}

/// A worker as the control thread sees it.
pub(crate) type Worked = mpsc::UnboundedSender<Order>;

/// Serves until told to stop, by its server, by a signal, or by the edge that takes over.
///
/// Blocks. The caller installs the subscriber for traces.
///
/// # Errors
/// Where it cannot start; see [`EdgeError`].
pub fn run(config: EdgeConfig) -> Result<(), EdgeError> {
    let EdgeConfig { data_dir, socket, http, https, peer, identity, workers, takeover, mut limits, .. } =
        config;
    let (trusted, proxy_protocol) = (config.trusted.into(), config.proxy_protocol);
    // Dropped last: everybody has logged by then.
    let (log, _writing) = config.access_log.map(log::start).transpose()?.unzip();
    limits.connections = limits.connections.min(descriptors() / 3).max(1);
    let tls = identity::load(&identity)?;
    let (mut estate, mut predecessor) = match &takeover {
        Some(path) => {
            let (estate, predecessor) = handover::take(path)?;
            (estate, Some(predecessor))
        }
        None => {
            let lock = store::lock(&data_dir)?;
            let sockets = bind(http, peer, workers.clamp(1, MOST_WORKERS))?;
            (Estate { lock, control: listen(&socket)?, sockets }, None)
        }
    };
    if estate.sockets.iter().all(|set| set.https.is_empty()) {
        bind_secure(&mut estate.sockets, https)?;
    }
    let table = match &mut predecessor {
        Some(predecessor) => predecessor.table.take(),
        None => store::load(&data_dir),
    };

    let Estate { lock, control, sockets } = estate;
    let workers = sockets.len();
    let news = Arc::new(Notify::new());
    let shared = Arc::new(Shared {
        news: Arc::clone(&news),
        acknowledged: (0..workers).map(|_| AtomicU64::new(0)).collect(),
        retries: Sharded::new(workers),
        heard: AtomicBool::new(false),
        callers: Arc::new(Callers::default()),
        tls,
        trusted,
        proxy_protocol,
        log,
    });
    let mut compiler = Compiler::new(workers, Uptime::start(), news);
    let first = table.as_ref().map(|table| compiler.compile(table));
    let failed = |error: io::Error| EdgeError::Worker(error.to_string());
    let mut smith = Smith::new().map_err(|error| failed(io::Error::other(error)))?;
    let keyring = Arc::new(smith.forge(&store::load_certificates(&data_dir)));
    let https = sockets.first().and_then(|set| set.https.first()?.local_addr().ok()).map(|at| at.port());
    let duplicates = sockets.iter().map(Sockets::duplicate).collect::<io::Result<_>>().map_err(failed)?;
    let kept = Estate { lock, control, sockets: duplicates };
    let (events, inbox) = mpsc::unbounded_channel();
    let mut orders = Vec::new();
    let mut threads = Vec::new();
    for (index, sockets) in sockets.into_iter().enumerate() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let start = Start {
            index,
            shared: Arc::clone(&shared),
            limits,
            sockets,
            first: first.clone(),
            keyring: Arc::clone(&keyring),
            https,
            orders: receiver,
        };
        let ended = Ended { index, events: events.clone() };
        let thread = std::thread::Builder::new().name(format!("edge-{index}")).spawn(move || {
            let _ended = ended;
            start.run()
        });
        threads.push(thread.map_err(failed)?);
        orders.push(sender);
    }
    let mut before = None;
    if let Some(mut predecessor) = predecessor {
        let refuse = |error: io::Error| EdgeError::Takeover { path: socket, why: error.to_string() };
        let report = predecessor.taken().map_err(refuse)?;
        before = Some((predecessor.stream, report));
    }
    info!(workers, index = table.as_ref().map_or(0, |table| table.index), "edge started");

    let control = Control::new(
        (data_dir, config.mark),
        limits,
        shared,
        Makers { compiler, smith },
        orders,
        kept,
        events,
    );
    let runtime = runtime().map_err(failed)?;
    let result = runtime.block_on(control.run(inbox, table.zip(first), before));
    drop(runtime);
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => return Err(EdgeError::Worker("it panicked".to_owned())),
        }
    }
    info!("edge ended");
    result
}

/// How many descriptors there may be, as many as this process is allowed. A connection of a client may need one to an
/// instance, too, and one to another edge.
fn descriptors() -> usize {
    let allowed = getrlimit(Resource::Nofile);
    let all = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    let now = if setrlimit(Resource::Nofile, all).is_ok() { all.current } else { allowed.current };
    now.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// So many that all sockets can be handed over at once, with a few addresses each.
const MOST_WORKERS: usize = 64;

/// Each thread runs everything it starts by itself.
fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// The unix socket for the server. A file left by an edge that is gone is replaced: the lock is ours.
fn listen(path: &Path) -> Result<UnixListener, EdgeError> {
    let refuse = |source| EdgeError::Bind { at: path.display().to_string(), source };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refuse(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(refuse)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(refuse)?;
    listener.set_nonblocking(true).map_err(refuse)?;
    Ok(listener)
}

/// Tells the control thread that a worker ended, however it did.
struct Ended {
    index: usize,
    events: mpsc::UnboundedSender<Event>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.events.send(Event::WorkerEnded(self.index));
    }
}

/// What a worker starts with.
struct Start {
    index: usize,
    shared: Arc<Shared>,
    limits: Limits,
    sockets: Sockets,
    first: Option<Swap>,
    keyring: Arc<Keyring>,
    https: Option<u16>,
    orders: mpsc::UnboundedReceiver<Order>,
}

impl Start {
    fn run(self) -> io::Result<()> {
        let worker = Worker::new(self.index, self.shared, self.limits, self.keyring, self.https);
        let worker = Rc::new(worker);
        let runtime = runtime()?;
        runtime.block_on(async {
            // The table is there before the first connection is accepted.
            if let Some(first) = self.first {
                worker.switch(first);
            }
            let mut accepting = Vec::new();
            let of = |sockets: Vec<_>, kind| sockets.into_iter().map(move |socket| (socket, kind));
            let clients = of(self.sockets.http, Kind::Client).chain(of(self.sockets.https, Kind::Secure));
            for (socket, kind) in clients {
                // Its connections inherit it: they end where the other side takes nothing of what is sent.
                SockRef::from(&socket).set_tcp_user_timeout(Some(worker.limits.body))?;
                let listener = TcpListener::from_std(socket)?;
                accepting.push(spawn_local(accept(Rc::clone(&worker), Rc::new(listener), kind)));
            }
            let listener = TcpListener::from_std(self.sockets.peer)?;
            accepting.push(spawn_local(accept(Rc::clone(&worker), Rc::new(listener), Kind::Edge)));
            serve(&worker, self.orders, accepting).await;
            Ok(())
        })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Client,
    Secure,
    Edge,
}

/// Follows orders until everything is finished.
async fn serve(
    worker: &Rc<Worker>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    accepting: Vec<JoinHandle<()>>,
) {
    let settling = Rc::clone(worker);
    spawn_local(async move { settling.keep_settling().await });
    let mut accepting = Some(accepting);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut end = None;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Swap(swap)) => worker.switch(swap),
                Some(Order::Show(keyring)) => worker.show(keyring),
                Some(Order::Stop { until, waiting }) => {
                    end = Some(until);
                    if let Some(accepting) = accepting.take() {
                        stop_accepting(worker, accepting, waiting).await;
                    }
                }
                // Nobody is left to report to.
                None => return,
            },
            _ = ticks.tick() => {
                let now = worker.ticks.advance();
                if now.is_multiple_of(4) || worker.closing.get().is_some() {
                    worker.sweep(now);
                }
            }
        }
        if let Some(end) = end {
            if worker.is_quiet() {
                return;
            }
            if Instant::now() >= end {
                warn!(worker = worker.index, open = worker.open(), "stopping, connections are cut");
                return;
            }
        }
    }
}

async fn stop_accepting(worker: &Rc<Worker>, accepting: Vec<JoinHandle<()>>, waiting: Waiting) {
    worker.closing.set(Some(worker.ticks.now()));
    if waiting == Waiting::Served {
        // They accept what has come so far and only then end.
        worker.last_call.notify_waiters();
        let all = futures_util::future::join_all(accepting);
        // Under a constant stream of connections it would never be quiet.
        let _ = tokio::time::timeout(LAST_CALL * 10, all).await;
    } else {
        accepting.iter().for_each(JoinHandle::abort);
    }
}

/// How long it stays quiet before nobody is waiting to be accepted any more.
const LAST_CALL: Duration = Duration::from_millis(20);

async fn accept(worker: Rc<Worker>, listener: Rc<TcpListener>, kind: Kind) {
    let last_call = Rc::clone(&worker);
    let mut last_call = std::pin::pin!(last_call.last_call.notified());
    let mut last = false;
    loop {
        let accepted = if last {
            match tokio::time::timeout(LAST_CALL, listener.accept()).await {
                Ok(accepted) => accepted,
                Err(_) => return,
            }
        } else {
            tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut last_call => {
                    last = true;
                    continue;
                }
            }
        };
        match accepted {
            Ok((stream, from)) => match kind {
                Kind::Client => drop(spawn_local(client::serve(Rc::clone(&worker), stream, from.ip()))),
                Kind::Secure => drop(spawn_local(secure::serve(Rc::clone(&worker), stream, from.ip()))),
                Kind::Edge => drop(spawn_local(owner::serve(Rc::clone(&worker), stream))),
            },
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of descriptors: those in use come back as requests end.
                warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
