//! Two edges of ours: one in front, and one where the application is, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use temps_core::model::{Endpoint, EnvironmentId, InstanceId, NodeId, ReleaseId};
use temps_core::table::{Choice, Peer, Route, Table, Target};
use temps_edge::{Link, LinkOptions};
use temps_tests::trouble::{Context, Result, Trouble};
use temps_tests::{faults, together, wait};
use tokio::runtime::Runtime;

use super::peers::{Peers, free_port};
use super::{OTHER_CORE, PROXY_CORE, usage};

/// How often a new table comes, where they come.
const SWAPS: Duration = Duration::from_millis(200);

/// How long an edge may take until it serves a table.
const PATIENCE: Duration = Duration::from_secs(60);

/// One edge.
pub(super) struct Edge {
    node: NodeId,
    pub(super) http: u16,
    peer: u16,
    /// It starts an edge that has ended anew, and so goes first.
    link: Option<Link>,
    version: AtomicU64,
    /// Its memory in bytes, with its routes and before any request.
    pub(super) at_rest: u64,
}

/// Two edges that know each other. What is for the second node is asked of the first, and answered there.
pub(super) struct Edges {
    pub(super) near: Edge,
    pub(super) far: Edge,
    /// How many applications both have; requests are for one of them.
    routes: usize,
    application: u16,
    _runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl Edges {
    pub(super) fn start(peers: &Peers, routes: usize) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("temps-bench-edge-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let authority = Authority::new()?;
        let edge = |node: u64, core: &str| {
            let at = directory.path().join(format!("n{node}"));
            authority.issue(node, &at.join("identity"))?;
            let _inside = runtime.enter();
            Edge::start(NodeId(node), &at, core)
        };
        let (near, far) = (edge(1, PROXY_CORE)?, edge(2, OTHER_CORE)?);
        let mut edges = Self {
            near,
            far,
            routes,
            application: peers.application,
            _runtime: runtime,
            _directory: directory,
        };
        edges.near.serve(edges.near_table())?;
        edges.far.serve(edges.table(&edges.far, &edges.near))?;
        edges.near.at_rest = usage::memory(edges.near.pid())?;
        Ok(edges)
    }

    /// New tables while something is done.
    pub(super) fn swapping<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let done = AtomicBool::new(false);
        let swap = || {
            let mut table = self.near_table();
            while !done.load(Ordering::SeqCst) {
                // What changes is the application asked for.
                if let Some(route) = table.routes.first_mut() {
                    route.path_prefix =
                        if route.path_prefix == "/" { "/small".to_owned() } else { "/".to_owned() };
                }
                self.near.publish(table.clone());
                wait::nap(SWAPS)?;
            }
            self.near.serve(self.near_table())
        };
        let work = || {
            let result = work();
            done.store(true, Ordering::SeqCst);
            result
        };
        together::both(swap, work).map(|((), result)| result)
    }

    fn near_table(&self) -> Table {
        self.table(&self.near, &self.far)
    }

    /// Each application is on the node that the table is for, and one more on the second alone.
    fn table(&self, own: &Edge, other: &Edge) -> Table {
        let applications =
            (0..self.routes).map(|n| self.route(n, &format!("app{n}.test"), own.node, own.node));
        let far = self.route(self.routes, FAR, self.far.node, own.node);
        let peers = BTreeMap::from([(other.node, Peer { address: format!("127.0.0.1:{}", other.peer) })]);
        Table { routes: applications.chain([far]).collect(), peers, ..Table::default() }
    }

    fn route(&self, n: usize, host: &str, on: NodeId, own: NodeId) -> Route {
        let number = n as u64 + 1;
        let target = Target {
            instance: InstanceId(number),
            release: ReleaseId(number),
            endpoint: Endpoint {
                address: format!("127.0.0.1:{}", self.application),
                incarnation: "1".to_owned(),
            },
            ..Target::default()
        };
        Route {
            environment: EnvironmentId(number),
            hosts: vec![host.to_owned()],
            path_prefix: "/".to_owned(),
            choices: vec![Choice { release: ReleaseId(number), node: on, weight: 1, instances: 1 }],
            local: if on == own { vec![target] } else { Vec::new() },
            ..Route::default()
        }
    }
}

/// The application that only the second node has.
pub(super) const FAR: &str = "far.test";

impl Edge {
    fn start(node: NodeId, at: &Path, core: &str) -> Result<Self> {
        let (http, peer) = (free_port()?, free_port()?);
        let program = program()?;
        let words = ["-c", core].map(Into::into).into_iter().chain([
            program.into_os_string(),
            at.as_os_str().to_owned(),
            "1".into(),
            format!("127.0.0.1:{http}").into(),
            format!("127.0.0.1:{peer}").into(),
        ]);
        let options = LinkOptions {
            data_dir: at.to_owned(),
            program: "/usr/bin/taskset".into(),
            args: words.collect(),
            sockets: Default::default(),
        };
        Ok(Self {
            node,
            http,
            peer,
            link: Some(Link::start(options)),
            version: AtomicU64::new(0),
            at_rest: 0,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.link.as_ref().map_or(0, |link| link.reports().borrow().pid)
    }

    fn publish(&self, mut table: Table) -> u64 {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        (table.version, table.node) = (version, self.node);
        if let Some(link) = &self.link {
            link.publish(table);
        }
        version
    }

    /// Publishes a table and waits until it is served.
    fn serve(&self, table: Table) -> Result {
        let version = self.publish(table);
        let served = || self.link.as_ref().map(|link| link.reports().borrow().version);
        wait::until("an edge to serve its table", PATIENCE, || served() == Some(version))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let pid = self.pid();
        drop(self.link.take());
        // None is known where it never reported.
        if pid > 0 {
            // It may have ended by itself.
            let _ = faults::slay(pid);
        }
    }
}

/// Where `scripts/bench` has built the edge.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("TEMPS_BENCH_EDGE").map(PathBuf::from);
    path.filter(|path| path.exists())
        .ok_or_else(|| Trouble::new("TEMPS_BENCH_EDGE does not name the edge; run scripts/bench edge"))
}

/// A cluster's authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).context("an authority")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().context("a key")?;
        let pem = params.self_signed(&key).context("an authority")?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// Writes what the edge of a node needs.
    fn issue(&self, node: u64, at: &Path) -> Result {
        let mut params =
            CertificateParams::new(vec![format!("node-{node}.temps.internal")]).context("a certificate")?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().context("a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("a certificate")?;
        fs::create_dir_all(at)?;
        fs::write(at.join("ca.pem"), &self.pem)?;
        fs::write(at.join("node.pem"), certificate.pem())?;
        fs::write(at.join("node.key"), key.serialize_pem())?;
        Ok(())
    }
}
