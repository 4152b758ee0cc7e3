//! What a machine tells when it joins.

use serde::{Deserialize, Serialize};

/// A machine that joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNode {
    /// Its name, unique.
    pub name: String,
    /// See [`crate::model::Node::control`].
    pub control: String,
    /// See [`crate::model::Node::edge_peer`].
    pub edge_peer: String,
    /// See [`crate::model::Node::edge_http`].
    pub edge_http: String,
    /// Version of its binary.
    pub version: String,
    /// SHA-256 of its public key, in hex.
    pub fingerprint: String,
    /// Hash of the join token's secret; `None` only for the founder.
    pub token_hash: Option<String>,
}
