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

/// The network of a project, by id: names of networks are not unique, and the engine starts nothing in one
/// whose name another has, too.
pub(super) async fn network(engine: &Engine, owner: &Owner, project: &str) -> Result<String, EngineError> {
    if let Some(id) = the_one(engine, owner, project).await? {
        return Ok(id);
    }
    let request = NetworkCreateRequest {
        name: owner.network(project),
        driver: Some("bridge".to_owned()),
        labels: Some(labels(owner, project)),
        ..NetworkCreateRequest::default()
    };
    match engine.ask(WORK, |docker| async move { docker.create_network(request).await }).await {
        // Somebody else was faster.
        Ok(_) | Err(EngineError::Conflict(_)) => {}
        Err(error) => return Err(with_hint(error)),
    }
    the_one(engine, owner, project).await?.ok_or_else(|| EngineError::Away {
        socket: engine.socket().to_string_lossy().into_owned(),
        why: "a network that was just created is gone".to_owned(),
    })
}

/// The first one, and from now on the only one.
async fn the_one(engine: &Engine, owner: &Owner, project: &str) -> Result<Option<String>, EngineError> {
    let mut all = find(engine, owner, project).await?.into_iter();
    let first = all.next();
    for another in all {
        remove(engine, &another).await;
    }
    Ok(first)
}

/// The networks of a project by id, the oldest first, so that all who look choose the same.
async fn find(engine: &Engine, owner: &Owner, project: &str) -> Result<Vec<String>, EngineError> {
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
    if named.iter().any(|network| !is_ours(&network)) {
        return Err(EngineError::Refused(format!(
            "the network {name} exists and is not of this cluster: remove or rename it"
        )));
    }
    let mut ours: Vec<_> = named.into_iter().map(|n| (n.created, n.id)).collect();
    ours.sort();
    Ok(ours.into_iter().filter_map(|(_, id)| id).collect())
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
        && let Ok(ids) = find(engine, owner, project).await
    {
        for id in ids {
            remove(engine, &id).await;
        }
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
