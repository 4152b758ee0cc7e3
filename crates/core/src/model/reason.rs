//! Why an instance was started, withdrawn or stopped: recorded where it is decided.

use serde::{Deserialize, Serialize};

use super::id::{DeploymentId, Index, InstanceId, Millis, NodeId};

/// Why the planner started, withdrew or stopped an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Reason {
    /// A step of a deployment: it belongs to the new release, or makes room for it.
    Step {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Which, from 1.
        step: u32,
        /// Of how many.
        of: u32,
    },
    /// A deployment that is past its steps: likewise.
    Deployment {
        /// Which.
        deployment: DeploymentId,
    },
    /// It runs the release command.
    ReleaseCommand {
        /// Of which deployment.
        deployment: DeploymentId,
    },
    /// The release before a deployment stays complete while that goes on.
    Refill {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// A deployment is taken back: it belongs to the release before, or to the one that goes.
    TakenBack {
        /// Which.
        deployment: DeploymentId,
    },
    /// In place of one that ended by itself.
    Crashed {
        /// Which.
        instance: InstanceId,
    },
    /// In place of one that its machine ended, or somebody there.
    Ended {
        /// Which.
        instance: InstanceId,
    },
    /// In place of one whose health check fails, or because its own does.
    Unhealthy {
        /// Which.
        instance: InstanceId,
    },
    /// In place of one on a node that was lost.
    NodeLost {
        /// Which.
        instance: InstanceId,
        /// Which node.
        node: NodeId,
    },
    /// In place of one on a node that is emptied, or because its own node is.
    NodeDrained {
        /// Which.
        instance: InstanceId,
        /// Which node.
        node: NodeId,
    },
    /// More are wanted than run.
    More,
    /// Fewer are wanted than run.
    Fewer,
    /// More run than are wanted, since a lost node returned.
    Returned {
        /// Which.
        node: NodeId,
    },
    /// More run than are wanted, since a node is not emptied any more.
    Uncordoned {
        /// Which.
        node: NodeId,
    },
    /// The release has no such process.
    NoProcess,
    /// Another release is the current one.
    NotCurrent,
    /// It was withdrawn, and nothing was in flight any more.
    Drained,
    /// It was withdrawn, and the drain timeout passed.
    TimedOut,
    /// It had ended by itself.
    Exited,
}

/// A decision, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The log index that made it.
    pub index: Index,
    /// Wall time of the leader, in Unix milliseconds. For display only.
    pub wall: Millis,
    /// Why.
    pub why: Reason,
}

/// What was decided about an instance, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// That it runs.
    pub started: Option<Told>,
    /// That it gets no more requests.
    pub withdrawn: Option<Told>,
    /// That it ends.
    pub stopped: Option<Told>,
}
