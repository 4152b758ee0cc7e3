//! Telling an engine that is busy from one that does not answer.

use std::future::Future;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use tokio::time::sleep;

use crate::runtime::docker::{Engine, EngineError};

/// How long a short question may take.
const SHORT: Duration = Duration::from_secs(60);
/// How often an engine that works on something is asked whether it is still there.
const LOOK: Duration = Duration::from_secs(5);
/// So many missing answers one after the other mean that it is not.
const MISSES: u32 = 4;
/// How long one request may take, as long as the engine answers others.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The engine for short questions.
pub(super) async fn quick(engine: &Engine) -> Result<Docker, EngineError> {
    Ok(engine.docker().await?.with_timeout(SHORT))
}

/// The engine for requests that take long before their answer begins.
pub(crate) async fn patient(engine: &Engine) -> Result<Docker, EngineError> {
    Ok(engine.docker().await?.with_timeout(PATIENCE))
}

/// Waits for something that the engine does, as long as the engine answers.
pub(crate) async fn attended<T>(engine: &Engine, work: impl Future<Output = T>) -> Result<T, EngineError> {
    let watch = async {
        let mut misses = 0;
        loop {
            sleep(LOOK).await;
            match engine.ping().await {
                Ok(()) => misses = 0,
                Err(error) => {
                    misses += 1;
                    if misses >= MISSES {
                        return error;
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        done = work => Ok(done),
        error = watch => Err(error),
    }
}

/// What an error means.
pub(crate) fn meaning(engine: &Engine, error: Error) -> EngineError {
    let away =
        |why: String| EngineError::Away { socket: engine.socket().to_string_lossy().into_owned(), why };
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            let message = message.trim().to_owned();
            match status_code {
                404 => EngineError::Missing(message),
                409 => EngineError::Conflict(message),
                503 => away(message),
                _ if is_stopping(&message) => away(message),
                _ => EngineError::Refused(message),
            }
        }
        Error::DockerStreamError { error } if is_stopping(&error) => away(error.trim().to_owned()),
        Error::DockerStreamError { error } => EngineError::Refused(error.trim().to_owned()),
        Error::RequestTimeoutError => away("nothing came in time".to_owned()),
        error @ (Error::IOError { .. }
        | Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::SocketNotFoundError(_)) => away(error.to_string()),
        other => EngineError::Refused(other.to_string()),
    }
}

/// An engine that is being stopped ends what it does with such an error.
fn is_stopping(message: &str) -> bool {
    ["context canceled", "transport is closing", "containerd.sock", "shutting down"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// Whether an error says that nothing can be said now.
pub(crate) fn is_away(error: &EngineError) -> bool {
    matches!(error, EngineError::Away { .. })
}
