//! A container as the engine tells of it: whose it is, and how.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use jiff::Timestamp;
use temps_core::model::{Endpoint, InstanceId, Millis, NodeId};

use super::engine::{Engine, EngineError};

pub(super) const CLUSTER: &str = "dev.temps.cluster";
pub(super) const NODE: &str = "dev.temps.node";
pub(super) const PROJECT: &str = "dev.temps.project";
pub(super) const ENVIRONMENT: &str = "dev.temps.environment";
pub(super) const RELEASE: &str = "dev.temps.release";
pub(super) const INSTANCE: &str = "dev.temps.instance";
pub(super) const PROCESS: &str = "dev.temps.process";
pub(super) const DIGEST: &str = "dev.temps.digest";
/// Where it answers HTTP; empty where it does not.
pub(super) const PORT: &str = "dev.temps.port";
/// Milliseconds between the stop signal and the kill.
pub(super) const GRACE: &str = "dev.temps.stop-grace";

/// Whose containers are ours.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// What tells this cluster from others.
    pub(super) cluster: String,
    /// This node.
    pub(super) node: NodeId,
}

impl Owner {
    /// The name of an instance's container.
    pub(super) fn container(&self, instance: InstanceId) -> String {
        format!("temps-{}-{instance}", self.cluster)
    }

    /// The name of a project's network.
    pub(super) fn network(&self, project: &str) -> String {
        format!("temps-{}-{project}", self.cluster)
    }

    /// The name of a volume.
    pub(super) fn volume(&self, project: &str, environment: &str, name: &str) -> String {
        format!("temps-{}-{project}-{environment}-{name}", self.cluster)
    }

    /// The instance that labels name, where they are ours. An image that was made from one of our
    /// containers has its labels too, so the name of the container must fit.
    pub(super) fn instance(&self, name: &str, labels: &HashMap<String, String>) -> Option<InstanceId> {
        let is = |label: &str, value: &str| labels.get(label).is_some_and(|v| v == value);
        let instance = InstanceId(labels.get(INSTANCE)?.strip_prefix('i')?.parse().ok()?);
        let fits = is(INSTANCE, &instance.to_string())
            && is(CLUSTER, &self.cluster)
            && is(NODE, &self.node.to_string())
            && name.trim_start_matches('/') == self.container(instance);
        fits.then_some(instance)
    }
}

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It never ran.
    Unstarted,
    /// It runs, or is paused.
    Running,
    /// It ran.
    Ended,
}

/// A container as the engine tells of it.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) id: String,
    /// The instance it is, where it is ours.
    pub(super) instance: Option<InstanceId>,
    pub(super) labels: HashMap<String, String>,
    pub(super) state: State,
    started: String,
    pub(super) finished: Option<Timestamp>,
    pub(super) code: Option<i32>,
    pub(super) oom: bool,
    pub(super) stop_signal: String,
    address: Option<String>,
}

impl Container {
    /// The container of that name or id; `None` where there is none.
    pub(super) async fn find(
        engine: &Engine,
        owner: &Owner,
        name: &str,
        limit: Duration,
    ) -> Result<Option<Self>, EngineError> {
        match engine.ask(limit, |docker| async move { docker.inspect_container(name, None).await }).await {
            Ok(told) => Ok(Some(Self::of(owner, told))),
            Err(EngineError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(owner: &Owner, told: ContainerInspectResponse) -> Self {
        let config = told.config.unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        let state = told.state.unwrap_or_default();
        let started = state.started_at.unwrap_or_default();
        let running = state.running.unwrap_or_default()
            && !matches!(
                state.status,
                Some(ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD)
            );
        let network = told.host_config.and_then(|host| host.network_mode).unwrap_or_default();
        let networks = told.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        // Others may have connected it to networks of theirs.
        let ours = networks
            .iter()
            .find(|(name, endpoint)| **name == network || endpoint.network_id.as_ref() == Some(&network));
        let address = ours.and_then(|(_, endpoint)| endpoint.ip_address.clone());
        Self {
            id: told.id.unwrap_or_default(),
            instance: owner.instance(&told.name.unwrap_or_default(), &labels),
            labels,
            state: match (running, time(&started)) {
                (true, _) => State::Running,
                (false, None) => State::Unstarted,
                (false, Some(_)) => State::Ended,
            },
            started,
            finished: state.finished_at.as_deref().and_then(time),
            code: state.exit_code.and_then(|code| i32::try_from(code).ok()),
            oom: state.oom_killed.unwrap_or_default(),
            stop_signal: config.stop_signal.filter(|s| !s.is_empty()).unwrap_or_else(|| "SIGTERM".to_owned()),
            address: address.filter(|address| !address.is_empty()),
        }
    }

    /// What makes this start unique.
    pub(super) fn incarnation(&self) -> String {
        format!("{}@{}", self.id, self.started)
    }

    /// Where it answers HTTP, as it is now.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        let port: u16 = self.labels.get(PORT)?.parse().ok()?;
        let address = self.address.as_ref()?;
        Some(Endpoint { address: format!("{address}:{port}"), incarnation: self.incarnation() })
    }

    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Between the stop signal and the kill.
    pub(super) fn stop_grace(&self) -> Millis {
        self.label(GRACE).parse().unwrap_or(0)
    }
}

/// The engine's time zero means never.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|at: &Timestamp| at.as_second() > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use temps_core::model::{InstanceId, NodeId};

    use super::{CLUSTER, INSTANCE, NODE, Owner, time};

    #[test]
    fn ours_is_what_has_our_labels_and_our_name() {
        let owner = Owner { cluster: "0123456789ab".to_owned(), node: NodeId(1) };
        let labels: HashMap<String, String> = [(CLUSTER, "0123456789ab"), (NODE, "n1"), (INSTANCE, "i7")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        assert_eq!(owner.instance("/temps-0123456789ab-i7", &labels), Some(InstanceId(7)));
        for name in ["", "/temps-0123456789ab-i8", "/temps-0123456789ab-i07", "/x"] {
            assert_eq!(owner.instance(name, &labels), None, "{name}");
        }
        for (label, value) in [(CLUSTER, "0123456789ac"), (NODE, "n2"), (INSTANCE, "i07"), (INSTANCE, "7")] {
            let mut others = labels.clone();
            others.insert(label.to_owned(), value.to_owned());
            assert_eq!(owner.instance("/temps-0123456789ab-i7", &others), None, "{label}={value}");
        }
        assert_eq!(owner.instance("/temps-0123456789ab-i7", &HashMap::new()), None);
    }

    #[test]
    fn the_time_zero_is_no_time() {
        assert_eq!(time("0001-01-01T00:00:00Z"), None);
        assert_eq!(time(""), None);
        assert_eq!(
            time("2024-05-01T10:00:00.123456789Z").map(|t| t.as_millisecond()),
            Some(1_714_557_600_123)
        );
    }
}
