//! The act of moving an environment to a release.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counted::Counted;
use super::evidence::Evidence;
use super::finding::Finding;
use super::id::{DeploymentId, EnvironmentId, InstanceId, Millis, NodeId, ReleaseId};

/// Where a deployment stands. It only moves forward, and an ended one never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for the deployment before it.
    Queued,
    /// Its image is being made, or copied to a second node. Nothing else has changed.
    Building,
    /// Its release command runs. Nothing else has changed.
    Releasing,
    /// Replaces instances.
    Stepping,
    /// All instances are replaced; the release is observed.
    Watching,
    /// Goes back to the release before it.
    Reverting,
    /// The release is live.
    Succeeded,
    /// The release before it is live again.
    RolledBack,
    /// It failed, and there was nothing to go back to or the way back failed too.
    Failed,
    /// An operator cancelled it; the release before it is live.
    Cancelled,
    /// A newer deployment took its place before it began.
    Superseded,
}

impl Phase {
    /// The phase that has this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        const ALL: [Phase; 11] = [
            Phase::Queued,
            Phase::Building,
            Phase::Releasing,
            Phase::Stepping,
            Phase::Watching,
            Phase::Reverting,
            Phase::Succeeded,
            Phase::RolledBack,
            Phase::Failed,
            Phase::Cancelled,
            Phase::Superseded,
        ];
        ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// Whether the deployment has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self >= Phase::Succeeded
    }

    /// Whether it has begun and not ended.
    #[must_use]
    pub fn is_live(self) -> bool {
        self > Phase::Queued && !self.is_terminal()
    }

    /// The word that users see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Phase::Queued => "queued",
            Phase::Building => "building",
            Phase::Releasing => "releasing",
            Phase::Stepping => "stepping",
            Phase::Watching => "watching",
            Phase::Reverting => "reverting",
            Phase::Succeeded => "succeeded",
            Phase::RolledBack => "rolled_back",
            Phase::Failed => "failed",
            Phase::Cancelled => "cancelled",
            Phase::Superseded => "superseded",
        }
    }
}

/// What kind of move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To a new release.
    Deploy,
    /// Back to the release of an earlier, succeeded deployment.
    Rollback {
        /// That deployment.
        to: DeploymentId,
    },
}

/// One step: how many new instances are ready, and how many old ones stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Instances of the new release that must be ready and admitted.
    pub ready: u32,
    /// Instances of the old release that stay in the tables.
    pub keep_old: u32,
    /// The share of requests that the new release gets, in percent; by the number of instances where `None`.
    #[serde(default)]
    pub weight: Option<u32>,
    /// How long to wait after the step before the next.
    pub hold: Millis,
}

/// How far one process has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// All steps, in order.
    pub steps: Vec<Step>,
    /// The current one; `steps.len()` when all are done.
    pub at: usize,
    /// When the current step's hold ends, once its counts are reached.
    pub hold_until: Option<Millis>,
}

/// Why a deployment was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An instance ended before it was ever ready, or could not be started.
    Exited {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// How, for a person: `exit code 1`, `signal 9`, or the error.
        how: String,
        /// The last lines of its log.
        log_tail: Vec<String>,
    },
    /// Its health check failed `failures` times in a row.
    Unhealthy {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// The unhealthy threshold.
        failures: u32,
        /// The last answer.
        last_check: String,
        /// The last lines of its log at that time.
        #[serde(default)]
        log_tail: Vec<String>,
    },
    /// Instances that had been healthy kept ending.
    CrashLoop {
        /// How many ended.
        crashes: u32,
        /// How the last one did.
        how: String,
        /// The last lines of its log.
        log_tail: Vec<String>,
    },
    /// Its requests fail, or take too long, more often than is allowed.
    Traffic {
        /// What was found.
        finding: Finding,
    },
    /// No instance became healthy in time.
    Deadline {
        /// The time allowed.
        after: Millis,
        /// What it was waiting for, for a person.
        waiting_for: String,
        /// The last lines of the log of the instance that it waited for, where it is one, when its checks began to
        /// fail as they did last.
        #[serde(default)]
        log_tail: Vec<String>,
    },
    /// Its image could not be made.
    Build {
        /// Where.
        node: NodeId,
        /// What went wrong, for a person.
        why: String,
        /// The last lines of the build log.
        log_tail: Vec<String>,
    },
    /// It and what runs cannot both run with one schema of the database.
    Schema {
        /// Why, and what to do.
        why: String,
    },
    /// Its release command failed, took too long, or was lost with its node.
    ReleaseCommand {
        /// The instance that ran it.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// What went wrong, for a person.
        why: String,
        /// The last lines of its output.
        log_tail: Vec<String>,
    },
    /// An operator asked.
    Cancelled {
        /// Who.
        by: String,
    },
}

impl Cause {
    /// One sentence for a person, without a full stop; nodes are called by their numbers.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.sentence_with(&|node| node.to_string())
    }

    /// As [`Cause::sentence`], with nodes called as `name` says.
    #[must_use]
    pub fn sentence_with(&self, name: &dyn Fn(NodeId) -> String) -> String {
        match self {
            Cause::Exited { instance, node, how, .. } => {
                let node = name(*node);
                format!("{instance} on {node} ended before it was healthy ({how})")
            }
            Cause::Unhealthy { instance, node, failures, last_check, .. } => {
                let node = name(*node);
                format!(
                    "health check of {instance} on {node} failed {failures} times, last answer: {last_check}"
                )
            }
            Cause::CrashLoop { crashes, how, .. } => {
                format!("crash loop: {crashes} exits after being healthy, the last with {how}")
            }
            Cause::Traffic { finding } => finding.sentence(),
            Cause::Schema { why } => why.clone(),
            Cause::Deadline { after, waiting_for, .. } => {
                format!(
                    "no newly healthy instance within {}, waiting for {waiting_for}",
                    crate::text::duration(*after)
                )
            }
            Cause::Build { node, why, .. } => format!("the build on {} failed: {why}", name(*node)),
            Cause::ReleaseCommand { node, why, .. } => {
                format!("the release command on {} failed: {why}", name(*node))
            }
            Cause::Cancelled { by } => format!("cancelled by {by}"),
        }
    }

    /// The last lines of the log of the instance at fault.
    #[must_use]
    pub fn log_tail(&self) -> &[String] {
        match self {
            Cause::Exited { log_tail, .. }
            | Cause::Unhealthy { log_tail, .. }
            | Cause::Deadline { log_tail, .. }
            | Cause::CrashLoop { log_tail, .. }
            | Cause::Build { log_tail, .. }
            | Cause::ReleaseCommand { log_tail, .. } => log_tail,
            Cause::Traffic { .. } | Cause::Schema { .. } | Cause::Cancelled { .. } => &[],
        }
    }
}

/// The act of moving an environment to a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its number.
    pub id: DeploymentId,
    /// Of which environment.
    pub environment: EnvironmentId,
    /// What kind of move.
    pub kind: Kind,
    /// The release that was live when it began.
    pub from: Option<ReleaseId>,
    /// The release it moves to.
    pub to: ReleaseId,
    /// Where it stands.
    pub phase: Phase,
    /// The node that makes its image, while it is being made.
    #[serde(default)]
    pub builder: Option<NodeId>,
    /// The instance that runs its release command, once it has one.
    #[serde(default)]
    pub command: Option<InstanceId>,
    /// How far each process has come.
    pub progress: BTreeMap<String, Progress>,
    /// Who asked for it.
    pub by: String,
    /// When it was asked for, began and ended, on the cluster clock.
    pub created_at: Millis,
    /// When it began.
    pub started_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// When it fails unless an instance becomes healthy before.
    pub deadline: Option<Millis>,
    /// When watching ends.
    pub watch_until: Option<Millis>,
    /// Exits of its instances after they were healthy.
    pub crashes: u32,
    /// Its release command takes away what the release before needs, so it runs last.
    #[serde(default)]
    pub contracts: bool,
    /// An operator asked to cancel it.
    pub cancel: Option<String>,
    /// Who asked it to wait after its current step, while it does.
    #[serde(default)]
    pub paused: Option<String>,
    /// Why its image cannot be made, as the node that tried told.
    #[serde(default)]
    pub not_built: Option<Cause>,
    /// Why it was taken back.
    pub cause: Option<Cause>,
    /// What edges counted while it was live, and before.
    #[serde(default)]
    pub counted: Counted,
    /// What tells whether its release does worse than the one before.
    #[serde(default)]
    pub evidence: Evidence,
}

impl Deployment {
    /// One that has not begun, asked for by nobody at time 0.
    #[must_use]
    pub fn new(id: DeploymentId, environment: EnvironmentId, kind: Kind, to: ReleaseId) -> Self {
        Self {
            id,
            environment,
            kind,
            from: None,
            to,
            phase: Phase::Queued,
            builder: None,
            command: None,
            progress: BTreeMap::new(),
            by: String::new(),
            created_at: 0,
            started_at: None,
            ended_at: None,
            deadline: None,
            watch_until: None,
            crashes: 0,
            contracts: false,
            cancel: None,
            paused: None,
            not_built: None,
            cause: None,
            counted: Counted::default(),
            evidence: Evidence::default(),
        }
    }

    /// The process whose share of requests is being moved, while it is: the others wait for it.
    #[must_use]
    pub fn leading(&self) -> Option<(&str, &Progress)> {
        let weighs = |progress: &Progress| {
            progress.at < progress.steps.len() && progress.steps.iter().any(|step| step.weight.is_some())
        };
        let found = self.progress.iter().find(|(_, progress)| weighs(progress));
        found.map(|(process, progress)| (process.as_str(), progress))
    }
}
