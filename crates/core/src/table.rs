//! What an edge serves, and what it tells about that. An edge knows nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::model::Protocol;
use crate::model::{Endpoint, EnvironmentId, Index, InstanceId, Maintenance, NodeId, ReleaseId};

/// Everything one node's edge needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The log index that it reflects.
    pub index: Index,
    /// Counts the tables of this node's server since its start, for changes seen only locally.
    pub version: u64,
    /// Whose edge this is for.
    pub node: NodeId,
    /// Routes, by environment.
    pub routes: Vec<Route>,
    /// Edges of the other nodes.
    pub peers: BTreeMap<NodeId, Peer>,
    /// What a server of ACME asks to see whether a host is ours.
    #[serde(default)]
    pub challenges: Vec<Challenge>,
}

/// What a server of ACME asks (RFC 8555 section 8.3, RFC 8737), and what it is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Of which host.
    pub host: String,
    /// The last part of the path, by HTTP.
    pub token: String,
    /// The key authorization.
    pub authorization: String,
}

/// The requests of one environment, and who may answer them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Which environment.
    pub environment: EnvironmentId,
    /// Normalised host names.
    pub hosts: Vec<String>,
    /// `/` or a prefix such as `/api`, matched at path segment borders; the longest wins.
    pub path_prefix: String,
    /// Where a request may go; this node included.
    pub choices: Vec<Choice>,
    /// Which clients go to which release, where that is not left to the weights.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// What every request is answered, and no instance is asked.
    #[serde(default)]
    pub maintenance: Option<Maintenance>,
    /// Instances on this node, those that only finish requests included.
    pub local: Vec<Target>,
    /// Whether requests without TLS are sent to the same place with TLS, where the edge has a certificate.
    #[serde(default)]
    pub redirect: bool,
    /// What answers by TLS tell browsers: for so many seconds to come by TLS alone.
    #[serde(default)]
    pub hsts: Option<u64>,
}

/// Sends each client to one of two releases for as long as the shares let it: a client whose cookie falls below
/// the share goes to the release, and one who went there stays when the share grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sticky {
    /// The name of the cookie whose value decides.
    pub cookie: String,
    /// The release that gets the share.
    pub release: ReleaseId,
    /// The share, of [`SHARES`].
    pub share: u32,
}

/// All requests, in the unit of [`Sticky::share`].
pub const SHARES: u32 = 10_000;

/// A release on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Choice {
    /// Which release.
    pub release: ReleaseId,
    /// On which node.
    pub node: NodeId,
    /// Relative share; 0 is never chosen.
    pub weight: u32,
    /// Of how many instances that is the share.
    #[serde(default)]
    pub instances: u32,
}

/// An instance on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Which instance.
    pub instance: InstanceId,
    /// Of which release.
    pub release: ReleaseId,
    /// Where it listens, and which start of it.
    pub endpoint: Endpoint,
    /// What it speaks there.
    #[serde(default)]
    pub protocol: Protocol,
    /// Withdrawn: it only serves what others forward for its release while no other instance here can.
    pub draining: bool,
}

/// The edge of another node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// `host:port` of its listener for edges.
    pub address: String,
}

/// Certificates for clients, which an edge keeps apart from its table: they change rarely, and hold keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates(pub Vec<Certified>);

/// A certificate, and for which hosts it is shown.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Certified {
    /// Names in it; `*.example.com` for all names right below.
    pub names: Vec<String>,
    /// It and those up to the root, in PEM.
    pub chain: String,
    /// Its key, in PEM.
    pub key: String,
    /// Until when it is valid, in Unix milliseconds.
    pub not_after: u64,
}

impl std::fmt::Debug for Certified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certified").field("names", &self.names).finish_non_exhaustive()
    }
}

/// What an edge tells its server, several times a second and at once when a drain ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// Index of the table that all its workers serve, with no request left that chose by an older one
    /// and has not reached its instance.
    pub index: Index,
    /// Version of that table.
    pub version: u64,
    /// Requests and streams in flight by local instance; absent means none.
    pub in_flight: BTreeMap<InstanceId, u64>,
    /// The same by environment and release, 0 included: those that have an instance here, and those of which
    /// something is in flight although theirs are gone. Empty of edges that do not tell.
    #[serde(default)]
    pub by_release: BTreeMap<EnvironmentId, BTreeMap<ReleaseId, u64>>,
    /// Cumulative counters by environment since the edge started.
    pub traffic: BTreeMap<EnvironmentId, crate::model::Measured>,
    /// The edge's process id.
    pub pid: u32,
    /// By which its server tells it from one that another program or configuration started.
    #[serde(default)]
    pub mark: u64,
    /// Who began to count what is in `traffic`: an edge and those that took over from it have the same number, and
    /// one that starts anew has another. 0 of edges that do not tell.
    #[serde(default)]
    pub counting: u64,
}
