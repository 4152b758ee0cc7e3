//! Ending and removing an instance.
//!
//! The signal and the kill are separate questions with a wait of our own between them: the engine's own
//! stop would take as long as the grace, and end with it if the connection or the server does.

use std::io;
use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use temps_core::model::InstanceId;
use tokio::time::{Instant, sleep};

use super::DockerRuntime;
use super::container::{Container, PROJECT, State};
use super::engine::{EngineError, QUICK, WORK};
use super::place;

/// How often it is looked again where no event says that something happened.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long an application may take to disappear after SIGKILL.
const KILL_WAIT: Duration = Duration::from_secs(30);
/// How long the engine may take to remove a container.
const REMOVE_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn stop(runtime: &DockerRuntime, instance: InstanceId, grace: Duration) -> io::Result<()> {
    let Some(container) = running(runtime, instance).await? else { return Ok(()) };
    let marks = runtime.marks(instance);
    marks.ask()?;
    // Applications may take a second signal for impatience.
    let spent = match marks.signalled() {
        Some(ago) => ago,
        None => {
            if !kill(runtime, &container.id, &container.stop_signal).await? {
                return Ok(());
            }
            marks.note_signal()?;
            Duration::ZERO
        }
    };
    if ends_within(runtime, instance, grace.saturating_sub(spent)).await {
        return Ok(());
    }
    marks.note_kill()?;
    if !kill(runtime, &container.id, "SIGKILL").await? {
        marks.unnote_kill();
        return Ok(());
    }
    if ends_within(runtime, instance, KILL_WAIT).await {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end although it was killed"))
}

async fn running(runtime: &DockerRuntime, instance: InstanceId) -> Result<Option<Container>, EngineError> {
    let name = runtime.owner.container(instance);
    let found = Container::find(&runtime.engine, &runtime.owner, &name, QUICK).await?;
    Ok(found.filter(|c| c.instance == Some(instance) && c.state == State::Running))
}

/// Signals a container; false where it does not run.
async fn kill(runtime: &DockerRuntime, id: &str, signal: &str) -> Result<bool, EngineError> {
    let options = KillContainerOptionsBuilder::new().signal(signal).build();
    let killing =
        runtime.engine.ask(WORK, |docker| async move { docker.kill_container(id, Some(options)).await });
    match killing.await {
        Ok(()) => Ok(true),
        Err(EngineError::Missing(_) | EngineError::Conflict(_)) => Ok(false),
        Err(EngineError::Refused(why)) if why.contains("is not running") => Ok(false),
        Err(error) => Err(error),
    }
}

/// An engine that does not answer is waited for: the application goes on, and so does its grace.
async fn ends_within(runtime: &DockerRuntime, instance: InstanceId, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    let mut news = runtime.watch.news();
    loop {
        news.borrow_and_update();
        if matches!(running(runtime, instance).await, Ok(None)) {
            return true;
        }
        let now = Instant::now();
        if now >= until {
            return false;
        }
        tokio::select! {
            _ = news.changed() => {}
            () = sleep(LOOK_AGAIN.min(until - now)) => {}
        }
    }
}

pub(super) async fn remove(runtime: &DockerRuntime, instance: InstanceId) -> io::Result<()> {
    let name = runtime.owner.container(instance);
    let marks = runtime.marks(instance);
    let found = Container::find(&runtime.engine, &runtime.owner, &name, QUICK).await?;
    // What only has the name is somebody else's.
    let Some(container) = found.filter(|c| c.instance == Some(instance)) else { return marks.remove() };
    if container.state == State::Running {
        let record = marks.record()?;
        let is_meant = record.is_none_or(|r| r.is_same_start(&container.incarnation()));
        if is_meant && marks.exit()?.is_none() {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it runs"));
        }
    }
    let id = container.id.as_str();
    // Volumes without a name belong to this container alone; those with a name stay.
    let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
    let removing =
        runtime.engine.ask(WORK, |docker| async move { docker.remove_container(id, Some(options)).await });
    match removing.await {
        Ok(()) | Err(EngineError::Missing(_)) => {}
        // Somebody removes it already.
        Err(EngineError::Conflict(_)) => is_gone(runtime, id).await?,
        Err(error) => return Err(error.into()),
    }
    marks.remove()?;
    // Where something is being started, its network stays, and is looked at again with the next removal.
    if let Ok(_alone) = tokio::time::timeout(QUICK, runtime.places.write()).await {
        place::leave(&runtime.engine, &runtime.owner, container.label(PROJECT)).await;
    }
    Ok(())
}

async fn is_gone(runtime: &DockerRuntime, id: &str) -> io::Result<()> {
    let until = Instant::now() + REMOVE_WAIT;
    while Container::find(&runtime.engine, &runtime.owner, id, QUICK).await?.is_some() {
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the container engine does not remove it"));
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
