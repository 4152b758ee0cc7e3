//! `temps server`: the composition root of a node.

mod adapters;
mod containers;
pub(crate) mod edge;
mod enter;
mod files;
mod inherited;
mod leave;
mod publish;
mod runtime;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use temps_agent::store::Store;
use temps_agent::{Agent, AgentOptions};
use temps_api::Desk;
use temps_control::{Certifier, ChannelKeys, Control, Notifier};
use temps_core::model::NodeId;
use temps_history::History;
use temps_ledger::Ledger;
use temps_raft::{GrpcTransport, OpenOptions, RaftLedger, SnapshotRules};
use temps_wire::identity::NodeIdentity;
use temps_wire::peers::Peers;
use temps_wire::seal::Seal;
use temps_wire::shown::Shown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::{self, Config};
use adapters::{ArtifactShelf, LogShelf, NodeFetch, PastShelf, RaftDoor, SealedVault};
pub(crate) use enter::{admin_token_file, identity_dir};
pub(crate) use leave::{REMOVED_CODE, Removed};

/// How long the parts may take to end.
const CLOSING: Duration = Duration::from_secs(5);

/// Run a node of a cluster.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Configuration file; /etc/temps/server.toml where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Found a new cluster, unless this node belongs to one already.
    #[arg(long, conflicts_with = "join")]
    bootstrap: bool,
    /// Join the cluster that a node of it answers for at host:port, unless this node belongs to one already.
    #[arg(long, value_name = "ENDPOINT", requires = "token_source")]
    join: Option<String>,
    /// The join token, from `temps cluster token`.
    #[arg(long, group = "token_source", env = "TEMPS_JOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file with the join token.
    #[arg(long, value_name = "FILE", group = "token_source")]
    token_file: Option<PathBuf>,
    /// The node's name; its host name by default.
    #[arg(long)]
    name: Option<String>,
    /// Where everything is kept; /var/lib/temps by default.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// How a node that belongs to no cluster comes to one.
pub(crate) enum Entrance {
    Bootstrap,
    Join { endpoint: String, token: String },
    None,
}

/// Runs until a signal asks it to stop, or until it cannot go on.
pub(crate) fn main(arguments: ServerArguments) -> Result<()> {
    crate::log_to_stderr();
    let sockets = inherited::take()?;
    let mut raw = config::read(arguments.config.as_deref())?;
    raw.name = arguments.name.or(raw.name);
    raw.data_dir = arguments.data_dir.or(raw.data_dir);
    let config = config::resolve(raw)?;
    let token = match (arguments.token, arguments.token_file) {
        (Some(token), _) => Some(token),
        (None, Some(path)) => {
            Some(std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        (None, None) => None,
    };
    let entrance = match (arguments.bootstrap, arguments.join, token) {
        (true, _, _) => Entrance::Bootstrap,
        (false, Some(endpoint), Some(token)) => Entrance::Join { endpoint, token: token.trim().to_owned() },
        (false, _, _) => Entrance::None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(run(config, entrance, Arc::new(sockets)));
    runtime.shutdown_timeout(CLOSING);
    done
}

async fn run(config: Config, entrance: Entrance, sockets: EdgeSockets) -> Result<()> {
    // The signals are caught before anything is started that would have to be stopped.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let boot = files::claim(&config.data_dir)?;
    if leave::is_noted(&config.data_dir) {
        let identity = enter::identity(&config, &Entrance::None).await?;
        let runtime = runtime::choose(&config).await?;
        return Err(leave::end(&config, &identity, &runtime).await);
    }
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let runtime = runtime::choose(&config).await?;
    let identity = Arc::new(enter::identity(&config, &entrance).await?);
    info!(node = %identity.node, name = config.name, listen = %config.listen, "node starts");

    let node = Node::open(config, identity, runtime, boot.number, sockets).await?;
    let shutdown = CancellationToken::new();
    let mut parts = node.start(listener, &entrance, &shutdown).await?;

    let mut fatal = node.ledger.fatal();
    let ended = tokio::select! {
        () = leave::removed(node.ledger.clone(), node.peers.clone()) => return node.leave(parts, shutdown).await,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        why = fatal.wait_for(Option::is_some) => Err(why.ok().and_then(|w| w.clone()).unwrap_or_default()),
        Some(part) = parts.join_next() => Err(format!("a part of the node ended: {part:?}")),
    };
    if let Err(why) = &ended {
        error!(why, "the node cannot go on");
    } else {
        info!("the node stops; its edge and instances stay");
        node.ledger.step_down().await;
    }
    node.close(parts, shutdown).await;
    drop(boot);
    if let Err(why) = ended {
        bail!(why);
    }
    Ok(())
}

/// The program that starts an instance and stays its parent, and its arguments before the directory.
pub(crate) fn supervisor() -> Result<(PathBuf, Vec<OsString>)> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    Ok((program, vec!["supervise".into()]))
}

/// The parts of a node that others are wired to.
struct Node {
    config: Config,
    identity: Arc<NodeIdentity>,
    peers: Peers,
    ledger: RaftLedger,
    runtime: runtime::Choice,
    boot: u64,
    sockets: EdgeSockets,
}

/// Those that the edge gets from a service manager.
type EdgeSockets = Arc<Vec<(String, std::net::TcpListener)>>;

impl Node {
    async fn open(
        config: Config,
        identity: Arc<NodeIdentity>,
        runtime: runtime::Choice,
        boot: u64,
        sockets: EdgeSockets,
    ) -> Result<Self> {
        let peers = Peers::new(&identity);
        let ledger = RaftLedger::open(OpenOptions {
            node: identity.node,
            address: config.advertise.clone(),
            data: config.data_dir.clone(),
            timings: config.timings,
            snapshots: SnapshotRules::default(),
            transport: Arc::new(GrpcTransport::new(peers.clone())),
        })
        .await?;
        Ok(Self { config, identity, peers, ledger, runtime, boot, sockets })
    }

    /// Ends the parts, and nothing that outlives them.
    async fn close(&self, mut parts: JoinSet<Result<()>>, shutdown: CancellationToken) {
        shutdown.cancel();
        let rest = async { while parts.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(CLOSING, rest).await;
        self.ledger.shutdown().await;
    }

    /// The cluster has removed this node: nothing of it is left behind.
    async fn leave(&self, parts: JoinSet<Result<()>>, shutdown: CancellationToken) -> Result<()> {
        error!("this node was removed from its cluster; its edge and everything that it runs end");
        leave::remember(&self.config.data_dir)?;
        leave::linger(&self.ledger).await;
        self.close(parts, shutdown).await;
        Err(leave::end(&self.config, &self.identity, &self.runtime).await)
    }

    fn id(&self) -> NodeId {
        self.identity.node
    }

    /// Starts everything; each part ends by `shutdown` alone.
    async fn start(
        &self,
        listener: TcpListener,
        entrance: &Entrance,
        shutdown: &CancellationToken,
    ) -> Result<JoinSet<Result<()>>> {
        let ledger: Arc<dyn Ledger> = Arc::new(self.ledger.clone());
        let (link, mark) = edge::start(&self.config, Arc::clone(&self.sockets))?;
        let link = Arc::new(link);
        let pid_file = self.config.data_dir.join("edge.pid");
        let store = Arc::new(Store::open(self.config.data_dir.join("artifacts"))?);
        let running = runtime::open(&self.config, &self.identity, &self.runtime, &store).await?;
        let hands = Arc::clone(&running.runtime);
        let agent = Agent::new(AgentOptions {
            ledger: Arc::clone(&ledger),
            data: self.config.data_dir.clone(),
            runtime: running.runtime,
            builder: running.builder,
            store: Arc::clone(&store),
            fetch: Arc::new(NodeFetch::new(Arc::clone(&ledger), self.peers.clone())),
            edge: link.reports(),
            boot: self.boot,
            labels: self.config.labels.clone(),
            disks: running.disks,
            lease: self.config.lease,
        })?;
        let local = agent.local_view();
        let history = Arc::new(History::open(self.config.data_dir.join("history"))?);
        let door = Arc::new(RaftDoor::new(self.ledger.clone()));
        let routes = temps_api::routes(Desk {
            ledger: Arc::clone(&ledger),
            identity: Arc::clone(&self.identity),
            peers: self.peers.clone(),
            consensus: door.clone(),
            membership: door,
            artifacts: Arc::new(ArtifactShelf::new(store)),
            logs: Arc::new(LogShelf::new(agent.logs())),
            builds: running.builds,
            images: running.images,
            past: Arc::new(PastShelf::new(Arc::clone(&history))),
            door: Arc::default(),
            edge: link.reports(),
            quorum: None,
        });

        let mut parts = JoinSet::new();
        let (identity, token) = (Arc::clone(&self.identity), shutdown.clone());
        let shown = Arc::new(Shown::default());
        let by_name = Arc::clone(&shown);
        parts.spawn(async move {
            temps_wire::serve::serve(listener, &identity, by_name, routes, token.cancelled_owned()).await?;
            Ok(())
        });
        enter::found(self, entrance).await?;
        parts.spawn(enter::stay_member(self, entrance, shutdown.clone()));
        parts.spawn(edge::note_pid(link.reports(), pid_file, shutdown.clone()));
        parts.spawn(edge::keep_current(Arc::clone(&link), mark, shutdown.clone()));
        let (reports, token) = (link.reports(), shutdown.clone());
        parts.spawn(async move {
            history.run(reports, token).await;
            Ok(())
        });
        let keys = publish::Keys { seal: Seal::of(&self.identity), shown };
        let (id, token) = (self.id(), shutdown.clone());
        parts.spawn(publish::publish(id, Arc::clone(&ledger), link, keys, local, hands, token));
        let token = shutdown.clone();
        parts.spawn(async move {
            agent.run(token).await;
            Ok(())
        });
        parts.spawn(leave::expel(self.ledger.clone(), shutdown.clone()));
        let vault = Arc::new(SealedVault::new(Seal::of(&self.identity)));
        let keys: Arc<dyn ChannelKeys> = vault.clone();
        let certifier = Certifier::new(Arc::clone(&ledger), vault, self.config.data_dir.clone());
        let token = shutdown.clone();
        parts.spawn(async move {
            certifier.run(token).await;
            Ok(())
        });
        let cluster = self.identity.ca_fingerprint()?.to_string();
        let notifier = Notifier::new(Arc::clone(&ledger), keys, cluster);
        let token = shutdown.clone();
        parts.spawn(async move {
            notifier.run(token).await;
            Ok(())
        });
        let control = Control::new(ledger, self.config.lease);
        let token = shutdown.clone();
        parts.spawn(async move {
            control.run(token).await;
            Ok(())
        });
        Ok(parts)
    }
}
