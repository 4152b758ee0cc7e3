//! The server's half: it starts the edge, or finds the one that lives, and feeds it.
//!
//! An edge never ends because its server does. It runs in a process group of its own, with its output in a
//! file; whoever is the server next connects to its socket.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use temps_core::table::{Certificates, EdgeReport, Table};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::EdgeConfig;
use crate::frame::{self, ToEdge, Wire};
use crate::report::take_in;

/// How long a started edge may take until it listens.
const START: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Which edge, and how to start it.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// The edge's data directory.
    pub data_dir: PathBuf,
    /// The program to start where no edge lives.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Sockets that it gets, by name, in the way of systemd: from descriptor 3 on, named in `LISTEN_FDNAMES`.
    pub sockets: Arc<Vec<(String, TcpListener)>>,
}

/// The connection between a server and its edge, kept up for as long as this lives.
#[derive(Debug)]
pub struct Link {
    options: LinkOptions,
    tables: watch::Sender<Option<Arc<Table>>>,
    certificates: watch::Sender<Option<Certificates>>,
    reports: watch::Receiver<EdgeReport>,
    stop: Option<oneshot::Sender<Duration>>,
    task: Option<JoinHandle<()>>,
}

impl Link {
    /// Connects to the living edge of the directory, or starts one; again whenever it is lost.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(options: LinkOptions) -> Self {
        let tables = watch::Sender::new(None);
        let certificates = watch::Sender::new(None);
        let (reported, reports) = watch::channel(EdgeReport::default());
        let (stop, stopped) = oneshot::channel();
        let upkeep = Upkeep {
            options: options.clone(),
            tables: tables.subscribe(),
            certificates: certificates.subscribe(),
            reported,
            child: None,
        };
        let task = tokio::spawn(upkeep.run(stopped));
        Self { options, tables, certificates, reports, stop: Some(stop), task: Some(task) }
    }

    /// Has the edge serve a table. Only the newest matters.
    pub fn publish(&self, table: Table) {
        self.tables.send_replace(Some(Arc::new(table)));
    }

    /// Has the edge show these certificates, and no others. Before the first call it shows those that it showed last.
    pub fn certify(&self, certificates: Certificates) {
        self.certificates.send_if_modified(|known| {
            let news = known.as_ref() != Some(&certificates);
            *known = Some(certificates);
            news
        });
    }

    /// What the edge reports: several times a second, and at once when it serves a table or a drain ends.
    ///
    /// The version in a report is 0 until the edge serves a table that this link published.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<EdgeReport> {
        self.reports.clone()
    }

    /// Starts another edge, which takes the listeners of the living one; no connection is refused meanwhile.
    /// The program must understand `--takeover SOCKET`.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub fn renew(&self) -> io::Result<()> {
        let socket = EdgeConfig::socket_in(&self.options.data_dir);
        let mut child = spawn(&self.options, &["--takeover".into(), socket.into()])?;
        tokio::spawn(async move {
            let ended = child.wait().await;
            info!(?ended, "an edge that had taken over ended");
        });
        Ok(())
    }

    /// Ends the edge: it finishes its requests for as long as `grace`. Only where the node itself is to stop.
    pub async fn stop(mut self, grace: Duration) {
        if let (Some(stop), Some(task)) = (self.stop.take(), self.task.as_mut()) {
            let _ = stop.send(grace);
            let _ = tokio::time::timeout(grace + START, task).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The first descriptor that a service manager passes on.
const FIRST: i32 = 3;

/// Starts an edge that does not end with this process.
fn spawn(options: &LinkOptions, more: &[OsString]) -> io::Result<Child> {
    std::fs::create_dir_all(&options.data_dir)?;
    let log =
        std::fs::OpenOptions::new().create(true).append(true).open(options.data_dir.join("edge.log"))?;
    let mut command = Command::new(&options.program);
    let mut given = Vec::new();
    for (number, (_, socket)) in options.sockets.iter().enumerate() {
        let child_fd = FIRST + i32::try_from(number).map_err(io::Error::other)?;
        given.push(FdMapping { parent_fd: socket.try_clone()?.into(), child_fd });
    }
    if !given.is_empty() {
        let names: Vec<_> = options.sockets.iter().map(|(name, _)| name.as_str()).collect();
        command.env("LISTEN_FDS", given.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.fd_mappings(given).map_err(io::Error::other)?;
    }
    command
        .args(&options.args)
        .args(more)
        // Ctrl-C in the terminal is for the server.
        .process_group(0)
        .kill_on_drop(false)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// How a conversation with an edge ended.
enum End {
    /// It is gone.
    Lost,
    /// It was told to end, and did.
    Stopped,
}

/// Keeps the connection up.
struct Upkeep {
    options: LinkOptions,
    tables: watch::Receiver<Option<Arc<Table>>>,
    certificates: watch::Receiver<Option<Certificates>>,
    reported: watch::Sender<EdgeReport>,
    /// The edge, where this process started it.
    child: Option<Child>,
}

impl Upkeep {
    async fn run(mut self, mut stopped: oneshot::Receiver<Duration>) {
        let socket = EdgeConfig::socket_in(&self.options.data_dir);
        let mut pause = FIRST_PAUSE;
        loop {
            // Not given up half-way: an edge that was started must be told to stop.
            match self.connect(&socket).await {
                Ok(wire) => {
                    pause = FIRST_PAUSE;
                    match self.converse(wire, &mut stopped).await {
                        Ok(End::Stopped) => return,
                        Ok(End::Lost) => warn!("the connection to the edge was lost"),
                        Err(error) => warn!(%error, "the connection to the edge was lost"),
                    }
                }
                Err(error) => {
                    warn!(%error, log = %self.options.data_dir.join("edge.log").display(), "no edge");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = &mut stopped => return,
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// To the edge that lives, or to a new one.
    async fn connect(&mut self, socket: &Path) -> io::Result<Wire> {
        if let Ok(stream) = UnixStream::connect(socket).await {
            info!("found the edge");
            return Ok(frame::wire(stream));
        }
        let mut child = spawn(&self.options, &[])?;
        info!(pid = child.id(), "started an edge");
        let listening = async {
            loop {
                if let Ok(stream) = UnixStream::connect(socket).await {
                    return Ok(frame::wire(stream));
                }
                if let Some(status) = child.try_wait()? {
                    return Err(io::Error::other(format!("the edge ended at once with {status}")));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let connected = tokio::time::timeout(START, listening).await;
        if connected.is_err() {
            child.start_kill()?;
        }
        self.child = Some(child);
        connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the edge does not listen")))
    }

    async fn converse(
        &mut self,
        mut wire: Wire,
        stopped: &mut oneshot::Receiver<Duration>,
    ) -> io::Result<End> {
        frame::send(&mut wire, &ToEdge::Hello).await?;
        self.tables.mark_changed();
        self.certificates.mark_changed();
        let (mut stopping, mut heard) = (false, false);
        loop {
            tokio::select! {
                // First the certificates: a table may send clients to where they are needed.
                biased;
                changed = self.certificates.changed() => {
                    if changed.is_err() {
                        return Ok(End::Stopped);
                    }
                    let certificates = self.certificates.borrow_and_update().clone();
                    if let Some(certificates) = certificates {
                        frame::send(&mut wire, &ToEdge::Certificates(certificates)).await?;
                    }
                }
                changed = self.tables.changed() => {
                    if changed.is_err() {
                        return Ok(End::Stopped);
                    }
                    let table = self.tables.borrow_and_update().clone();
                    if let Some(table) = table {
                        frame::send(&mut wire, &ToEdge::Table(Box::new((*table).clone()))).await?;
                    }
                }
                report = frame::receive::<EdgeReport>(&mut wire) => match report {
                    Ok(Some(news)) => {
                        self.reported.send_modify(|report| {
                            if !std::mem::replace(&mut heard, true) {
                                // It may be of another edge.
                                *report = EdgeReport::default();
                            }
                            take_in(report, news);
                        });
                    }
                    Ok(None) | Err(_) if stopping => {
                        self.bury().await;
                        return Ok(End::Stopped);
                    }
                    Ok(None) => return Ok(End::Lost),
                    Err(error) => return Err(error),
                },
                grace = &mut *stopped, if !stopping => {
                    stopping = true;
                    // Where the link was merely dropped, the edge lives on.
                    let Ok(grace) = grace else { return Ok(End::Stopped) };
                    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                    frame::send(&mut wire, &ToEdge::Shutdown { grace_ms }).await?;
                }
            }
        }
    }

    async fn bury(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
        }
    }
}
