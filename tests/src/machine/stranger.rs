//! Containers that are not the cluster's: what somebody else runs on the same engine.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, EndpointSettings, NetworkingConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::Engine;
use crate::trouble::Result;

/// A container that somebody else makes.
#[derive(Clone, Debug, Default)]
pub struct Stranger<'a> {
    /// Its name.
    pub name: &'a str,
    /// The id or the name of its image.
    pub image: &'a str,
    /// The network that it is on; the engine's default where empty.
    pub network: &'a str,
    /// Its command; the image's own where empty.
    pub command: &'a [&'a str],
    /// Variables.
    pub variables: &'a [(&'a str, &'a str)],
    /// Labels.
    pub labels: &'a [(&'a str, &'a str)],
}

impl Engine {
    /// Creates a stranger, without starting it, and returns its id.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(&self, stranger: &Stranger<'_>) -> Result<String> {
        let owned = |text: &&str| (*text).to_owned();
        let named = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let network = || {
            let endpoints = HashMap::from([(stranger.network.to_owned(), EndpointSettings::default())]);
            NetworkingConfig { endpoints_config: Some(endpoints) }
        };
        let body = ContainerCreateBody {
            image: Some(stranger.image.to_owned()),
            cmd: (!stranger.command.is_empty()).then(|| stranger.command.iter().map(owned).collect()),
            env: Some(stranger.variables.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            labels: Some(stranger.labels.iter().map(named).collect()),
            networking_config: (!stranger.network.is_empty()).then(network),
            host_config: (!stranger.network.is_empty()).then(|| bollard::models::HostConfig {
                network_mode: Some(stranger.network.to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(stranger.name).build();
        let created =
            self.ask("create", async |docker| docker.create_container(Some(options), body).await)?;
        Ok(created.id)
    }
}
