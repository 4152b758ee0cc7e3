//! One node: its configuration, its server process, and what it leaves running.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use serde_json::Value;

use crate::faults;
use crate::ground::Ground;
use crate::machine::{Machine, Place};
use crate::trouble::{Context, Result, Trouble};

/// Ports that one node may give to instances.
const PORTS_A_NODE: u16 = 100;

/// Where a node listens, and how patient it is.
#[derive(Clone, Debug)]
pub struct Shape {
    /// For nodes and the command line.
    pub listen: SocketAddr,
    /// Its edge, for the public.
    pub edge: SocketAddr,
    /// Its edge, for the public with TLS.
    pub secure: SocketAddr,
    /// Its edge, for other edges.
    pub peer: SocketAddr,
    /// First and last port for instances.
    pub ports: (u16, u16),
    /// How long a silent node counts, such as `15s`.
    pub lease: String,
}

/// Ports of a node that has an address of its own: for nodes, for the public without and with TLS, for edges.
const OWN_PORTS: [u16; 4] = [7_000, 8_080, 8_443, 7_443];

/// One node. Dropping it leaves everything running; see [`Node::clear`].
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub shape: Shape,
    /// What its server logs from its next start on, where that is not the usual.
    pub filter: Option<&'static str>,
    /// Sockets that its server gets from its next start on, as from systemd, by name.
    pub sockets: Vec<(&'static str, TcpListener)>,
    binary: PathBuf,
    dir: PathBuf,
    server: Option<Child>,
    stand: Stand,
}

/// What a node stands on.
#[derive(Debug)]
pub enum Stand {
    /// The loopback interface that all share.
    Loopback,
    /// A network namespace of its own.
    Place(Place),
    /// A machine of its own, with an engine.
    Machine(Machine),
}

impl Node {
    /// Writes the configuration below `parent`; starts nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prepare(parent: &Path, name: &str, binary: &Path, shape: Shape, stand: Stand) -> Result<Self> {
        let dir = parent.join(name);
        let node = Self {
            name: name.to_owned(),
            shape,
            filter: None,
            sockets: Vec::new(),
            binary: binary.to_owned(),
            dir,
            server: None,
            stand,
        };
        fs::create_dir_all(&node.dir)?;
        fs::write(node.config(), node.settings())?;
        Ok(node)
    }

    /// The machine with its containers.
    ///
    /// # Errors
    /// When it runs processes of ours instead.
    pub fn machine(&self) -> Result<&Machine> {
        match &self.stand {
            Stand::Machine(machine) => Ok(machine),
            Stand::Loopback | Stand::Place(_) => Err(Trouble::new(format!("{} has no machine", self.name))),
        }
    }

    /// The machine, for faults of its engine.
    ///
    /// # Errors
    /// When there is none.
    pub fn machine_mut(&mut self) -> Result<&mut Machine> {
        match &mut self.stand {
            Stand::Machine(machine) => Ok(machine),
            Stand::Loopback | Stand::Place(_) => Err(Trouble::new(format!("{} has no machine", self.name))),
        }
    }

    /// Where it is plugged in.
    ///
    /// # Errors
    /// When it shares an interface with others.
    pub fn place(&self) -> Result<&Place> {
        match &self.stand {
            Stand::Machine(machine) => Ok(&machine.place),
            Stand::Place(place) => Ok(place),
            Stand::Loopback => Err(Trouble::new(format!("{} has no network of its own", self.name))),
        }
    }

    fn config(&self) -> PathBuf {
        self.dir.with_extension("toml")
    }

    fn settings(&self) -> String {
        let Shape { listen, edge, secure, peer, ports: (first, last), lease } = &self.shape;
        let number = self.name.trim_start_matches('n');
        let machine = self.machine().ok();
        let socket = machine.map_or_else(|| "/var/run/docker.sock".into(), |machine| machine.engine.socket());
        let socket = socket.display();
        format!(
            r#"name = "{name}"
data_dir = "{dir}"
listen = "{listen}"
ports = "{first}-{last}"
domain = "localhost"
runtime = "{runtime}"

[docker]
socket = "{socket}"

[labels]
number = "{number}"
disk = "{disk}"

[edge]
http = "{edge}"
https = "{secure}"
peer = "{peer}"
workers = 1

[raft]
heartbeat = "100ms"
election = "500ms-900ms"

[cluster]
lease = "{lease}"
"#,
            name = self.name,
            dir = self.dir.display(),
            runtime = if machine.is_some() { Ground::Docker } else { Ground::Processes }.word(),
            disk = if matches!(number, "1" | "2") { "ssd" } else { "hdd" },
        )
    }

    /// Adds lines to a section of its configuration, for its next start.
    ///
    /// # Errors
    /// When it has no such section, or cannot be written.
    pub fn configure(&self, section: &str, lines: &str) -> Result {
        let text = fs::read_to_string(self.config())?;
        let head = format!("[{section}]\n");
        if !text.contains(&head) {
            return Err(Trouble::new(format!("{} has no [{section}]", self.name)));
        }
        fs::write(self.config(), text.replacen(&head, &format!("{head}{lines}\n"), 1))?;
        Ok(())
    }

    /// Its data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where its server's log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// The `temps server` command for this node, not yet started, with its log as stderr.
    ///
    /// # Errors
    /// When the log cannot be opened.
    pub fn command(&self, more: &[&str]) -> Result<Command> {
        let log: File = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = match &self.stand {
            Stand::Loopback => Command::new(&self.binary),
            Stand::Place(place) => place.command(&self.binary),
            Stand::Machine(machine) => machine.command(&self.binary),
        };
        command
            .args(["server", "--config"])
            .arg(self.config())
            .args(more)
            .env_remove("TEMPS_ENDPOINTS")
            .env_remove("TEMPS_TOKEN")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(filter) = self.filter {
            command.env("TEMPS_LOG", filter);
        }
        if !self.sockets.is_empty() {
            let names: Vec<_> = self.sockets.iter().map(|(name, _)| *name).collect();
            command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
            let mut passed = Vec::new();
            for ((_, socket), child_fd) in self.sockets.iter().zip(3..) {
                passed.push(FdMapping { parent_fd: socket.try_clone()?.into(), child_fd });
            }
            command.fd_mappings(passed).context("passing sockets on")?;
        }
        Ok(command)
    }

    /// Starts its server.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn launch(&mut self, more: &[&str]) -> Result {
        if self.is_up() {
            return Err(Trouble::new(format!("the server of {} runs already", self.name)));
        }
        let child = self.command(more)?.spawn().context(self.binary.display())?;
        self.server = Some(child);
        Ok(())
    }

    /// Whether its server process runs. Reaps it if it has ended.
    pub fn is_up(&mut self) -> bool {
        self.server.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The exit code of its server, where that has ended by itself.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.server.as_mut()?.try_wait().ok()??.code()
    }

    /// Its server's process id, while it was not killed from here.
    #[must_use]
    pub fn server_pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Kills its server as a power cut would; edge and instances live on.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result {
        if let Some(mut child) = self.server.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts its server again after a kill.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result {
        self.launch(&[])
    }

    /// Plugs its machine in and starts its engine, where that is needed.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn heal_machine(&mut self) -> Result {
        let Ok(machine) = self.machine_mut() else {
            return Ok(());
        };
        machine.reconnect()?;
        if machine.engine.is_up() { Ok(()) } else { machine.engine.start() }
    }

    /// Its edge's process id.
    #[must_use]
    pub fn edge_pid(&self) -> Option<u32> {
        fs::read_to_string(self.dir.join("edge.pid")).ok()?.trim().parse().ok()
    }

    /// The process ids of its instances and of what keeps them.
    #[must_use]
    pub fn instance_pids(&self) -> Vec<u32> {
        if let Ok(machine) = self.machine() {
            return machine.engine.pids().into_iter().collect();
        }
        let Ok(entries) = fs::read_dir(self.dir.join("instances")) else {
            return Vec::new();
        };
        let records = entries.filter_map(|entry| {
            let text = fs::read_to_string(entry.ok()?.path().join("running.json")).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        });
        records.flat_map(|record| pids_in(&record)).collect()
    }

    /// Ends everything of this node: the server, the edge, the instances.
    ///
    /// # Errors
    /// When one of them survives.
    pub fn clear(&mut self) -> Result {
        self.kill()?;
        let mut pids: Vec<u32> = self.edge_pid().into_iter().collect();
        if self.machine().is_err() {
            pids.extend(self.instance_pids());
        }
        let ended = self.end_all(pids);
        // The machine goes even where a process of its node stays.
        self.machine_mut().map_or(Ok(()), Machine::clear).and(ended)
    }

    fn end_all(&self, mut pids: Vec<u32>) -> Result {
        // A number may have been given to a stranger since: only what works in our directory is ended.
        let ours = faults::processes_of(&self.dir);
        pids.retain(|pid| ours.iter().any(|(own, _)| own == pid));
        for pid in &pids {
            faults::slay_with_group(*pid)?;
        }
        pids.iter().try_for_each(|pid| faults::await_end(*pid))
    }

    /// The last lines of its server's log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let skip = text.lines().count().saturating_sub(lines);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }
}

fn pids_in(record: &Value) -> Vec<u32> {
    let Some(fields) = record.as_object() else {
        return Vec::new();
    };
    let named = fields.iter().filter(|(name, _)| name.ends_with("pid"));
    let own = named.filter_map(|(_, value)| u32::try_from(value.as_u64()?).ok());
    own.chain(fields.values().flat_map(pids_in)).collect()
}

/// Places for `n` nodes that are free now. Listeners lie below the ports that the system gives to
/// outgoing connections, so that a load cannot take one while a server is restarting.
///
/// # Errors
/// When there is no room.
pub fn shapes(n: usize, lease: &str) -> Result<Vec<Shape>> {
    let mut held = Vec::new();
    let mut listeners = Vec::new();
    for _ in 0..n * 4 {
        let listener = some_listener(10_000..20_000)?;
        listeners.push(listener.local_addr()?);
        held.push(listener);
    }
    let blocks = PORTS_A_NODE * u16::try_from(n)?;
    let first = (0..100).find_map(|_| {
        let slot = rand::random_range(0..12_000 / blocks);
        let first = 20_000 + slot * blocks;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (first..first + blocks).step_by(10).all(is_free).then_some(first)
    });
    let first = first.ok_or_else(|| Trouble::new("no free block of ports between 20000 and 32000"))?;
    let of = |i: usize| -> Result<Shape> {
        let start = first + PORTS_A_NODE * u16::try_from(i)?;
        Ok(Shape {
            listen: listeners[i * 4],
            edge: listeners[i * 4 + 1],
            secure: listeners[i * 4 + 2],
            peer: listeners[i * 4 + 3],
            ports: (start, start + PORTS_A_NODE - 1),
            lease: lease.to_owned(),
        })
    };
    (0..n).map(of).collect()
}

/// The places of a node that has an address of its own.
#[must_use]
pub fn shape_at(address: Ipv4Addr, lease: &str) -> Shape {
    let [listen, edge, secure, peer] = OWN_PORTS.map(|port| SocketAddr::from((address, port)));
    Shape { listen, edge, secure, peer, ports: (20_000, 20_099), lease: lease.to_owned() }
}

/// Addresses of loopback that are free now.
///
/// # Errors
/// When there is no room.
pub fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut held = Vec::new();
    for _ in 0..N {
        held.push(some_listener(10_000..20_000)?);
    }
    let addresses: Vec<_> = held.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    addresses.try_into().map_err(|_| Trouble::new("a listener has no address"))
}

fn some_listener(range: std::ops::Range<u16>) -> Result<TcpListener> {
    for _ in 0..200 {
        let port = rand::random_range(range.clone());
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener);
        }
    }
    Err(Trouble::new(format!("no free port in {range:?}")))
}
