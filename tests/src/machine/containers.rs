//! The containers of an engine, as it lists them.

use std::collections::BTreeMap;
use std::fs;

use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use serde_json::Value;

use super::Engine;
use crate::deployment::text;
use crate::trouble::{Result, Trouble};

/// A container.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// All 64 digits.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// The id of its image.
    pub image: String,
    /// Such as `running`.
    pub state: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its address, by the name of the network.
    pub addresses: BTreeMap<String, String>,
}

impl Container {
    fn read(summary: ContainerSummary) -> Self {
        let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = |(network, endpoint): (String, bollard::models::EndpointSettings)| {
            Some((network, endpoint.ip_address.filter(|address| !address.is_empty())?))
        };
        Self {
            id: summary.id.unwrap_or_default(),
            name: name.trim_start_matches('/').to_owned(),
            image: summary.image_id.unwrap_or_default(),
            state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
            labels: summary.labels.unwrap_or_default().into_iter().collect(),
            addresses: networks.into_iter().filter_map(address).collect(),
        }
    }

    /// A label of ours, such as `project`.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(&format!("dev.temps.{name}")).map_or("", String::as_str)
    }

    /// Whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.state == "running"
    }

    /// Its only network and its address there.
    ///
    /// # Errors
    /// When it is on none or on several.
    pub fn place(&self) -> Result<(&str, &str)> {
        let mut places = self.addresses.iter();
        match (places.next(), places.next()) {
            (Some((network, address)), None) => Ok((network, address)),
            _ => Err(Trouble::new(format!("{} is on the networks {:?}", self.name, self.addresses))),
        }
    }
}

impl Engine {
    /// All containers, running or not.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let all = self.ask("ps", async |docker| docker.list_containers(Some(options)).await)?;
        let mut all: Vec<_> = all.into_iter().map(Container::read).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The containers of a project.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn containers_of(&self, project: &str) -> Result<Vec<Container>> {
        let mut all = self.containers()?;
        all.retain(|container| container.label("project") == project);
        Ok(all)
    }

    /// The process that a container runs, beside its init: the one with this executable's name.
    ///
    /// # Errors
    /// When there is none.
    pub fn process_in(&self, container: &str, name: &str) -> Result<u32> {
        let is_it = |pid: &u32| {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let exe = fs::read_link(format!("/proc/{pid}/exe"));
            groups.contains(container) && exe.is_ok_and(|exe| exe.ends_with(name))
        };
        let found = self.pids().into_iter().find(is_it);
        found.ok_or_else(|| Trouble::new(format!("no {name} runs in {container}")))
    }

    /// How a container stands, in a line for a person.
    #[must_use]
    pub fn state_of(&self, container: &str) -> String {
        let told = self.inspect(container).unwrap_or_default();
        let state = told.get("State").cloned().unwrap_or(Value::Null);
        format!("{} {state}", text(&told, "Name"))
    }
}
