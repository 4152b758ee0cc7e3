//! The container engine behind its socket.
//!
//! Every question has a time limit, so that an engine that hangs holds nobody up, and an engine that does
//! not answer is told apart from one that refuses. The version of the API is agreed on anew whenever the
//! engine was away, because another one may have come back. What containers are for is not known here.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bollard::errors::Error as Answer;
use bollard::{API_DEFAULT_VERSION, Docker};

/// For questions that the engine answers from memory.
pub(super) const QUICK: Duration = Duration::from_secs(5);
/// For whether it answers at all.
pub(super) const PING: Duration = Duration::from_secs(2);
/// For what takes disk or kernel work.
pub(super) const WORK: Duration = Duration::from_secs(60);
/// bollard's own limit, for who asks without one. It only covers the head of an answer.
const BOLLARD_SECONDS: u64 = 120;
/// How many times of absence are remembered.
const ABSENCES: usize = 32;

/// Why the engine did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It does not answer, or not in time, or is about to stop.
    #[error("the container engine at {socket} does not answer: {why}")]
    Away {
        /// Where it was asked.
        socket: String,
        /// What happened.
        why: String,
    },
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// Something is in the way.
    #[error("{0}")]
    Conflict(String),
    /// It cannot or will not.
    #[error("the container engine refused: {0}")]
    Refused(String),
}

impl EngineError {
    /// Nothing can be said now.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, EngineError::Away { .. })
    }
}

impl From<EngineError> for io::Error {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::Away { .. } => io::ErrorKind::NotConnected,
            EngineError::Missing(_) => io::ErrorKind::NotFound,
            EngineError::Conflict(_) => io::ErrorKind::ResourceBusy,
            EngineError::Refused(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A time during which nobody listened at the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    /// When it was noticed.
    pub(super) from: SystemTime,
    /// When it answered again.
    pub(super) to: Option<SystemTime>,
}

/// The container engine behind its socket. It may be away, also when this is made.
#[derive(Debug)]
pub struct Engine {
    socket: PathBuf,
    docker: Mutex<Option<Docker>>,
    absences: Mutex<VecDeque<Absence>>,
}

impl Engine {
    /// The engine that listens, or will listen, at a socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, docker: Mutex::new(None), absences: Mutex::default() }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection that speaks a version of the API which the engine understands.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn docker(&self) -> Result<Docker, EngineError> {
        if let Some(docker) = lock(&self.docker).clone() {
            return Ok(docker);
        }
        let socket = self.socket.to_string_lossy();
        let connecting = async {
            let docker = Docker::connect_with_unix(&socket, BOLLARD_SECONDS, API_DEFAULT_VERSION)?;
            docker.negotiate_version().await
        };
        let docker = match tokio::time::timeout(QUICK, connecting).await {
            Ok(answer) => self.heard(answer)?,
            Err(_) => return Err(self.silent(QUICK)),
        };
        *lock(&self.docker) = Some(docker.clone());
        Ok(docker)
    }

    /// Asks whether it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), EngineError> {
        self.ask(PING, |docker| async move { docker.ping().await }).await.map(drop)
    }

    /// Asks something, for at most `limit`.
    ///
    /// # Errors
    /// Why there is no answer, or not the one that was wanted.
    pub async fn ask<T, F>(
        &self,
        limit: Duration,
        question: impl FnOnce(Docker) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Answer>>,
    {
        let asking = async { self.heard(question(self.docker().await?).await) };
        match tokio::time::timeout(limit, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silent(limit)),
        }
    }

    /// Nobody listens any more: whatever listens next is met as a stranger.
    pub(super) fn gone(&self) {
        *lock(&self.docker) = None;
        let mut absences = lock(&self.absences);
        if absences.back().is_none_or(|last| last.to.is_some()) {
            if absences.len() == ABSENCES {
                absences.pop_front();
            }
            absences.push_back(Absence { from: SystemTime::now(), to: None });
        }
    }

    /// When nobody listened, oldest first.
    pub(super) fn absences(&self) -> Vec<Absence> {
        lock(&self.absences).iter().copied().collect()
    }

    fn heard<T>(&self, answer: Result<T, Answer>) -> Result<T, EngineError> {
        let error = match answer {
            Ok(value) => {
                self.back();
                return Ok(value);
            }
            Err(error) => error,
        };
        Err(match error {
            Answer::DockerResponseServerError { status_code, message } => {
                self.back();
                self.refused(status_code, message)
            }
            Answer::RequestTimeoutError => self.silent(Duration::from_secs(BOLLARD_SECONDS)),
            Answer::JsonDataError { .. } | Answer::JsonSerdeError { .. } => {
                // What is not understood may hold anything, values of variables included.
                EngineError::Refused("it gave an answer that is not understood".to_owned())
            }
            Answer::DockerStreamError { error } => EngineError::Refused(error),
            other => {
                self.gone();
                self.away(chain(&other))
            }
        })
    }

    fn back(&self) {
        if let Some(last) = lock(&self.absences).back_mut()
            && last.to.is_none()
        {
            last.to = Some(SystemTime::now());
        }
    }

    fn refused(&self, status: u16, message: String) -> EngineError {
        match status {
            404 => EngineError::Missing(message),
            409 => EngineError::Conflict(message),
            400 if message.contains("client version") => {
                // It was replaced by one that speaks other versions.
                *lock(&self.docker) = None;
                self.away(message)
            }
            500.. if is_between_runs(&message) => self.away(message),
            _ => EngineError::Refused(message),
        }
    }

    fn silent(&self, limit: Duration) -> EngineError {
        self.away(format!("nothing within {} s", limit.as_secs()))
    }

    fn away(&self, why: String) -> EngineError {
        EngineError::Away { socket: self.socket.to_string_lossy().into_owned(), why }
    }
}

/// The engine, or what runs containers for it, is about to stop or to start.
fn is_between_runs(message: &str) -> bool {
    const SIGNS: [&str; 7] = [
        "transport is closing",
        "connection error",
        "connection refused",
        "context canceled",
        "context deadline exceeded",
        "containerd.sock",
        "shutting down",
    ];
    SIGNS.iter().any(|sign| message.contains(sign))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

/// What is behind these locks is whole at any time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Engine, is_between_runs};

    #[tokio::test]
    async fn where_nobody_listens_the_socket_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("engine.sock");
        let engine = Engine::new(socket.clone());
        let error = engine.ping().await.expect_err("nobody listens");
        assert!(error.is_away(), "{error}");
        assert!(error.to_string().contains(&*socket.to_string_lossy()), "{error}");
        drop(std::os::unix::net::UnixListener::bind(&socket).expect("bound"));
        let error = engine.ping().await.expect_err("nobody listens any more");
        assert!(error.is_away(), "{error}");
        let absences = engine.absences();
        assert_eq!(absences.len(), 1, "{absences:?}");
        assert_eq!(absences[0].to, None);
    }

    #[test]
    fn an_application_that_cannot_run_is_no_absence() {
        assert!(is_between_runs("failed to create shim task: rpc error: transport is closing: unknown"));
        assert!(!is_between_runs("OCI runtime create failed: exec: \"x\": no such file or directory"));
    }
}
