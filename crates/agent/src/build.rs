//! What makes images on this node. How, is not known here.

use std::collections::BTreeSet;

use async_trait::async_trait;
use temps_core::assignment::BuildWork;
use temps_core::model::{Artifact, DeploymentId};

/// Why an image was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// It cannot be made from this source: trying again would not help.
    #[error("{why}")]
    Failed {
        /// What went wrong, for a person.
        why: String,
        /// The last lines of the build log, at most 20.
        log_tail: Vec<String>,
    },
    /// What would make it does not answer now, which is not the source's fault: try again.
    #[error("{0}")]
    NotNow(String),
}

/// What makes images on this node.
#[async_trait]
pub trait Build: Send + Sync + 'static {
    /// Makes an image and stores it, and returns what is stored. One is made at a time. Where this is
    /// dropped before its end, nothing of it goes on.
    ///
    /// # Errors
    /// [`BuildError`]; nothing half made is left then.
    async fn build(&self, deployment: DeploymentId, work: &BuildWork) -> Result<Artifact, BuildError>;

    /// Removes what was kept of builds for other deployments than these, such as their logs.
    async fn forget(&self, keep: &BTreeSet<DeploymentId>);
}
