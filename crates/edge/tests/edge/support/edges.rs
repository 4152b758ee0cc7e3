//! Edges in threads of the test, each with the link of a server.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use temps_core::model::{Counts, Endpoint, EnvironmentId, InstanceId, Measured, NodeId, ReleaseId, Traffic};
use temps_core::table::{Choice, EdgeReport, Peer, Route, Table, Target};
use temps_edge::{EdgeConfig, EdgeError, Limits, Link, LinkOptions, Listen, Network};
use tokio::net::UnixStream;

use super::{App, Authority, PATIENCE, until};

/// The one host of most tests.
pub(crate) const HOST: &str = "a.test";

/// A running edge and its link.
pub(crate) struct Edge {
    pub(crate) node: u64,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) directory: Arc<TempDir>,
    pub(crate) link: Option<Link>,
    version: AtomicU64,
    pub(crate) thread: Option<JoinHandle<Result<(), EdgeError>>>,
}

/// How to start one.
pub(crate) struct Plan {
    pub(crate) node: u64,
    pub(crate) workers: usize,
    pub(crate) limits: Limits,
    pub(crate) directory: Option<Arc<TempDir>>,
    pub(crate) trusted: Vec<Network>,
    pub(crate) proxy_protocol: Vec<Network>,
    pub(crate) access_log: Option<PathBuf>,
}

impl Plan {
    pub(crate) fn node(node: u64) -> Self {
        // Tests of what nobody answers need not wait long for it.
        let limits = Limits { wait: Duration::from_millis(200), ..Limits::default() };
        Self {
            node,
            workers: 2,
            limits,
            directory: None,
            trusted: Vec::new(),
            proxy_protocol: Vec::new(),
            access_log: None,
        }
    }

    pub(crate) async fn start(self, authority: &Authority) -> Edge {
        let directory = self.directory.unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        authority.issue(self.node, &directory.path().join("identity"));
        let (http, https, peer) = (listener(), listener(), listener());
        let [at_http, at_https, at_peer] = [&http, &https, &peer].map(|socket| socket.local_addr().unwrap());
        let mut config = config_in(directory.path().to_owned());
        config.http = vec![Listen::Bound(http)];
        config.https = vec![Listen::Bound(https)];
        config.peer = Listen::Bound(peer);
        config.workers = self.workers;
        config.limits = self.limits;
        config.trusted = self.trusted;
        config.proxy_protocol = self.proxy_protocol;
        config.access_log = self.access_log;
        let mut edge = Edge {
            node: self.node,
            http: at_http,
            https: at_https,
            peer: at_peer,
            directory,
            link: None,
            version: AtomicU64::new(0),
            thread: Some(std::thread::spawn(move || temps_edge::run(config))),
        };
        edge.wait_for_socket().await;
        edge.connect();
        edge
    }
}

/// Everything but the listeners.
pub(crate) fn config_in(directory: PathBuf) -> EdgeConfig {
    EdgeConfig {
        socket: EdgeConfig::socket_in(&directory),
        http: Vec::new(),
        https: Vec::new(),
        peer: Listen::At("127.0.0.1:0".parse().unwrap()),
        identity: directory.join("identity"),
        data_dir: directory,
        workers: 2,
        takeover: None,
        limits: Limits::default(),
        mark: 0,
        trusted: Vec::new(),
        proxy_protocol: Vec::new(),
        access_log: None,
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

impl Edge {
    /// One edge, for a test that needs no more.
    pub(crate) async fn single() -> Self {
        Plan::node(1).start(&Authority::new()).await
    }

    pub(crate) fn socket(&self) -> PathBuf {
        EdgeConfig::socket_in(self.directory.path())
    }

    pub(crate) async fn wait_for_socket(&self) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).await.is_err() {
            assert!(tokio::time::Instant::now() < end, "the edge does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A server appears.
    pub(crate) fn connect(&mut self) {
        let options = LinkOptions {
            data_dir: self.directory.path().to_owned(),
            // Nothing is to be started: the edge lives in this process.
            program: "/nonexistent/temps".into(),
            args: Vec::new(),
            sockets: Arc::default(),
        };
        self.link = Some(Link::start(options));
        self.version.store(0, Ordering::SeqCst);
    }

    pub(crate) fn report(&self) -> EdgeReport {
        self.link.as_ref().unwrap().reports().borrow().clone()
    }

    pub(crate) fn in_flight(&self, instance: u64) -> u64 {
        self.report().in_flight.get(&InstanceId(instance)).copied().unwrap_or(0)
    }

    pub(crate) fn measured(&self) -> Measured {
        self.report().traffic.get(&EnvironmentId(1)).cloned().unwrap_or_default()
    }

    /// What the instances of a release here did.
    pub(crate) fn counts(&self, release: u64) -> Counts {
        self.measured().releases.get(&ReleaseId(release)).cloned().unwrap_or_default()
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.measured().traffic
    }

    /// Publishes a table and does not wait. Answers its version.
    pub(crate) fn publish(&self, index: u64, mut table: Table) -> u64 {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        table.index = index;
        table.version = version;
        table.node = NodeId(self.node);
        self.link.as_ref().unwrap().publish(table);
        version
    }

    /// Publishes a table and waits until it is acknowledged.
    pub(crate) async fn serve(&self, index: u64, table: Table) {
        let version = self.publish(index, table);
        until("the table is acknowledged", || {
            let report = self.report();
            report.index == index && report.version == version
        })
        .await;
    }

    /// The edge ends, when it has finished.
    pub(crate) async fn stop(&mut self) {
        if let Some(link) = self.link.take() {
            link.stop(Duration::from_secs(5)).await;
        }
        let thread = self.thread.take().unwrap();
        until("the edge ends", || thread.is_finished()).await;
        thread.join().unwrap().unwrap();
    }
}

pub(crate) fn choice(release: u64, node: u64, weight: u32) -> Choice {
    Choice { release: ReleaseId(release), node: NodeId(node), weight, instances: weight }
}

pub(crate) fn target(instance: u64, release: u64, app: &App) -> Target {
    let endpoint = Endpoint { address: app.address.to_string(), incarnation: app.name.clone() };
    Target { instance: InstanceId(instance), release: ReleaseId(release), endpoint, ..Target::default() }
}

/// A table with one environment at [`HOST`].
pub(crate) fn table(choices: Vec<Choice>, local: Vec<Target>, peers: &[&Edge]) -> Table {
    let route = Route {
        environment: EnvironmentId(1),
        hosts: vec![HOST.to_owned()],
        path_prefix: "/".to_owned(),
        choices,
        local,
        ..Route::default()
    };
    let peers: BTreeMap<_, _> =
        peers.iter().map(|edge| (NodeId(edge.node), Peer { address: edge.peer.to_string() })).collect();
    Table { routes: vec![route], peers, ..Table::default() }
}
