//! What runs instances on this node.
//!
//! A runtime starts, lists, watches, stops and removes; it decides nothing, and it remembers everything
//! that must outlive the server outside of this process. Local processes are one kind; containers fit
//! the same words.

pub mod docker;
pub mod process;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use temps_core::assignment::Work;
use temps_core::model::{Endpoint, Exit, InstanceId, NodeId, RuntimeKind};

use crate::logs::{LogLine, Until};

/// What to start.
#[derive(Clone, Debug)]
pub struct Job {
    /// The instance and what it runs.
    pub work: Work,
    /// This node.
    pub node: NodeId,
    /// The stored artifact.
    pub artifact: PathBuf,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// What makes this start unique; it changes when the same instance starts anew.
    pub incarnation: String,
    /// Where it answers, read now; `None` where it does not answer HTTP.
    pub endpoint: Option<Endpoint>,
    /// For how long it has been running.
    pub age: Duration,
}

/// Something under this cluster's name on this node.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which instance.
    pub instance: InstanceId,
    /// The artifact it needs; empty where that is not known.
    pub digest: String,
    /// Time between the stop signal and the kill, as when it was started.
    pub stop_grace: Duration,
    /// How it is.
    pub condition: Condition,
}

/// How something that was found is.
#[derive(Clone, Debug)]
pub enum Condition {
    /// It runs.
    Running(Running),
    /// It ran, and has ended.
    Ended(Exit),
    /// It was prepared and never ran: the server ended in between.
    Unstarted,
}

/// Why an instance was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The stored artifact is not what its digest says: it has to be fetched again.
    #[error("the stored artifact is damaged")]
    Damaged,
    /// The artifact is whole, and cannot be used, or not as it should be run.
    #[error("refused: {0}")]
    Refused(String),
    /// All ports of the range are taken.
    #[error("no free port in {0}")]
    NoPort(String),
    /// It has run already. An instance never starts twice.
    #[error("it has run before")]
    Ended,
    /// The system did not let it start.
    #[error("{0}")]
    Failed(String),
    /// What would start it does not answer now, which is not the application's fault: try again.
    #[error("{0}")]
    NotNow(String),
    /// Files could not be prepared.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What runs instances on this node.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Starts an instance; one that runs already is answered as it is.
    ///
    /// # Errors
    /// Why it does not run.
    async fn start(&self, job: &Job) -> Result<Running, StartError>;

    /// Everything under this cluster's name on this node, ended ones included.
    ///
    /// # Errors
    /// The list cannot be read.
    async fn list(&self) -> io::Result<Vec<Found>>;

    /// Returns once an instance that was started or listed has ended. How may take a moment longer to find
    /// out: [`Runtime::wait`] tells it.
    async fn ends(&self, instance: InstanceId) {
        self.wait(instance).await;
    }

    /// Returns once an instance that was started or listed has ended, with how.
    async fn wait(&self, instance: InstanceId) -> Exit;

    /// Returns when something may have changed that only [`Runtime::list`] tells.
    async fn changed(&self);

    /// Which kind it is.
    fn kind(&self) -> RuntimeKind;

    /// Why nothing can be started now, for a person; `None` where all is well.
    async fn trouble(&self) -> Option<String>;

    /// Runs a command beside an instance, in its surroundings and with its variables, for at most `limit`.
    ///
    /// # Errors
    /// What was wrong, for a person, unless it ended with 0.
    async fn check(&self, instance: InstanceId, command: &str, limit: Duration) -> Result<(), String>;

    /// Whether an instance is still the start that is meant. Where that cannot be found out now, it is.
    async fn is(&self, instance: InstanceId, incarnation: &str) -> bool;

    /// Asks an instance to end, kills it after `grace`, and returns once it has ended. That the end is
    /// wanted is recorded first. Cut short and called again, it continues.
    ///
    /// # Errors
    /// It may still run.
    async fn stop(&self, instance: InstanceId, grace: Duration) -> io::Result<()>;

    /// Removes all traces of an instance that does not run. None to remove is no error.
    ///
    /// # Errors
    /// It runs, or something cannot be removed.
    async fn remove(&self, instance: InstanceId) -> io::Result<()>;

    /// Removes what was made from an artifact that no instance needs.
    ///
    /// # Errors
    /// Something cannot be removed.
    async fn discard(&self, digest: &str) -> io::Result<()>;

    /// The last `tail` lines of an instance's log, then, if wanted, those that follow. Nothing for an instance
    /// that is not on this node.
    fn lines(
        &self,
        instance: InstanceId,
        tail: usize,
        until: Until,
    ) -> BoxStream<'static, io::Result<LogLine>>;
}
