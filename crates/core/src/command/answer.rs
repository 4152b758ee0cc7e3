//! What the log answers.

use serde::{Deserialize, Serialize};

use crate::model::{DeploymentId, Index, NodeId, PersonId, ProjectId, SessionId, TokenId};

/// What the log answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The index at which the entry was applied.
    pub index: Index,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It changed the state.
    Done(Made),
    /// The state was so already.
    NoChange(Made),
    /// It was refused, and changed nothing.
    Rejected(Rejection),
}

/// What an entry created or found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// Nothing with a number.
    #[default]
    Nothing,
    /// A node.
    Node(NodeId),
    /// A project.
    Project(ProjectId),
    /// A deployment.
    Deployment(DeploymentId),
    /// A token.
    Token(TokenId),
    /// A person.
    Person(PersonId),
    /// A session of a person.
    Session(SessionId),
}

/// Why an entry was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The planner saw an older state. Not for people.
    #[error("the plan was made on revision {seen}, the state is at {now}")]
    Stale {
        /// What it saw.
        seen: u64,
        /// What is.
        now: u64,
    },
    /// The thing does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// For example `project "shop"`.
        what: String,
    },
    /// The request contradicts itself or the state.
    #[error("{why}")]
    Invalid {
        /// What is wrong and what to do.
        why: String,
    },
    /// It exists already, or something else is under way.
    #[error("{why}")]
    Conflict {
        /// What is in the way and what to do.
        why: String,
    },
    /// The secret is unknown, used up or expired.
    #[error("{why}")]
    Denied {
        /// What is wrong and what to do.
        why: String,
    },
}

impl Receipt {
    /// What was made or found.
    ///
    /// # Errors
    /// The reason, where the entry was refused.
    pub fn made(&self) -> Result<Made, Rejection> {
        match &self.outcome {
            Outcome::Done(made) | Outcome::NoChange(made) => Ok(*made),
            Outcome::Rejected(why) => Err(why.clone()),
        }
    }
}
