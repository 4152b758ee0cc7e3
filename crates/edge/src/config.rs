//! What an edge is told at its start, and why it could not start.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::network::Network;

/// Where to listen.
#[derive(Debug)]
pub enum Listen {
    /// Bind this address, once for each worker.
    At(SocketAddr),
    /// Use this socket, shared by all workers.
    Bound(TcpListener),
}

/// What ends what would otherwise last for ever, or take all there is.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// How long a client's connection may be idle between requests.
    pub idle: Duration,
    /// How long a client may send nothing of a body that is waited for, or take nothing of an answer.
    pub body: Duration,
    /// How long a request waits where nobody is ready to answer it.
    pub wait: Duration,
    /// Open connections, of all workers together. Beyond it, the one that was idle the longest ends for each new one.
    pub connections: usize,
    /// Open connections of one address of a client, of all workers together; of IPv6, of one network of 64 bits.
    pub per_address: usize,
    /// How long an edge that stops finishes its requests.
    pub drain: Duration,
    /// The same where another edge has taken over: it costs nobody anything, and cuts no WebSocket before.
    pub retire: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(30),
            wait: Duration::from_secs(10),
            connections: 65_536,
            per_address: 1_024,
            drain: Duration::from_secs(30),
            retire: Duration::from_secs(60 * 60),
        }
    }
}

/// What an edge is told at its start.
#[derive(Debug)]
pub struct EdgeConfig {
    /// Where it keeps its last table and its lock. One edge per directory.
    pub data_dir: PathBuf,
    /// The unix socket on which it hears its server; see [`EdgeConfig::socket_in`].
    pub socket: PathBuf,
    /// Where clients connect. Not used when taking over.
    pub http: Vec<Listen>,
    /// Where clients connect with TLS. When taking over: used where the edge before had none.
    pub https: Vec<Listen>,
    /// Where other edges connect. Not used when taking over.
    pub peer: Listen,
    /// A directory with `ca.pem`, `node.pem` and `node.key`.
    pub identity: PathBuf,
    /// Threads that serve. When taking over: as many as the edge before had.
    pub workers: usize,
    /// The socket of a living edge whose listeners this one takes.
    pub takeover: Option<PathBuf>,
    /// What it reports of itself, so that a server tells it from one with another program or configuration.
    pub mark: u64,
    /// Times and numbers.
    pub limits: Limits,
    /// Proxies in front: what they say of the client is passed on to applications. What others say is dropped.
    pub trusted: Vec<Network>,
    /// Load balancers in front whose connections must begin with a header of the PROXY protocol, version 1 or 2.
    /// Those of others never do.
    pub proxy_protocol: Vec<Network>,
    /// Where each request of a client is logged when it has ended, as a line of JSON. `None`: nowhere.
    pub access_log: Option<PathBuf>,
}

impl EdgeConfig {
    /// The socket of the edge of `data_dir`, where its server looks for it.
    #[must_use]
    pub fn socket_in(data_dir: &std::path::Path) -> PathBuf {
        data_dir.join("edge.sock")
    }

    /// As many workers as there are cores.
    #[must_use]
    pub fn default_workers() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }
}

/// Why an edge could not start, or had to stop.
#[derive(Debug, Error)]
pub enum EdgeError {
    /// Another edge serves this directory. Let it, or take over from it.
    #[error("another edge already serves {}", .0.display())]
    Running(PathBuf),
    /// A file or directory could not be used.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An address could not be listened on.
    #[error("cannot listen on {at}: {source}")]
    Bind {
        /// Which.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// The certificates or the key cannot be used.
    #[error("the identity in {} cannot be used: {why}", .path.display())]
    Identity {
        /// Which directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The living edge did not hand over its listeners; it goes on.
    #[error("taking over from {}: {why}", .path.display())]
    Takeover {
        /// Its socket.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A thread could not be started, or ended by itself.
    #[error("a worker failed: {0}")]
    Worker(String),
}
