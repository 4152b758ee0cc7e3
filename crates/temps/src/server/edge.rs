//! The edge of a node: how its server starts it, and how it starts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use temps_core::table::EdgeReport;
use temps_edge::{EdgeConfig, Limits, Link, LinkOptions, Listen};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// What a server tells its edge.
#[derive(Debug, Args)]
pub(crate) struct EdgeArguments {
    /// The node's data directory.
    #[arg(long)]
    data_dir: PathBuf,
    /// Where clients connect.
    #[arg(long)]
    http: SocketAddr,
    /// Where clients connect with TLS.
    #[arg(long)]
    https: Option<SocketAddr>,
    /// Where other edges connect.
    #[arg(long)]
    peer: SocketAddr,
    /// Threads that serve.
    #[arg(long)]
    workers: usize,
    /// Take the listening sockets over from the edge that answers on this socket.
    #[arg(long, value_name = "SOCKET")]
    takeover: Option<PathBuf>,
}

/// Runs the edge until it is told to stop.
pub(crate) fn run(arguments: EdgeArguments) -> Result<()> {
    crate::log_to_stderr();
    let socket = EdgeConfig::socket_in(&arguments.data_dir);
    let config = EdgeConfig {
        identity: crate::server::identity_dir(&arguments.data_dir),
        http: vec![Listen::At(arguments.http)],
        https: arguments.https.into_iter().map(Listen::At).collect(),
        peer: Listen::At(arguments.peer),
        workers: arguments.workers,
        takeover: arguments.takeover,
        limits: Limits::default(),
        socket,
        data_dir: arguments.data_dir,
    };
    Ok(temps_edge::run(config)?)
}

/// Adopts the node's edge, or starts it.
pub(super) fn start(config: &Config) -> Result<Link> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut args = vec!["edge".into(), "--data-dir".into(), config.data_dir.clone().into_os_string()];
    for (flag, value) in [
        ("--http", Some(config.edge_http.to_string())),
        ("--https", config.edge_https.map(|at| at.to_string())),
        ("--peer", Some(config.edge_peer.to_string())),
        ("--workers", Some(config.edge_workers.to_string())),
    ] {
        args.extend(value.into_iter().flat_map(|value| [flag.into(), value.into()]));
    }
    Ok(Link::start(LinkOptions { data_dir: config.data_dir.clone(), program, args }))
}

/// Ends an edge, if it is still the one of this directory: it may finish its requests for `grace`. Blocks.
pub(crate) fn stop(pid: i32, dir: &Path, grace: Duration) {
    let is_ours = || {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|b| *b == 0).any(|word| word == dir.as_os_str().as_encoded_bytes())
    };
    let deadline = Instant::now() + grace;
    if is_ours() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    while is_ours() {
        if Instant::now() > deadline {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Keeps the edge's process id in a file, for people and for `temps dev`.
pub(super) async fn note_pid(
    mut reports: watch::Receiver<EdgeReport>,
    file: PathBuf,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut noted = 0;
    loop {
        let pid = reports.borrow_and_update().pid;
        if pid != noted && pid != 0 {
            super::files::replace(&file, pid.to_string().as_bytes())?;
            noted = pid;
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = reports.changed() => if changed.is_err() {
                shutdown.cancelled().await;
                return Ok(());
            },
        }
    }
}
