//! The whole replicated state.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::artifact::{Artifact, RuntimeKind, Source};
use super::audit::Audit;
use super::deployment::Deployment;
use super::event::{Event, EventId};
use super::id::{
    DeploymentId, EnvironmentId, Index, InstanceId, Millis, NodeId, ProjectId, ReleaseId, TokenId,
};
use super::instance::Instance;
use super::maintenance::Maintenance;
use super::notify::Notifications;
use super::people::{Grant, People};
use super::settings::{Covered, Settings};
use super::spec::{Spec, Variables};
use super::tls::Tls;
use crate::command::Receipt;

/// Whether a node counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// The leader hears it.
    Up,
    /// The leader has not heard it for longer than its lease.
    Lost,
}

/// A machine of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its name, unique.
    pub name: String,
    /// `host:port` of its gRPC endpoint, for nodes and for the CLI.
    pub control: String,
    /// `host:port` of its edge for other edges.
    pub edge_peer: String,
    /// `host:port` of its edge for the public, for display.
    pub edge_http: String,
    /// Version of the binary it reported when it joined or last started.
    pub version: String,
    /// Whether it counts.
    pub status: NodeStatus,
    /// No new instances are placed on it.
    pub cordoned: bool,
    /// What runs there is moved elsewhere; then it is cordoned, too.
    #[serde(default)]
    pub draining: bool,
    /// It was drained, and nothing was left on it.
    #[serde(default)]
    pub drained: bool,
    /// The newest log index whose table its edge serves, as far as anybody had to know.
    pub applied: Index,
    /// The start of its server that sent the newest report, and that report's number: older ones are dropped.
    pub boot: u64,
    /// See `boot`.
    pub seq: u64,
    /// Digests of the artifacts it stores.
    pub artifacts: BTreeSet<String>,
    /// What it last told of itself.
    #[serde(default)]
    pub facts: NodeFacts,
    /// SHA-256 of its public key, in hex.
    pub fingerprint: String,
}

/// What a node tells of itself; reported when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// What runs instances there; unknown until it has reported.
    pub runtime: Option<RuntimeKind>,
    /// Labels of its configuration, for placement.
    pub labels: BTreeMap<String, String>,
    /// Space on the fullest disk that deployments need, in bytes, coarsely; unknown where `None`.
    pub free: Option<u64>,
    /// Why it cannot start anything now, for a person, such as an engine that does not answer.
    pub trouble: Option<String>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its number.
    pub id: ProjectId,
    /// Its name, unique: lower-case letters, digits, `-`.
    pub name: String,
    /// When it was created, on the cluster clock.
    pub created_at: Millis,
}

/// An environment of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its number.
    pub id: EnvironmentId,
    /// Of which project.
    pub project: ProjectId,
    /// Its name, such as `production`.
    pub name: String,
    /// The release of the last succeeded deployment.
    pub current: Option<ReleaseId>,
    /// Variables for the next release; they win over those of the file.
    pub variables: Variables,
    /// What later deployments take in place of what their file says.
    #[serde(default)]
    pub settings: Settings,
    /// Wanted instances by process, where they differ from the release's.
    pub scale: BTreeMap<String, u32>,
    /// Exits of instances outside deployments since the last quiet period, for backoff.
    pub crashes: u32,
    /// No instance is started before this moment, on the cluster clock.
    pub backoff_until: Millis,
    /// The node with its volumes, once it has any: all its instances run there.
    #[serde(default)]
    pub home: Option<NodeId>,
    /// The version of its database's schema, once a release has told.
    #[serde(default)]
    pub schema: Option<u64>,
    /// What its clients get in place of the application, while it is in maintenance.
    #[serde(default)]
    pub maintenance: Option<Maintenance>,
}

/// What an environment can be moved to; how it runs never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number.
    pub id: ReleaseId,
    /// Of which environment.
    pub environment: EnvironmentId,
    /// What the user gave.
    pub source: Source,
    /// What came of it and runs; set once, when it is known.
    pub artifact: Option<Artifact>,
    /// How it runs.
    pub spec: Spec,
    /// What its file says where settings of the cluster were taken in its place.
    #[serde(default)]
    pub covered: Covered,
    /// With which environment variables, already merged.
    pub variables: Variables,
    /// When it was created, on the cluster clock.
    pub created_at: Millis,
}

/// What a token or a person may do, everywhere or within a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read.
    Viewer,
    /// Read, deploy, scale, set variables.
    Deployer,
    /// Everything.
    Admin,
}

/// An API token; only its hash is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// Who or what uses it.
    pub name: String,
    /// SHA-256 of the secret, in hex.
    pub hash: String,
    /// What it allows.
    #[serde(rename = "role")]
    pub grant: Grant,
    /// When it was created, Unix milliseconds; 0 where that was not noted. Only for display.
    #[serde(default)]
    pub created: Millis,
    /// When it expires, on the cluster clock; never where `None`.
    #[serde(default)]
    pub expires_at: Option<Millis>,
}

/// Permission for one machine to join; only its hash is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Its number.
    pub id: TokenId,
    /// SHA-256 of the secret, in hex.
    pub hash: String,
    /// When it expires, on the cluster clock.
    pub expires_at: Millis,
    /// How many more machines may use it.
    pub uses: u32,
}

/// The whole replicated state. The same log gives the same state, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Index of the last applied entry.
    pub index: Index,
    /// Counts the changes that a planner must know; a plan made on an older one is stale.
    pub revision: u64,
    /// The cluster clock: it never goes back.
    pub clock: Millis,
    /// The domain under which every environment gets a name, such as `localhost`.
    pub domain: String,
    /// The last number given out, by kind.
    pub last: LastIds,
    /// Machines.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Names of machines that were removed: what happened goes on calling them so.
    #[serde(default)]
    pub removed: BTreeMap<NodeId, String>,
    /// Projects.
    pub projects: BTreeMap<ProjectId, Project>,
    /// Environments.
    pub environments: BTreeMap<EnvironmentId, Environment>,
    /// Releases.
    pub releases: BTreeMap<ReleaseId, Release>,
    /// Deployments.
    pub deployments: BTreeMap<DeploymentId, Deployment>,
    /// Instances, gone ones of kept deployments included.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Names that were given to environments beside those of their releases, normalised.
    #[serde(default)]
    pub domains: BTreeMap<String, EnvironmentId>,
    /// Certificates for names of applications.
    #[serde(default)]
    pub tls: Tls,
    /// API tokens.
    pub tokens: BTreeMap<TokenId, Token>,
    /// Join tokens.
    pub join_tokens: BTreeMap<TokenId, JoinToken>,
    /// People, and where they are signed in.
    #[serde(default)]
    pub people: People,
    /// Who changed what.
    #[serde(default)]
    pub audit: Audit,
    /// Everything that happened, of kept deployments and recently.
    pub events: BTreeMap<EventId, Event>,
    /// To whom notices go, and those that are on their way.
    #[serde(default)]
    pub notifications: Notifications,
    /// Answers by idempotency key, the newest [`crate::apply::KEYS_KEPT`].
    pub answered: BTreeMap<String, Receipt>,
    /// Idempotency keys by log index, oldest first.
    pub answered_order: BTreeMap<Index, String>,
}

/// The last number given out, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastIds {
    /// Nodes.
    pub node: u64,
    /// Projects.
    pub project: u64,
    /// Environments.
    pub environment: u64,
    /// Releases.
    pub release: u64,
    /// Deployments.
    pub deployment: u64,
    /// Instances.
    pub instance: u64,
    /// Tokens of both kinds.
    pub token: u64,
}
