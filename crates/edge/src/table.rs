//! A table in the form that workers read: immutable, shared, with a constant cost per lookup.
//!
//! Parts that did not change are the same objects from one table to the next, so what they count
//! lives on and old tables cost little.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use http::StatusCode;
use temps_core::model::{EnvironmentId, InstanceId, Maintenance, NodeId, ReleaseId};
use temps_core::table::{Challenge, Protocol, Sticky};
use tokio::sync::Notify;
use tracing::info;

use crate::count::{Gauge, Meter, Sharded, Turns};
use crate::standing::{Failure, Standing};

/// How long a target that refused a connection is passed over while there are others.
const DOWN_MS: u64 = 1_000;

/// Longer than anybody tries to connect again.
const ATTEMPT_MS: u64 = 2_500;

/// Milliseconds since the edge started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uptime(Instant);

impl Uptime {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Long enough for a test to have a past.
    #[cfg(test)]
    pub(crate) fn of_an_hour() -> Self {
        Self(Instant::now() - std::time::Duration::from_secs(3600))
    }

    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Remembers for a moment that nobody answered at an address.
#[derive(Debug)]
pub(crate) struct Down {
    until: AtomicU64,
    uptime: Uptime,
}

impl Down {
    pub(crate) fn new(uptime: Uptime) -> Self {
        Self { until: AtomicU64::new(0), uptime }
    }

    pub(crate) fn mark(&self) {
        self.until.store(self.uptime.now() + DOWN_MS, Ordering::Relaxed);
    }

    /// Somebody tries again. While that lasts, others still pass over what was down before.
    pub(crate) fn attempt(&self) {
        if self.until.load(Ordering::Relaxed) != 0 {
            self.until.store(self.uptime.now() + ATTEMPT_MS, Ordering::Relaxed);
        }
    }

    /// Somebody answered.
    pub(crate) fn clear(&self) {
        if self.until.load(Ordering::Relaxed) != 0 {
            self.until.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        // The clock is asked only where there was trouble.
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && self.uptime.now() < until
    }
}

/// One start of one instance on this node, at one address.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Unique in this process.
    pub(crate) uid: u64,
    pub(crate) id: InstanceId,
    pub(crate) release: ReleaseId,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) in_flight: Sharded,
    /// What it and others of its release did.
    pub(crate) gauge: Arc<Gauge>,
    /// No table offers it any more: its connections are not kept, and the end of its last request is news.
    pub(crate) withdrawn: AtomicBool,
    pub(crate) down: Down,
    pub(crate) standing: Standing,
    pub(crate) uptime: Uptime,
    /// Wakes whoever reports.
    pub(crate) news: Arc<Notify>,
}

impl Instance {
    /// It answered with this status.
    pub(crate) fn answered(&self, status: StatusCode) {
        if matches!(status.as_u16(), 502..=504) {
            self.failed(Failure::Gateway);
        } else if self.standing.answered(|| self.uptime.now()) {
            info!(instance = %self.id, "an instance that was passed over answers again");
        }
    }

    /// It failed a request. One that is being stopped is not to blame.
    pub(crate) fn failed(&self, failure: Failure) {
        if self.withdrawn.load(Ordering::Acquire) {
            return;
        }
        if let Some(millis) = self.standing.failed(failure, self.uptime.now()) {
            info!(instance = %self.id, ?failure, millis, "an instance failed too often in a row, others are preferred");
        }
    }
}

/// An instance as one route sees it.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) instance: Arc<Instance>,
    pub(crate) release: ReleaseId,
    pub(crate) draining: bool,
}

/// Requests that chose a release on another node and have not heard from it yet.
#[derive(Debug)]
pub(crate) struct Awaiting(pub(crate) Sharded);

/// A release on a node.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) release: ReleaseId,
    pub(crate) node: NodeId,
    pub(crate) weight: u64,
    /// How many there are, at least one.
    pub(crate) instances: u64,
    pub(crate) awaiting: Arc<Awaiting>,
}

/// The edge of another node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) address: String,
    pub(crate) down: Down,
}

/// The requests of one environment, and who may answer them.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) environment: EnvironmentId,
    pub(crate) choices: Vec<Choice>,
    pub(crate) sticky: Option<Sticky>,
    pub(crate) maintenance: Option<Arc<Maintenance>>,
    pub(crate) local: Vec<Local>,
    /// Requests without TLS are to come with it.
    pub(crate) redirect: bool,
    /// For how many seconds clients with TLS are told not to come without.
    pub(crate) hsts: Option<u64>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) turns: Turns,
}

/// A route below a path prefix of a host.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Without a trailing `/`; empty for all paths.
    pub(crate) prefix: Box<str>,
    pub(crate) route: Arc<Route>,
}

impl Mount {
    fn covers(&self, path: &str) -> bool {
        match path.strip_prefix(&*self.prefix) {
            Some(rest) => self.prefix.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

/// A table, ready to be read.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) node: NodeId,
    /// By host; the longest prefix first.
    pub(crate) hosts: HashMap<Box<str>, Vec<Mount>>,
    pub(crate) environments: HashMap<EnvironmentId, Vec<Arc<Route>>>,
    pub(crate) peers: HashMap<NodeId, Arc<Peer>>,
    pub(crate) challenges: Vec<Challenge>,
}

impl Compiled {
    /// The route of a path of a host.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.hosts.get(host)?.iter().find(|mount| mount.covers(path)).map(|mount| &mount.route)
    }
}

/// What a worker has to do for a new table.
#[derive(Clone, Debug)]
pub(crate) struct Swap {
    /// Counts the tables of this edge.
    pub(crate) seq: u64,
    pub(crate) table: Arc<Compiled>,
    /// Choices on other nodes that this table no longer has.
    pub(crate) vanished: Vec<Arc<Awaiting>>,
    /// Instances that this table does not offer to new requests.
    pub(crate) withdrawn: Vec<(u64, Left)>,
}

/// How an instance left the choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The table still has it: it finishes what it began.
    Draining,
    /// It was withdrawn before, and now the table does not know it. What it began goes on to its end.
    Drained,
    /// It served until this table, which does not know it: it ended by itself, and answers nobody.
    Ended,
}
