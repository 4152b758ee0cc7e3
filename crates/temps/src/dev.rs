//! `temps dev`: a throwaway cluster on this machine, in one terminal.
//!
//! Real servers in real processes; what starts them again when they die is this process.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use temps_agent::runtime::Runtime;
use temps_agent::runtime::process::{ProcessOptions, ProcessRuntime};
use temps_wire::client::Client;
use temps_wire::proto::{CreateJoinTokenRequest, CreateSetupCodeRequest};
use temps_wire::token::ApiToken;
use tokio::signal::unix::{SignalKind, signal};

use crate::server::{REMOVED_CODE, admin_token_file, edge, supervisor};

/// How long a node may take to start.
const START: Duration = Duration::from_secs(30);
/// The pause before a server that died is started again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a server may take to stop.
const STOP: Duration = Duration::from_secs(10);
/// How long an edge may finish its requests when the cluster ends.
const EDGE_GRACE: Duration = Duration::from_secs(2);
/// How long an instance may take to stop when the cluster ends.
const INSTANCE_GRACE: Duration = Duration::from_secs(2);
/// How long the code for the first admin is valid, in milliseconds.
const SETUP_TTL: u64 = 24 * 60 * 60 * 1_000;
/// Ports for instances, for each node.
const INSTANCE_PORTS: u16 = 1_000;

/// Run a throwaway cluster on this machine, in one terminal.
#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Keep everything in this directory and go on with it the next time; a temporary one by default.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The port of the first node's edge; the others follow it.
    #[arg(long, default_value_t = 8081)]
    port: u16,
}

/// Runs until Ctrl-C.
pub(crate) fn main(arguments: &DevArguments) -> Result<()> {
    let temporary = match &arguments.data_dir {
        None => Some(tempfile::Builder::new().prefix("temps-dev-").tempdir()?),
        Some(dir) => {
            fs::create_dir_all(dir)?;
            None
        }
    };
    let root = match (&temporary, &arguments.data_dir) {
        (Some(dir), _) => dir.path().to_owned(),
        (None, Some(dir)) => dir.clone(),
        (None, None) => bail!("no directory"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut nodes =
        (1..=arguments.nodes).map(|n| DevNode::new(&root, n, arguments.port)).collect::<Result<Vec<_>>>()?;
    let done = runtime.block_on(run(&mut nodes));
    for node in &mut nodes {
        node.stop();
    }
    done
}

async fn run(nodes: &mut [DevNode]) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let started = tokio::select! {
        started = start(nodes) => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    announce(nodes, &started.0, &started.1)?;
    loop {
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
        for node in nodes.iter_mut() {
            let Some(status) = node.ended()? else { continue };
            if status.code() == Some(REMOVED_CODE.into()) {
                writeln!(std::io::stderr(), "{} was removed from the cluster", node.name)?;
                node.server = None;
                continue;
            }
            writeln!(std::io::stderr(), "{}: the server ended ({status}), starting it again", node.name)?;
            node.start(&[])?;
        }
    }
}

/// Starts the nodes one after another; returns the first token, and the code for the first admin.
async fn start(nodes: &mut [DevNode]) -> Result<(ApiToken, String)> {
    let Some((first, others)) = nodes.split_first_mut() else { bail!("no nodes") };
    first.start(&["--bootstrap".to_owned()])?;
    let path = admin_token_file(&first.dir);
    first.wait_for("the first token", || path.exists()).await?;
    let token: ApiToken = fs::read_to_string(&path)?.trim().parse()?;
    let client = Client::new(vec![first.control()], &token);
    client.call(|mut api| async move { api.who_am_i(temps_wire::proto::WhoAmIRequest {}).await }).await?;
    // The one of the first start is in the server's log, and another one is as good.
    let request = CreateSetupCodeRequest { ttl_ms: SETUP_TTL };
    let setup = client.call(|mut api| async move { api.create_setup_code(request).await }).await?.code;
    let uses = u32::try_from(others.len()).unwrap_or(u32::MAX);
    if uses == 0 {
        return Ok((token, setup));
    }
    let request = CreateJoinTokenRequest { ttl_ms: 3_600_000, uses };
    let join = client.call(|mut api| async move { api.create_join_token(request).await }).await?.token;
    let file = first.dir.join("join-token");
    fs::write(&file, &join)?;
    for node in others.iter_mut() {
        let file = file.to_string_lossy().into_owned();
        node.start(&["--join".to_owned(), first.control(), "--token-file".to_owned(), file])?;
        // One after another, so that the second node is the cluster's second.
        let known = node.dir.join("identity").join("node.id");
        node.wait_for("its identity", || known.exists()).await?;
    }
    let wanted = others.len() + 1;
    let deadline = Instant::now() + START;
    loop {
        let status = client.call(|mut api| async move {
            api.cluster_status(temps_wire::proto::ClusterStatusRequest {}).await
        });
        if status.await.is_ok_and(|s| s.quorum && s.nodes.len() == wanted) {
            return Ok((token, setup));
        }
        ensure!(
            Instant::now() < deadline,
            "the nodes did not find each other within {} s; see server.log in {}",
            START.as_secs(),
            first.dir.display()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn announce(nodes: &[DevNode], token: &ApiToken, setup: &str) -> Result<()> {
    let endpoints: Vec<_> = nodes.iter().map(DevNode::control).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "A cluster of {} nodes is running. Ctrl-C stops it.\n", nodes.len())?;
    for node in nodes {
        writeln!(
            out,
            "  {}  API {}  applications http://127.0.0.1:{}  logs {}",
            node.name,
            node.control(),
            node.ports.http,
            node.dir.join("server.log").display()
        )?;
    }
    writeln!(out, "\nIn another terminal:\n")?;
    writeln!(out, "  export TEMPS_ENDPOINTS={}", endpoints.join(","))?;
    writeln!(out, "  export TEMPS_TOKEN={}", token.reveal())?;
    writeln!(out, "  temps deploy my-app PATH -y")?;
    writeln!(out, "  curl http://my-app.localhost:{}/", nodes[0].ports.http)?;
    writeln!(
        out,
        "\nThe dashboard is at https://{}/. Whoever has this code becomes an admin there and sets a password, once, \
         within a day:\n\n  https://{}/code  {setup}",
        nodes[0].control(),
        nodes[0].control()
    )?;
    out.flush()?;
    Ok(())
}

/// The ports of one node.
struct Ports {
    control: u16,
    http: u16,
    peer: u16,
}

/// One node, and its server's process.
struct DevNode {
    name: String,
    dir: PathBuf,
    ports: Ports,
    server: Option<Child>,
}

impl DevNode {
    fn new(root: &Path, n: u16, first_http: u16) -> Result<Self> {
        let name = format!("n{n}");
        let dir = root.join(&name);
        let config = dir.join("server.toml");
        fs::create_dir_all(&dir)?;
        let ports = Ports { http: first_http + n - 1, control: 7400 + n * 10, peer: 7401 + n * 10 };
        for port in [ports.http, ports.control, ports.peer] {
            TcpListener::bind(("127.0.0.1", port))
                .with_context(|| format!("port {port} is in use; is another `temps dev` running?"))?;
        }
        let first = 20_000 + (n - 1) * INSTANCE_PORTS;
        let text = format!(
            "name = \"{name}\"\ndata_dir = {:?}\nlisten = \"127.0.0.1:{}\"\nports = \"{first}-{}\"\nruntime = \"process\"\n\n[edge]\nhttp = \"127.0.0.1:{}\"\npeer = \"127.0.0.1:{}\"\nworkers = 1\n",
            dir.to_string_lossy(),
            ports.control,
            first + INSTANCE_PORTS - 1,
            ports.http,
            ports.peer,
        );
        fs::write(&config, text)?;
        Ok(Self { name, dir, ports, server: None })
    }

    fn control(&self) -> String {
        format!("127.0.0.1:{}", self.ports.control)
    }

    fn start(&mut self, extra: &[String]) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("server.log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("server").arg("--config").arg(self.dir.join("server.toml")).args(extra);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C is for this process, which then stops the servers in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.server = Some(command.spawn().context("cannot start a server")?);
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(server) = &mut self.server else { return Ok(None) };
        Ok(server.try_wait()?)
    }

    async fn wait_for(&mut self, what: &str, ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + START;
        while !ready() {
            if let Some(status) = self.ended()? {
                bail!("{} ended ({status}); see {}", self.name, self.dir.join("server.log").display());
            }
            ensure!(
                Instant::now() < deadline,
                "{} did not give {what} within {} s",
                self.name,
                START.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Stops the server, then what outlives it by design.
    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = i32::try_from(server.id()).unwrap_or(i32::MAX);
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            let deadline = Instant::now() + STOP;
            while matches!(server.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = server.kill();
            let _ = server.wait();
        }
        // What outlives a server by design ends with this cluster.
        if let Err(error) = self.stop_rest() {
            let _ = writeln!(std::io::stderr(), "{}: {error:#}", self.name);
        }
    }

    fn stop_rest(&self) -> Result<()> {
        if let Ok(text) = fs::read_to_string(self.dir.join("edge.pid")) {
            let pid: i32 = text.trim().parse()?;
            edge::stop(pid, &self.dir, EDGE_GRACE);
        }
        let runtime = ProcessRuntime::new(ProcessOptions {
            data: self.dir.clone(),
            ports: 0..=0,
            supervisor: supervisor()?,
        })?;
        let stop = async {
            for found in runtime.list().await? {
                runtime.stop(found.instance, INSTANCE_GRACE).await?;
                runtime.remove(found.instance).await?;
            }
            Ok(())
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(stop)
    }
}
