//! Who changed what: one entry for each change that somebody asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Index, Millis};

/// What kind of somebody asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// A token.
    Token,
    /// A person.
    Person,
    /// A machine that joins.
    Node,
    /// The cluster itself, such as at its founding.
    Cluster,
}

impl AuditKind {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Person => "person",
            Self::Node => "node",
            Self::Cluster => "cluster",
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was so already.
    NoChange,
    /// It was refused.
    Refused {
        /// Why, for a person.
        why: String,
    },
}

/// One change that somebody asked for. Values of variables, keys and secrets are never in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The log index at which it was decided.
    pub index: Index,
    /// The leader's wall clock, Unix milliseconds.
    pub wall: Millis,
    /// What kind of somebody asked.
    pub kind: AuditKind,
    /// Their name.
    pub by: String,
    /// Their address, where it is known.
    pub from: Option<String>,
    /// What they asked for, such as `deploy` or `token create`.
    pub operation: String,
    /// About which project, where it is about one.
    pub project: Option<String>,
    /// About what.
    pub object: String,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// SHA-256 in hex over the hash of the entry before and all of this one; see [`crate::audit`].
    pub hash: String,
}

/// The newest entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// By log index. Shared between copies of the state, which are made often.
    pub entries: BTreeMap<Index, Arc<AuditEntry>>,
    /// The hash of the entry before the oldest one that is kept; empty where that is the first ever.
    pub before: String,
    /// How many older ones were forgotten.
    pub forgotten: u64,
}
