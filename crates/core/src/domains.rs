//! Names of environments: whose they are, where they come from, and which of them need a certificate now.

use std::collections::BTreeMap;

use crate::model::{CertificateFrom, CertificateId, ClusterState, Environment, EnvironmentId, Millis};
use crate::routes::{claims, default_host};

/// Where a name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// It was added.
    Added,
    /// It is in the `temps.toml` of a release.
    Release,
    /// Every environment has one.
    Default,
}

/// All names of environments, with all environments that answer on some path of them.
#[must_use]
pub fn names(state: &ClusterState) -> BTreeMap<String, BTreeMap<EnvironmentId, Origin>> {
    let mut names = BTreeMap::<String, BTreeMap<EnvironmentId, Origin>>::new();
    for (name, environment) in &state.domains {
        names.entry(name.clone()).or_default().insert(*environment, Origin::Added);
    }
    for environment in state.environments.values() {
        let default = default_of(state, environment);
        for (name, _) in claims(state, environment) {
            let origin = if Some(&name) == default.as_ref() { Origin::Default } else { Origin::Release };
            names.entry(name).or_default().entry(environment.id).or_insert(origin);
        }
    }
    names
}

fn default_of(state: &ClusterState, environment: &Environment) -> Option<String> {
    let project = state.projects.get(&environment.project)?;
    Some(default_host(project, environment, &state.domain))
}

/// Whether anybody but this machine could know the name: not an address, not `localhost`, not of one part.
#[must_use]
pub fn is_certifiable(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_address = name.starts_with('[') || last.bytes().all(|b| b.is_ascii_digit());
    name.contains('.') && !is_address && last != "localhost" && !name.contains('_')
}

/// A certificate that is to be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// For which name.
    pub name: String,
    /// Which it replaces.
    pub replaces: Option<CertificateId>,
    /// How often that failed in a row.
    pub attempts: u32,
}

/// What is to be ordered at this moment of wall time, in Unix milliseconds; the longest overdue first.
#[must_use]
pub fn due(state: &ClusterState, wall: Millis) -> Vec<Due> {
    if state.tls.acme.is_none() {
        return Vec::new();
    }
    let mut due = Vec::new();
    for name in names(state).into_keys().filter(|name| is_certifiable(name)) {
        let order = state.tls.orders.get(&name);
        let retry_at = order.map_or(0, |order| order.retry_at);
        let (at, replaces) = match state.tls.certificate_for(&name) {
            // A person renews what a person gave; until it has ended, nobody takes its place.
            Some((_, c)) if c.from == CertificateFrom::Uploaded => (c.not_after, None),
            Some((id, c)) => (c.renew_at, Some(id)),
            None => (0, None),
        };
        let at = at.max(retry_at);
        if at <= wall {
            due.push((at, Due { name, replaces, attempts: order.map_or(0, |order| order.attempts) }));
        }
    }
    due.sort_by_key(|(at, _)| *at);
    due.into_iter().map(|(_, due)| due).collect()
}
