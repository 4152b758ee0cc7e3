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
}

/// One process of a release, for example `web`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The command line, run by `/bin/sh -c` in the root of the bundle.
    pub command: String,
    /// Whether the process answers HTTP on `$PORT`. At most one process of a release does.
    pub http: bool,
    /// How many instances run unless the environment was scaled; at least 1.
    pub instances: u32,
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
            max_surge: 1,
            max_unavailable: 0,
            drain_timeout: 30_000,
            stop_grace: 10_000,
            deadline: 600_000,
        }
    }
}

/// The strategies that this version can walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Replace instances a few at a time.
    Rolling,
}

/// When a deployment is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackRules {
    /// How long a deployment is watched after its last step.
    pub watch: Millis,
    /// How many exits of instances that were healthy make a crash loop.
    pub crash_limit: u32,
    /// Of how many succeeded deployments the artifacts are kept; at least 1.
    pub keep: u32,
}

impl Default for RollbackRules {
    fn default() -> Self {
        Self { watch: 120_000, crash_limit: 3, keep: 5 }
    }
}

/// Which requests belong to an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRules {
    /// Host names, normalised by [`crate::host::normalise`].
    pub domains: Vec<String>,
    /// The path prefix; `/` for all.
    pub path_prefix: String,
}

impl Default for RouteRules {
    fn default() -> Self {
        Self { domains: Vec::new(), path_prefix: "/".to_owned() }
    }
}

/// The stored form of what an instance runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 of the stored file, in hex.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
}
