//! What containers of a project share: their network and their volumes.
//!
//! A network is removed with the last container that was in it. Volumes are never removed here.

use std::collections::HashMap;

use bollard::models::{Network, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder};

use super::container::{CLUSTER, Owner, PROJECT};
use super::create::{labels, volume_labels};
use super::engine::{Engine, EngineError, QUICK, WORK};
use crate::runtime::Job;

/// The network of a project, by id: names of networks are not unique.
pub(super) async fn network(engine: &Engine, owner: &Owner, project: &str) -> Result<String, EngineError> {
    if let Some(id) = find(engine, owner, project).await? {
        return Ok(id);
    }
    let request = NetworkCreateRequest {
        name: owner.network(project),
        driver: Some("bridge".to_owned()),
        labels: Some(labels(owner, project)),
        ..NetworkCreateRequest::default()
    };
    let created = engine.ask(WORK, |docker| async move { docker.create_network(request).await }).await;
    let created = match created {
        Ok(created) => created.id,
        // Somebody else was faster.
        Err(EngineError::Conflict(_)) => String::new(),
        Err(error) => return Err(with_hint(error)),
    };
    match find(engine, owner, project).await? {
        Some(id) => {
            if id != created && !created.is_empty() {
                remove(engine, &created).await;
            }
            Ok(id)
        }
        None => Err(EngineError::Away {
            socket: engine.socket().to_string_lossy().into_owned(),
            why: "a network that was just created is gone".to_owned(),
        }),
    }
}

/// All who look see the same one where there are several.
async fn find(engine: &Engine, owner: &Owner, project: &str) -> Result<Option<String>, EngineError> {
    let name = owner.network(project);
    // The filter finds parts of names too.
    let filters = HashMap::from([("name", vec![name.as_str()])]);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let all = engine.ask(QUICK, |docker| async move { docker.list_networks(Some(options)).await }).await?;
    let named: Vec<Network> = all.into_iter().filter(|n| n.name.as_ref() == Some(&name)).collect();
    let wanted = labels(owner, project);
    let is_ours = |network: &&Network| {
        let has = network.labels.clone().unwrap_or_default();
        wanted.iter().all(|(name, value)| has.get(name) == Some(value))
    };
    let first = named.iter().filter(is_ours).min_by_key(|n| (n.created.clone(), n.id.clone()));
    match first {
        Some(network) => Ok(network.id.clone()),
        None if named.is_empty() => Ok(None),
        None => Err(EngineError::Refused(format!(
            "the network {name} exists and is not of this cluster: remove or rename it"
        ))),
    }
}

fn with_hint(error: EngineError) -> EngineError {
    match error {
        EngineError::Refused(why) if why.contains("address pool") => EngineError::Refused(format!(
            "{why} (each project has a network: allow more with default-address-pools in the engine's \
             configuration, or remove networks that nobody uses)"
        )),
        other => other,
    }
}

/// Removes a project's network unless containers of the project are left.
pub(super) async fn leave(engine: &Engine, owner: &Owner, project: &str) {
    let wanted = [format!("{CLUSTER}={}", owner.cluster), format!("{PROJECT}={project}")];
    let filters = HashMap::from([("label", wanted.to_vec())]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let left = engine.ask(QUICK, |docker| async move { docker.list_containers(Some(options)).await }).await;
    if left.is_ok_and(|left| left.is_empty())
        && let Ok(Some(id)) = find(engine, owner, project).await
    {
        remove(engine, &id).await;
    }
}

async fn remove(engine: &Engine, id: &str) {
    // Who still needs it keeps it: the engine removes no network that is in use.
    if let Err(error) = engine.ask(WORK, |docker| async move { docker.remove_network(id).await }).await {
        tracing::debug!(network = id, %error, "network not removed");
    }
}

/// Creates the volumes that do not exist yet.
pub(super) async fn volumes(engine: &Engine, owner: &Owner, job: &Job) -> Result<(), EngineError> {
    let work = &job.work;
    for name in work.volumes.keys() {
        let request = VolumeCreateRequest {
            name: Some(owner.volume(&work.project, &work.environment, name)),
            labels: Some(volume_labels(owner, job)),
            ..VolumeCreateRequest::default()
        };
        engine.ask(WORK, |docker| async move { docker.create_volume(request).await }).await?;
    }
    Ok(())
}
