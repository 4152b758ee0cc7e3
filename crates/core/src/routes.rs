//! What one node's edge serves.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::withdrawn_everywhere;
use crate::model::{ClusterState, Environment, Instance, NodeId, Project, ReleaseId, Seen, Spec, Want};
use crate::table::{Choice, Peer, Route, Table, Target};

/// The table of `node`'s edge.
#[must_use]
pub fn routes(state: &ClusterState, node: NodeId) -> Table {
    let mut routes = Vec::new();
    for environment in state.environments.values() {
        let mut by_prefix = BTreeMap::<String, BTreeSet<String>>::new();
        for (host, prefix) in claims(state, environment) {
            by_prefix.entry(prefix).or_default().insert(host);
        }
        let choices = choices(state, environment);
        let local = local(state, environment, node, &choices);
        for (path_prefix, hosts) in by_prefix {
            routes.push(Route {
                environment: environment.id,
                hosts: hosts.into_iter().collect(),
                path_prefix,
                choices: choices.clone(),
                local: local.clone(),
            });
        }
    }
    let peers = state
        .nodes
        .values()
        .filter(|n| n.id != node)
        .map(|n| (n.id, Peer { address: n.edge_peer.clone() }))
        .collect();
    Table { index: state.index, version: 0, node, routes, peers }
}

/// The host names of an environment: those of its release, then the one every environment has.
#[must_use]
pub fn hosts(state: &ClusterState, environment: &Environment, spec: &Spec) -> Vec<String> {
    let mut hosts = spec.routes.domains.clone();
    if let Some(project) = state.projects.get(&environment.project) {
        hosts.push(default_host(project, environment, &state.domain));
    }
    hosts
}

/// `shop.localhost` for production, `shop-staging.localhost` for others.
#[must_use]
pub fn default_host(project: &Project, environment: &Environment, domain: &str) -> String {
    if environment.name == "production" {
        format!("{}.{domain}", project.name)
    } else {
        format!("{}-{}.{domain}", project.name, environment.name)
    }
}

/// Hosts with path prefixes that an environment answers: those of its current release, and of a deployment
/// that waits or is under way.
#[must_use]
pub fn claims(state: &ClusterState, environment: &Environment) -> BTreeSet<(String, String)> {
    let pending = state.deployments_of(environment.id).filter(|d| !d.phase.is_terminal()).map(|d| d.to);
    environment
        .current
        .into_iter()
        .chain(pending)
        .filter_map(|id| state.releases.get(&id))
        .flat_map(|release| {
            let prefix = &release.spec.routes.path_prefix;
            hosts(state, environment, &release.spec).into_iter().map(move |host| (host, prefix.clone()))
        })
        .collect()
}

/// Only a process that answers HTTP is routed to.
fn is_http(state: &ClusterState, instance: &Instance) -> bool {
    let release = state.releases.get(&instance.release);
    release.and_then(|r| r.spec.processes.get(&instance.process)).is_some_and(|p| p.http)
}

fn choices(state: &ClusterState, environment: &Environment) -> Vec<Choice> {
    let admitted = || {
        state
            .instances
            .values()
            .filter(|i| i.environment == environment.id && i.admitted.is_some() && i.want == Want::Run)
            .filter(|i| is_http(state, i))
    };
    // Where nothing is healthy, an unhealthy instance is a better answer than none; where every node with
    // an instance is lost, its edge and instances may live on without its server.
    let tiers: [fn(&Instance) -> bool; 3] = [
        Instance::serves,
        |i| !i.lost && i.seen == Seen::Unready,
        |i| i.lost && matches!(i.seen, Seen::Ready | Seen::Unready),
    ];
    for tier in tiers {
        let mut counts = BTreeMap::<(ReleaseId, NodeId), u32>::new();
        for instance in admitted().filter(|i| tier(i)) {
            *counts.entry((instance.release, instance.node)).or_default() += 1;
        }
        if !counts.is_empty() {
            return counts
                .into_iter()
                .map(|((release, node), weight)| Choice { release, node, weight })
                .collect();
        }
    }
    Vec::new()
}

fn local(state: &ClusterState, environment: &Environment, node: NodeId, choices: &[Choice]) -> Vec<Target> {
    let chosen = |i: &Instance| choices.iter().any(|c| c.node == node && c.release == i.release);
    let any_serves_here = |i: &Instance| {
        state.instances.values().any(|o| o.node == node && o.release == i.release && o.serves())
    };
    state
        .instances
        .values()
        .filter(|i| i.environment == environment.id && i.node == node && i.admitted.is_some())
        .filter(|i| i.want <= Want::Drain && matches!(i.seen, Seen::Ready | Seen::Unready))
        // Once every live edge has withdrawn it, only a lost one can still forward to it, by an old table
        // and for ever: it is told to choose again.
        .filter(|i| i.want == Want::Run || !withdrawn_everywhere(state, i))
        .filter(|i| is_http(state, i))
        .filter_map(|i| {
            let full = i.want == Want::Run && (i.seen == Seen::Ready || chosen(i) && !any_serves_here(i));
            Some(Target {
                instance: i.id,
                release: i.release,
                endpoint: i.endpoint.clone()?,
                draining: !full,
            })
        })
        .collect()
}
