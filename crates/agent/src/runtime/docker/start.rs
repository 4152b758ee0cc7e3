//! Starting one instance: image, network, volumes, container.
//!
//! Every step can have been done before by a server that ended in between.

use std::time::Duration;

use bollard::models::ImageConfig;
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use temps_core::model::Form;

use super::DockerRuntime;
use super::container::{Container, State};
use super::create;
use super::engine::{EngineError, QUICK, WORK};
use super::marks::{Marks, Record};
use super::place;
use crate::runtime::{Job, Running, StartError};

/// How often what is in the way is cleared before it counts as a failure.
const TRIES: usize = 3;
/// How long after that it is tried again.
const PAUSE: Duration = Duration::from_millis(200);

impl From<EngineError> for StartError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Away { .. } => StartError::NotNow(error.to_string()),
            EngineError::Missing(why) | EngineError::Conflict(why) | EngineError::Refused(why) => {
                StartError::Failed(why)
            }
        }
    }
}

/// What became of a try.
enum Try {
    Runs(Container),
    /// Something was in the way or went away meanwhile.
    Again(String),
}

pub(super) async fn start(runtime: &DockerRuntime, job: &Job) -> Result<Running, StartError> {
    let marks = runtime.marks(job.work.instance.id);
    if marks.exit()?.is_some() {
        return Err(StartError::Ended);
    }
    let mut obstacle = String::new();
    for _ in 0..TRIES {
        match step(runtime, job, &marks).await? {
            Try::Runs(container) => return runtime.begun(&marks, &container).map_err(StartError::from),
            Try::Again(why) => {
                obstacle = why;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Err(StartError::NotNow(obstacle))
}

async fn step(runtime: &DockerRuntime, job: &Job, marks: &Marks) -> Result<Try, StartError> {
    let name = runtime.owner.container(job.work.instance.id);
    let record = marks.record()?;
    let ran = record.as_ref().is_some_and(|r| r.incarnation.is_some());
    match Container::find(&runtime.engine, &runtime.owner, &name, QUICK).await? {
        Some(other) if other.instance != Some(job.work.instance.id) => {
            return Err(StartError::Failed(format!(
                "a container named {name} exists and is not of this cluster: remove or rename it"
            )));
        }
        Some(found) => match found.state {
            State::Running if record.is_none_or(|r| r.is_same_start(&found.incarnation())) => {
                return Ok(Try::Runs(found));
            }
            // It was asked to start by a call that got no answer; how it ended is told to who waits.
            State::Ended if !ran => return Ok(Try::Runs(found)),
            State::Running | State::Ended => return Err(StartError::Ended),
            State::Unstarted if ran => return Err(StartError::Ended),
            State::Unstarted => {
                let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
                let id = found.id.as_str();
                let removing = runtime
                    .engine
                    .ask(WORK, |docker| async move { docker.remove_container(id, Some(options)).await });
                match removing.await {
                    Ok(()) | Err(EngineError::Missing(_) | EngineError::Conflict(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        },
        None if ran => return Err(StartError::Ended),
        None => {}
    }
    make(runtime, job, marks, &name).await
}

async fn make(runtime: &DockerRuntime, job: &Job, marks: &Marks, name: &str) -> Result<Try, StartError> {
    let work = &job.work;
    let Form::Image { id: image, .. } = &work.artifact.form else {
        return Err(StartError::Refused(
            "it is not a container image, and this node runs containers".to_owned(),
        ));
    };
    runtime.images.ensure(&work.artifact).await?;
    let config = image_config(runtime, image).await?;
    let port = create::port(job, &config);
    marks.write(&Record {
        digest: work.artifact.digest.clone(),
        stop_grace: work.stop_grace,
        ..Record::default()
    })?;

    // A network that is about to be used must not be removed as the last container leaves it.
    let _places = runtime.places.read().await;
    let network = {
        // One at a time, because the engine lets two networks have one name.
        let _one = runtime.networks.lock().await;
        place::network(&runtime.engine, &runtime.owner, &work.project).await?
    };
    place::volumes(&runtime.engine, &runtime.owner, job).await?;
    let body = create::container(&runtime.owner, job, image, &network, port);
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let creating =
        runtime.engine.ask(WORK, |docker| async move { docker.create_container(Some(options), body).await });
    let id = match creating.await {
        Ok(created) => created.id,
        Err(error) => return again(error),
    };
    let container = id.as_str();
    let starting =
        runtime.engine.ask(WORK, |docker| async move { docker.start_container(container, None).await });
    match starting.await {
        Ok(()) => {}
        Err(error) => return again(error),
    }
    match Container::find(&runtime.engine, &runtime.owner, &id, QUICK).await? {
        Some(container) if container.state != State::Unstarted => Ok(Try::Runs(container)),
        _ => Ok(Try::Again("its container was removed while it was started".to_owned())),
    }
}

/// Whether it may go well the next time: what it needs was removed meanwhile, or something is in the way that
/// others are about to remove, such as another network of the same name.
fn again(error: EngineError) -> Result<Try, StartError> {
    match error {
        EngineError::Missing(why) | EngineError::Conflict(why) => Ok(Try::Again(why)),
        EngineError::Refused(why) if why.contains("is ambiguous") => Ok(Try::Again(why)),
        error => Err(error.into()),
    }
}

async fn image_config(runtime: &DockerRuntime, image: &str) -> Result<ImageConfig, StartError> {
    let told = runtime.engine.ask(QUICK, |docker| async move { docker.inspect_image(image).await }).await;
    match told {
        Ok(told) => Ok(told.config.unwrap_or_default()),
        Err(EngineError::Missing(why)) => {
            Err(StartError::NotNow(format!("its image was removed meanwhile: {why}")))
        }
        Err(error) => Err(error.into()),
    }
}
