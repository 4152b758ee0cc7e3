//! One running copy of a process on one node.

use serde::{Deserialize, Serialize};

use super::id::{DeploymentId, EnvironmentId, Index, InstanceId, Millis, NodeId, ReleaseId};
use super::reason::Story;

/// What the planner wants. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// Run, and serve once admitted.
    Run,
    /// Take no new requests; finish those in flight.
    Drain,
    /// Signal, grace, kill, remove.
    Stop,
    /// Nothing is left; the record stays for the timeline.
    Gone,
}

/// What the node last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Nothing was reported yet.
    Pending,
    /// It runs and has not passed its health check yet.
    Starting,
    /// It passed `healthy_threshold` checks in a row.
    Ready,
    /// It failed `unhealthy_threshold` checks in a row outside the start period.
    Unready,
    /// It ended, or could not be started.
    Exited,
    /// It ended and its traces were removed.
    Gone,
}

/// How an instance ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, where there is one.
    pub code: Option<i32>,
    /// Signal number, where it was killed by one.
    pub signal: Option<i32>,
    /// Why it could not even be started, for a person.
    pub error: Option<String>,
    /// Whether we had been told to stop it: then it is never a crash.
    pub asked: bool,
    /// Whether it had to be killed after the grace period.
    pub killed_after_grace: bool,
    /// The kernel ended it because it used more memory than it may.
    #[serde(default)]
    pub oom: bool,
    /// Not the application ended it, but its machine or somebody there: an engine that stopped, a container
    /// removed by hand. Then it is never a crash either; `error` says what happened.
    #[serde(default)]
    pub excused: bool,
    /// The last lines of its log, at most 20.
    pub log_tail: Vec<String>,
}

impl Exit {
    /// Whether the application is to blame.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        !self.asked && !self.excused
    }

    /// `exit code 1`, `signal 9`, `out of memory`, or the error.
    #[must_use]
    pub fn how(&self) -> String {
        if self.oom {
            return "out of memory".to_owned();
        }
        match (&self.error, self.signal, self.code) {
            (Some(error), _, _) => error.clone(),
            (None, Some(signal), _) => format!("signal {signal}"),
            (None, None, Some(code)) => format!("exit code {code}"),
            (None, None, None) => "an unknown exit code".to_owned(),
        }
    }
}

/// Where requests for an instance go. An address alone is never a target: it can be reused.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// `ip:port` as seen from the node that runs it.
    pub address: String,
    /// What makes this start of this process unique, such as pid and start time.
    pub incarnation: String,
}

/// One running copy of a process on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its number.
    pub id: InstanceId,
    /// Whose it is.
    pub environment: EnvironmentId,
    /// What it runs.
    pub release: ReleaseId,
    /// Which process of the release.
    pub process: String,
    /// Its place among the wanted instances of the process, from 0.
    pub slot: u32,
    /// Where it runs; it never moves.
    pub node: NodeId,
    /// The deployment that asked for it, if one did.
    pub deployment: Option<DeploymentId>,
    /// What the planner wants.
    pub want: Want,
    /// What its node last reported.
    pub seen: Seen,
    /// Whether it was ever ready.
    pub was_ready: bool,
    /// The log index that put it into the tables, once it was.
    pub admitted: Option<Index>,
    /// The log index that took it out of the tables, once it was.
    pub withdrawn: Option<Index>,
    /// Its address, from the moment it runs.
    pub endpoint: Option<Endpoint>,
    /// Health checks made before it was ready.
    pub attempts: u32,
    /// The last answer to a health check, for a person.
    pub last_check: Option<String>,
    /// The last lines of its log when a check failed, at most 20; none once one passed.
    #[serde(default)]
    pub log_tail: Vec<String>,
    /// When draining must end, on the cluster clock.
    pub drain_deadline: Option<Millis>,
    /// Every live edge has withdrawn it, and since then its drain timeout runs.
    pub drain_timed: bool,
    /// What was in flight when it was withdrawn, once its node told.
    pub draining: Option<u64>,
    /// Set by the node: nothing is in flight, and every live edge has withdrawn it.
    pub drained: bool,
    /// Requests that were cut when the drain timeout passed.
    pub cut: u64,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Its node was declared lost while it ran; it no longer counts.
    pub lost: bool,
    /// When that was, on the cluster clock.
    #[serde(default)]
    pub lost_at: Option<Millis>,
    /// When it was created, on the cluster clock.
    pub created_at: Millis,
    /// What was decided about it, and why.
    #[serde(default)]
    pub story: Story,
}

impl Instance {
    /// A new instance of a release's process on a node: wanted, in the first place, and nothing seen of it yet.
    #[must_use]
    pub fn new(
        id: InstanceId,
        environment: EnvironmentId,
        release: ReleaseId,
        process: &str,
        node: NodeId,
    ) -> Self {
        Self {
            id,
            environment,
            release,
            process: process.to_owned(),
            slot: 0,
            node,
            deployment: None,
            want: Want::Run,
            seen: Seen::Pending,
            was_ready: false,
            admitted: None,
            withdrawn: None,
            endpoint: None,
            attempts: 0,
            last_check: None,
            log_tail: Vec::new(),
            drain_deadline: None,
            drain_timed: false,
            draining: None,
            drained: false,
            cut: 0,
            exit: None,
            lost: false,
            lost_at: None,
            created_at: 0,
            story: Story::default(),
        }
    }

    /// Wanted, running or about to, and on a node that counts.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.want == Want::Run && self.seen < Seen::Exited && !self.lost
    }

    /// Still occupies its node: not gone, or not known to be.
    #[must_use]
    pub fn occupies(&self) -> bool {
        self.want != Want::Gone && self.seen != Seen::Gone && !self.lost
    }

    /// In the tables and healthy.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.counts() && self.admitted.is_some() && self.seen == Seen::Ready
    }
}
