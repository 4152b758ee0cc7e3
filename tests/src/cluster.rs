//! A cluster of the real binary on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::app::App;
use crate::cli::{Cli, Ran};
use crate::deployment::{Deployment, Instance, list, number_in, text};
use crate::faults;
use crate::ground::Ground;
use crate::load::Target;
use crate::machine::{Machine, Switch, leftovers};
use crate::node::{self, Node, Stand};
use crate::paths;
use crate::trouble::{Context, Result, Trouble};
use crate::wait;

/// How long a cluster may take to become ready, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// How long a quick deployment may take, on a busy machine.
pub const DEPLOYMENT: Duration = Duration::from_secs(120);

/// A running cluster. Dropping it ends all its processes; its directory is kept unless
/// [`Cluster::close`] was called.
#[derive(Debug)]
pub struct Cluster {
    dir: Option<TempDir>,
    root: PathBuf,
    binary: PathBuf,
    /// Its nodes: `n1`, `n2`, ...
    pub nodes: Vec<Node>,
    token: String,
    /// What its nodes are plugged into, where they have machines of their own. After them, so that it goes last.
    switch: Option<Switch>,
    ground: Ground,
}

/// How long a silent node counts, unless a test has to wait for that.
const LEASE: &str = "15s";

impl Cluster {
    /// Starts three nodes and waits until they are one cluster.
    ///
    /// # Errors
    /// When they do not become one.
    pub fn start(ground: Ground) -> Result<Self> {
        Self::start_with(ground, 3, LEASE)
    }

    /// Starts `n` nodes; a silent node counts for `lease`.
    ///
    /// # Errors
    /// When they do not become one cluster.
    pub fn start_with(ground: Ground, n: usize, lease: &str) -> Result<Self> {
        let mut cluster = Self::bare(ground)?;
        match ground {
            Ground::Processes => {
                for (i, shape) in node::shapes(n, lease)?.into_iter().enumerate() {
                    let name = format!("n{}", i + 1);
                    let node = Node::prepare(&cluster.root, &name, &cluster.binary, shape, Stand::Loopback);
                    cluster.nodes.push(node?);
                }
            }
            Ground::Docker => {
                for i in 1..=n {
                    let node = cluster.another(&format!("n{i}"), lease)?;
                    cluster.nodes.push(node);
                }
            }
        }
        cluster.grow()?;
        Ok(cluster)
    }

    /// Starts one node with an engine that has room for so many bytes.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_small(room: u64) -> Result<Self> {
        let mut cluster = Self::bare(Ground::Docker)?;
        let node = cluster.prepare("n1", LEASE, Some(room))?;
        cluster.nodes.push(node);
        cluster.grow()?;
        Ok(cluster)
    }

    /// Starts three nodes each of which has a network of its own, so that the links between them can be cut.
    ///
    /// # Errors
    /// When they do not become one cluster.
    pub fn start_apart(ground: Ground, lease: &str) -> Result<Self> {
        let mut cluster = Self::bare(ground)?;
        if cluster.switch.is_none() {
            cluster.switch = Some(Switch::new()?);
        }
        for i in 1..=3 {
            let node = cluster.another(&format!("n{i}"), lease)?;
            cluster.nodes.push(node);
        }
        cluster.grow()?;
        Ok(cluster)
    }

    /// Starts the first node and lets the others join.
    fn grow(&mut self) -> Result {
        let n = self.nodes.len();
        self.found()?;
        for i in 1..n {
            self.join(i)?;
        }
        wait::until("all nodes to be up", START, || self.nodes_up() == n)
    }

    /// Without any node.
    fn bare(ground: Ground) -> Result<Self> {
        ground.possible()?;
        leftovers::clear();
        let binary = paths::temps()?;
        let dir = leftovers::directory()?;
        let root = fs::canonicalize(dir.path())?;
        fs::create_dir(root.join("home"))?;
        let switch = if ground == Ground::Docker { Some(Switch::new()?) } else { None };
        let token = String::new();
        Ok(Self { dir: Some(dir), root, binary, nodes: Vec::new(), token, switch, ground })
    }

    /// Prepares one more node, which is not among the nodes yet and not started.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn another(&self, name: &str, lease: &str) -> Result<Node> {
        self.prepare(name, lease, None)
    }

    fn prepare(&self, name: &str, lease: &str, room: Option<u64>) -> Result<Node> {
        let (shape, stand) = match (&self.switch, self.ground) {
            (None, _) => (node::shapes(1, lease)?.remove(0), Stand::Loopback),
            (Some(switch), Ground::Processes) => {
                let place = switch.plug()?;
                (node::shape_at(place.address(), lease), Stand::Place(place))
            }
            (Some(switch), Ground::Docker) => {
                let machine = Machine::start_with(switch, &self.root.join(format!("{name}-engine")), room)?;
                (node::shape_at(machine.address(), lease), Stand::Machine(machine))
            }
        };
        Node::prepare(&self.root, name, &self.binary, shape, stand)
    }

    /// What it stands on.
    #[must_use]
    pub fn ground(&self) -> Ground {
        self.ground
    }

    /// A case that makes no sense on this ground ends here.
    ///
    /// # Errors
    /// Why it is skipped.
    pub fn only_on(&self, ground: Ground, why: &str) -> Result {
        if self.ground == ground { Ok(()) } else { Err(Trouble::skip(why)) }
    }

    /// Where we are, as its edges and its instances see it.
    #[must_use]
    pub fn outside(&self) -> IpAddr {
        self.switch.as_ref().map_or(Ipv4Addr::LOCALHOST, Switch::address).into()
    }

    fn found(&mut self) -> Result {
        let founder = &mut self.nodes[0];
        founder.launch(&["--bootstrap"])?;
        let path = founder.dir().join("admin-token");
        let token = wait::find("the first admin token", START, || {
            let text = fs::read_to_string(&path).ok()?;
            let token = text.trim();
            (founder.is_up() && !token.is_empty()).then(|| token.to_owned())
        });
        let why = || format!("the founder did not start: {}", founder.log_tail(20));
        self.token = token.map_err(|error| Trouble::new(format!("{error}; {}", why())))?;
        let cli = self.cli_at(&[0]);
        wait::until("the founder to lead", START, || {
            cli.json(&["cluster", "status"]).is_ok_and(|s| s.get("leader").is_some_and(|l| !l.is_null()))
        })
    }

    fn join(&mut self, i: usize) -> Result {
        let token = self.join_token()?;
        let founder = self.nodes[0].shape.listen.to_string();
        self.nodes[i].launch(&["--join", &founder, "--token", &token])?;
        let joined = wait::until("a node to join", START, || self.nodes_up() > i);
        joined.context(self.nodes[i].log_tail(20))
    }

    /// A fresh join token for one machine.
    ///
    /// # Errors
    /// When the cluster gives none.
    pub fn join_token(&self) -> Result<String> {
        let made = self.cli().json(&["cluster", "token"])?;
        let token = text(&made, "token");
        if token.is_empty() { Err(Trouble::new(format!("no token in {made}"))) } else { Ok(token) }
    }

    /// Where everything of this cluster is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The command line with all nodes as endpoints.
    #[must_use]
    pub fn cli(&self) -> Cli {
        self.cli_at(&(0..self.nodes.len()).collect::<Vec<_>>())
    }

    /// The command line with these nodes as endpoints, in this order.
    #[must_use]
    pub fn cli_at(&self, nodes: &[usize]) -> Cli {
        Cli {
            binary: self.binary.clone(),
            endpoints: nodes.iter().map(|i| self.nodes[*i].shape.listen.to_string()).collect(),
            token: self.token.clone(),
            home: self.root.join("home"),
            variables: Vec::new(),
            limit: DEPLOYMENT,
            namespace: None,
        }
    }

    /// The command line on the machine of this node, asking that node only.
    ///
    /// # Errors
    /// When it has no machine of its own.
    pub fn cli_on(&self, node: usize) -> Result<Cli> {
        let namespace = Some(self.nodes[node].machine()?.namespace().to_owned());
        Ok(Cli { namespace, ..self.cli_at(&[node]) })
    }

    /// Writes what is deployed and returns where.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, app: &App) -> Result<String> {
        Ok(app.write(&self.root, self.ground)?.to_string_lossy().into_owned())
    }

    /// All edges, for a load.
    #[must_use]
    pub fn edges(&self) -> Vec<Target> {
        self.edges_of(&(0..self.nodes.len()).collect::<Vec<_>>())
    }

    /// The edges of these nodes.
    #[must_use]
    pub fn edges_of(&self, nodes: &[usize]) -> Vec<Target> {
        let target =
            |i: &usize| Target { name: self.nodes[*i].name.clone(), address: self.nodes[*i].shape.edge };
        nodes.iter().map(target).collect()
    }

    /// The number of nodes that count.
    #[must_use]
    pub fn nodes_up(&self) -> usize {
        let status = self.cli().json(&["cluster", "status"]).unwrap_or_default();
        list(&status, "nodes").iter().filter(|node| text(node, "status") == "up").count()
    }

    /// The place in `nodes` of the node that leads, as these nodes see it.
    #[must_use]
    pub fn leader_seen_by(&self, nodes: &[usize]) -> Option<usize> {
        let status = self.cli_at(nodes).json(&["cluster", "status"]).ok()?;
        let named = list(&status, "nodes").iter().find(|n| n.get("leader") == Some(&Value::Bool(true)));
        let name = text(named?, "name");
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Waits for a leader and returns its place in `nodes`.
    ///
    /// # Errors
    /// When there is none for a minute.
    pub fn leader(&self) -> Result<usize> {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        wait::find("a leader", START, || self.leader_seen_by(&all))
    }

    /// Plugs cables in, starts the engines and servers that do not run, and waits until all nodes count.
    ///
    /// # Errors
    /// When they do not.
    pub fn heal(&mut self) -> Result {
        for node in &mut self.nodes {
            node.heal_machine()?;
            if !node.is_up() {
                node.restart()?;
            }
        }
        let n = self.nodes.len();
        wait::until("all nodes to be up again", START, || self.nodes_up() == n)
    }

    /// Deploys and waits for the end, whatever that is.
    ///
    /// # Errors
    /// When the command cannot be run, or shows no deployment.
    pub fn deploy(&self, app: &App) -> Result<(Ran, Deployment)> {
        let path = self.write(app)?;
        let ran = self.cli().run(&["deploy", "-p", app.project(), &path, "-y", "--json"])?;
        let number = number_in(&ran.json()?)?;
        Ok((ran, self.deployment(number)?))
    }

    /// Deploys what has to go well.
    ///
    /// # Errors
    /// When it does not.
    pub fn deploy_well(&self, app: &App) -> Result<Deployment> {
        let (ran, deployment) = self.deploy(app)?;
        if ran.code == 0 && deployment.phase == "succeeded" {
            return Ok(deployment);
        }
        Err(Trouble::new(format!("{} did not succeed: {ran:#?}\n{}", app.version(), deployment.story())))
    }

    /// Asks for a deployment and does not wait for it; returns its number.
    ///
    /// # Errors
    /// When it is refused.
    pub fn deploy_detached(&self, app: &App) -> Result<u64> {
        let path = self.write(app)?;
        let accepted = self.cli().json(&["deploy", "-p", app.project(), &path, "-y", "--detach"])?;
        number_in(&accepted)
    }

    /// A deployment as it stands.
    ///
    /// # Errors
    /// When no node tells it.
    pub fn deployment(&self, number: u64) -> Result<Deployment> {
        Deployment::read(&self.cli().json(&["deployments", "show", &number.to_string()])?)
    }

    /// Waits until a deployment fulfils a condition.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn await_deployment(
        &self,
        number: u64,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Deployment) -> bool,
    ) -> Result<Deployment> {
        let mut last = Deployment::default();
        let found = wait::find(&format!("deployment #{number} {what}"), limit, || {
            last = self.deployment(number).ok()?;
            condition(&last).then(|| last.clone())
        });
        found.map_err(|error| Trouble::new(format!("{error}\n{}", last.story())))
    }

    /// Waits until a deployment has ended.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn await_end(&self, number: u64, limit: Duration) -> Result<Deployment> {
        self.await_deployment(number, "to end", limit, |d| d.ended)
    }

    /// The instances of a project that are not gone.
    ///
    /// # Errors
    /// When no node tells them.
    pub fn instances(&self, project: &str) -> Result<Vec<Instance>> {
        let status = self.cli().json(&["status", "-p", project])?;
        let all = list(&status, "environments").iter().flat_map(|e| list(e, "instances"));
        let mut instances: Vec<_> = all.map(Instance::read).collect();
        instances.retain(|i| !matches!(i.state.as_str(), "gone" | "exited" | "lost"));
        instances.sort();
        Ok(instances)
    }

    /// Process ids of a project's applications that really run, whatever the cluster says.
    #[must_use]
    pub fn applications(&self, project: &str) -> BTreeSet<u32> {
        self.with_variable(&format!("TEMPS_PROJECT={project}"))
    }

    /// The process id of the application of an instance such as `i7`.
    ///
    /// # Errors
    /// When none runs.
    pub fn application(&self, instance: &str) -> Result<u32> {
        let found = self.with_variable(&format!("TEMPS_INSTANCE={instance}"));
        found.into_iter().next().ok_or_else(|| Trouble::new(format!("{instance} runs nowhere")))
    }

    fn with_variable(&self, variable: &str) -> BTreeSet<u32> {
        let is_it = |pid: &u32| {
            let is_sample = fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("hello"));
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            is_sample && environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
        };
        let all: Vec<u32> = match self.ground {
            Ground::Processes => faults::processes_of(&self.root).into_iter().map(|(pid, _)| pid).collect(),
            Ground::Docker => self.nodes.iter().flat_map(Node::instance_pids).collect(),
        };
        all.into_iter().filter(is_it).collect()
    }

    /// Ends all processes.
    fn clear(&mut self) -> Result {
        for node in &mut self.nodes {
            node.kill()?;
        }
        self.nodes.iter_mut().try_for_each(Node::clear)?;
        // The children of what was ended are still on their way out for a moment.
        for (pid, line) in faults::processes_of(&self.root) {
            faults::await_end(pid).context(format!("left behind: {line}"))?;
        }
        Ok(())
    }

    /// Ends everything and deletes the directory.
    ///
    /// # Errors
    /// When a process is left behind; then the directory is kept.
    pub fn close(mut self) -> Result {
        self.clear()?;
        if let Some(dir) = self.dir.take() {
            dir.close()?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else {
            return;
        };
        let cleared = self.clear();
        let path = dir.keep();
        leftovers::keep(&path);
        let mut err = std::io::stderr();
        // Nobody is left to be told that stderr is closed.
        let _ = writeln!(err, "the cluster's data is kept in {}", path.display());
        if let Err(error) = cleared {
            let _ = writeln!(err, "{error}");
        }
    }
}
