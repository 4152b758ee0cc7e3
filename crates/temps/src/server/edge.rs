//! The edge of a node: how its server starts it, and how it starts.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use temps_core::table::EdgeReport;
use temps_edge::{EdgeConfig, Limits, Link, LinkOptions, Listen, Network};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Config;
use crate::server::inherited;

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
    /// A network of proxies that are believed what they say of a client.
    #[arg(long, value_name = "NETWORK")]
    trusted: Vec<Network>,
    /// A network of load balancers whose connections begin with a header of the PROXY protocol.
    #[arg(long, value_name = "NETWORK")]
    proxy_protocol: Vec<Network>,
    /// Where each request is logged.
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// By which it is told apart from one that another program or configuration started.
    #[arg(long, default_value_t = 0)]
    mark: u64,
    /// Take the listening sockets over from the edge that answers on this socket.
    #[arg(long, value_name = "SOCKET")]
    takeover: Option<PathBuf>,
}

/// Runs the edge until it is told to stop.
pub(crate) fn run(arguments: EdgeArguments) -> Result<()> {
    crate::log_to_stderr();
    let (http, https) = inherited::split(inherited::take()?);
    // What a service manager holds open goes before an address.
    let listen = |sockets: Vec<TcpListener>, at: Option<SocketAddr>| match sockets.is_empty() {
        true => at.into_iter().map(Listen::At).collect(),
        false => sockets.into_iter().map(Listen::Bound).collect(),
    };
    let socket = EdgeConfig::socket_in(&arguments.data_dir);
    let config = EdgeConfig {
        identity: crate::server::identity_dir(&arguments.data_dir),
        http: listen(http, Some(arguments.http)),
        https: listen(https, arguments.https),
        peer: Listen::At(arguments.peer),
        workers: arguments.workers,
        takeover: arguments.takeover,
        limits: Limits::default(),
        trusted: arguments.trusted,
        proxy_protocol: arguments.proxy_protocol,
        access_log: arguments.access_log,
        mark: arguments.mark,
        socket,
        data_dir: arguments.data_dir,
    };
    Ok(temps_edge::run(config)?)
}

/// Adopts the node's edge, or starts it; and by what one that this server would start is told apart.
pub(super) fn start(config: &Config, sockets: Arc<Vec<(String, TcpListener)>>) -> Result<(Link, u64)> {
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
    for (flag, networks) in
        [("--trusted", &config.edge_trusted), ("--proxy-protocol", &config.edge_proxy_protocol)]
    {
        args.extend(networks.iter().flat_map(|network| [flag.into(), network.to_string().into()]));
    }
    if let Some(path) = &config.edge_access_log {
        args.extend(["--access-log".into(), path.clone().into_os_string()]);
    }
    let mark = mark(&program, &args)?;
    args.extend(["--mark".into(), mark.to_string().into()]);
    Ok((Link::start(LinkOptions { data_dir: config.data_dir.clone(), program, args, sockets }), mark))
}

/// Tells one program with its arguments from another.
fn mark(program: &Path, args: &[OsString]) -> Result<u64> {
    let file = std::fs::metadata(program).context("cannot look at this program's file")?;
    let mut digest = Sha256::new().chain_update(file.len().to_be_bytes());
    for number in [file.mtime(), file.mtime_nsec()] {
        digest.update(number.to_be_bytes());
    }
    for arg in args {
        digest.update(arg.as_encoded_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    Ok(digest.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte)))
}

/// Has an edge that another program or configuration started hand over to one like this server.
pub(super) async fn keep_current(link: Arc<Link>, mark: u64, shutdown: CancellationToken) -> Result<()> {
    let mut reports = link.reports();
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        // It has a table before it is asked to hand over: nobody waits for that then.
        heard = reports.wait_for(|report| report.pid != 0 && report.version != 0) => {
            if heard?.mark != mark {
                info!("the edge was started by another program or configuration; a new one takes over");
                link.renew()?;
            }
        }
    }
    shutdown.cancelled().await;
    Ok(())
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
