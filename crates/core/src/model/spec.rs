//! What a user configures for a release: the resolved form of `temps.toml`.
//!
//! Everything here is already merged and checked; nothing is optional that has a default.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::Millis;

/// A value that must not be printed, such as the value of an environment variable.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Opaque(pub String);

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Environment variables by name; values never print.
pub type Variables = BTreeMap<String, Opaque>;

/// The configuration of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Processes by name; at least one.
    pub processes: BTreeMap<String, ProcessSpec>,
    /// How readiness is checked.
    pub health: Health,
    /// How instances are replaced.
    pub deploy: DeployRules,
    /// When a deployment is taken back.
    pub rollback: RollbackRules,
    /// Which requests belong to this environment.
    pub routes: RouteRules,
    /// `[env]` of the file. The environment's own variables win over these.
    pub variables: Variables,
    /// What runs once before the first new instance, such as migrations.
    #[serde(default)]
    pub release: Option<ReleaseCommand>,
    /// How it stands to the schema of its database.
    #[serde(default)]
    pub schema: Option<Schema>,
    /// Where volumes are mounted, by the volume's name; absolute paths. They stay on the node where the
    /// environment first ran, and all its instances run there.
    #[serde(default)]
    pub volumes: BTreeMap<String, String>,
    /// On which nodes instances run.
    #[serde(default)]
    pub placement: Placement,
}

/// One process of a release, for example `web`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The command line, run by `/bin/sh -c` in the root of the bundle. Of an image: without signs that only a
    /// shell understands it is run as it is; empty for the image's own.
    pub command: String,
    /// Whether the process answers HTTP on `$PORT`. At most one process of a release does.
    pub http: bool,
    /// How many instances run unless the environment was scaled; at least 1.
    pub instances: u32,
    /// The port of its container on which it answers HTTP, told as `$PORT`. Where `None`: the only port that
    /// the image exposes, else [`DEFAULT_PORT`]. Local processes get a free port of their node instead.
    #[serde(default)]
    pub port: Option<u16>,
    /// The most memory of one instance, in bytes; beyond it the kernel ends it.
    #[serde(default)]
    pub memory: Option<u64>,
    /// The most processor time of one instance, in thousandths of a core.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// How long what it does may take after it is to end, where that differs from the release's.
    #[serde(default)]
    pub drain_timeout: Option<Millis>,
    /// The signal that asks it to end, such as `SIGQUIT`; the image's, else `SIGTERM`, where `None`.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// Whether a new instance starts before an old one ends.
    #[serde(default)]
    pub order: Order,
    /// Never two of it run at the same time, not even while a node is cut off. Its order is
    /// [`Order::StopFirst`] and it has one instance.
    #[serde(default)]
    pub exclusive: bool,
    /// What it speaks where it answers HTTP.
    #[serde(default)]
    pub protocol: Protocol,
    /// For a process without HTTP: a command run beside it, as healthy when it ends with 0. Where `None`,
    /// staying up is enough.
    #[serde(default)]
    pub check: Option<String>,
}

/// What an instance speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, from the first byte on.
    Http2,
}

/// The port of a container that is told no other and whose image exposes none, or several.
pub const DEFAULT_PORT: u16 = 8080;

/// What comes first when an instance is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The new one is healthy before the old one is asked to end.
    #[default]
    StartFirst,
    /// The old one has ended before the new one starts.
    StopFirst,
}

/// The name under which a release command runs as an instance. No process can have it.
pub const RELEASE_PROCESS: &str = "release";

/// What runs once before the first new instance of a release: its failure takes the deployment back
/// before anything changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseCommand {
    /// As [`ProcessSpec::command`]; never empty.
    pub command: String,
    /// The longest time it may take.
    pub timeout: Millis,
}

/// How a release stands to versions of its database's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The version after its release command.
    pub provides: u64,
    /// The oldest version with which it runs.
    pub from: u64,
    /// The newest version with which it runs; `provides` is between both.
    pub to: u64,
}

impl Schema {
    /// Whether it runs with this version.
    #[must_use]
    pub fn takes(self, version: u64) -> bool {
        (self.from..=self.to).contains(&version)
    }
}

/// On which nodes instances run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Over what instances are spread evenly: `node`, or the name of a node label such as `zone`.
    pub spread: String,
    /// Labels that a node must have.
    pub require: BTreeMap<String, String>,
}

impl Default for Placement {
    fn default() -> Self {
        Self { spread: "node".to_owned(), require: BTreeMap::new() }
    }
}

/// The health check. The defaults are those of the article "Zero-Downtime Deployments",
/// section "Default Health Check Configuration".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The path that is asked; starts with `/`.
    pub path: String,
    /// Time between checks.
    pub interval: Millis,
    /// Longest time for a response.
    pub timeout: Millis,
    /// Consecutive successes that make an instance ready.
    pub healthy_threshold: u32,
    /// Consecutive failures that make it unready.
    pub unhealthy_threshold: u32,
    /// Time after the start during which failures do not count.
    pub start_period: Millis,
    /// The one status that counts as healthy; a redirect is never followed.
    pub expect: u16,
    /// The Host header of a check; the first domain where `None`.
    pub host: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            interval: 5_000,
            timeout: 3_000,
            healthy_threshold: 2,
            unhealthy_threshold: 3,
            start_period: 30_000,
            expect: 200,
            host: None,
        }
    }
}

/// How a deployment replaces instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployRules {
    /// The strategy; its steps are made by [`crate::strategy::steps`].
    pub strategy: Strategy,
    /// The steps of [`Strategy::Canary`], with growing weights; empty for the others.
    #[serde(default)]
    pub canary: Vec<CanaryStep>,
    /// The cookie that decides which of two releases answers a client of a canary, as long as the shares let
    /// it; each request goes its own way where `None`, or where a request has no such cookie.
    #[serde(default)]
    pub sticky: Option<String>,
    /// How many instances may run beyond the wanted number.
    pub max_surge: u32,
    /// How many of the wanted instances may be missing from the tables.
    pub max_unavailable: u32,
    /// How long requests in flight may take after their instance was withdrawn.
    pub drain_timeout: Millis,
    /// Time between the stop signal and the kill.
    pub stop_grace: Millis,
    /// How long a deployment may go on without a newly healthy instance.
    pub deadline: Millis,
}

impl Default for DeployRules {
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            canary: Vec::new(),
            sticky: None,
            max_surge: 1,
            max_unavailable: 0,
            drain_timeout: 30_000,
            stop_grace: 10_000,
            deadline: 600_000,
        }
    }
}

/// How a release takes the place of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Instances are replaced a few at a time.
    #[default]
    Rolling,
    /// All new instances start beside the old ones; then all requests move at once.
    BlueGreen,
    /// A few new instances get a growing share of the requests before the others are replaced.
    Canary,
    /// All old instances have ended before the first new one starts. Nobody answers meanwhile.
    Recreate,
}

impl Strategy {
    /// All, the default first.
    pub const ALL: [Strategy; 4] =
        [Strategy::Rolling, Strategy::BlueGreen, Strategy::Canary, Strategy::Recreate];

    /// The word that users write.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Strategy::Rolling => "rolling",
            Strategy::BlueGreen => "blue_green",
            Strategy::Canary => "canary",
            Strategy::Recreate => "recreate",
        }
    }
}

/// One step of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStep {
    /// The share of requests that the new release gets, in percent; 1 to 99.
    pub weight: u32,
    /// For how long, before the next step.
    pub hold: Millis,
}

/// When a deployment is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RollbackRules {
    /// How long a deployment is watched after its last step.
    pub watch: Millis,
    /// How many exits of instances that were healthy make a crash loop.
    pub crash_limit: u32,
    /// Of how many succeeded deployments the artifacts are kept; at least 1.
    pub keep: u32,
    /// So many times as many failed requests as before take a release back, and so many times as long answers; at
    /// least 2. See `judging.rs` for the limit.
    pub error_rate_factor: u32,
    /// The part of requests that may fail in any case, in millionths; a million: all.
    pub error_rate_floor: u64,
    /// How long half of the answers may take in any case.
    pub latency_floor: Millis,
    /// With fewer requests to the new release nothing is judged by them.
    pub min_requests: u64,
    /// The instances of the release before stay until watching ends, for a return at once.
    pub warm: bool,
}

impl Default for RollbackRules {
    fn default() -> Self {
        Self {
            watch: 120_000,
            crash_limit: 3,
            keep: 5,
            error_rate_factor: 10,
            error_rate_floor: 50_000,
            latency_floor: 1_000,
            min_requests: 20,
            warm: false,
        }
    }
}

/// Which requests belong to an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRules {
    /// Host names, normalised by [`crate::host::normalise`].
    pub domains: Vec<String>,
    /// The path prefix; `/` for all.
    pub path_prefix: String,
    /// What becomes of requests without TLS.
    #[serde(default)]
    pub https: Https,
    /// For how long browsers are told to come by TLS alone, in seconds (RFC 6797); not at all where `None`.
    #[serde(default)]
    pub hsts: Option<u64>,
}

/// What becomes of requests without TLS to a name that has a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Https {
    /// They are sent to the same place by TLS.
    #[default]
    Redirect,
    /// They are answered.
    Optional,
}

impl Default for RouteRules {
    fn default() -> Self {
        Self { domains: Vec::new(), path_prefix: "/".to_owned(), https: Https::Redirect, hsts: None }
    }
}
