//! What one node's edge serves.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::withdrawn_everywhere;
use crate::model::{
    ClusterState, Deployment, Environment, Https, Instance, NodeId, Phase, Project, ReleaseId, RouteRules,
    Seen, Spec, Strategy, Want,
};
use crate::table::{Challenge, Choice, Peer, Protocol, Route, SHARES, Sticky, Table, Target};

/// The table of `node`'s edge.
#[must_use]
pub fn routes(state: &ClusterState, node: NodeId) -> Table {
    let mut routes = Vec::new();
    for environment in state.environments.values() {
        let mut by_prefix = BTreeMap::<String, BTreeSet<String>>::new();
        for (host, prefix) in claims(state, environment) {
            by_prefix.entry(prefix).or_default().insert(host);
        }
        let (choices, sticky) = choices(state, environment);
        let local = local(state, environment, node, &choices);
        let rules = rules(state, environment);
        for (path_prefix, hosts) in by_prefix {
            routes.push(Route {
                environment: environment.id,
                hosts: hosts.into_iter().collect(),
                path_prefix,
                choices: choices.clone(),
                sticky: sticky.clone(),
                maintenance: environment.maintenance.clone(),
                local: local.clone(),
                redirect: rules.https == Https::Redirect,
                hsts: rules.hsts,
            });
        }
    }
    let peers = state
        .nodes
        .values()
        .filter(|n| n.id != node)
        .map(|n| (n.id, Peer { address: n.edge_peer.clone() }))
        .collect();
    let challenges = state.tls.challenges().map(|(name, challenge)| Challenge {
        host: name.clone(),
        token: challenge.token.clone(),
        authorization: challenge.authorization.clone(),
    });
    Table { index: state.index, version: 0, node, routes, peers, challenges: challenges.collect() }
}

/// The rules of its current release; of its first one until that has succeeded.
fn rules(state: &ClusterState, environment: &Environment) -> RouteRules {
    let release = environment.current.or_else(|| state.live(environment.id).map(|d| d.to));
    state.release(release).map(|r| r.spec.routes.clone()).unwrap_or_default()
}

/// The host names of an environment: those of its release, those that were added, then the
/// one every environment has.
#[must_use]
pub fn hosts(state: &ClusterState, environment: &Environment, spec: &Spec) -> Vec<String> {
    let mut hosts = spec.routes.domains.clone();
    hosts.extend(state.domains.iter().filter(|(_, of)| **of == environment.id).map(|(name, _)| name.clone()));
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

fn protocol(state: &ClusterState, instance: &Instance) -> Protocol {
    let release = state.releases.get(&instance.release);
    release.and_then(|r| r.spec.processes.get(&instance.process)).map_or(Protocol::Http1, |p| p.protocol)
}

/// Only a process that answers HTTP is routed to.
fn is_http(state: &ClusterState, instance: &Instance) -> bool {
    let release = state.releases.get(&instance.release);
    release.and_then(|r| r.spec.processes.get(&instance.process)).is_some_and(|p| p.http)
}

fn choices(state: &ClusterState, environment: &Environment) -> (Vec<Choice>, Option<Sticky>) {
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
            return shared(state, environment, counts);
        }
    }
    (Vec::new(), None)
}

/// Each instance gets the same share, unless a deployment gives its release another one.
fn shared(
    state: &ClusterState,
    environment: &Environment,
    counts: BTreeMap<(ReleaseId, NodeId), u32>,
) -> (Vec<Choice>, Option<Sticky>) {
    let live = state.live(environment.id);
    let live = live.filter(|d| matches!(d.phase, Phase::Stepping | Phase::Watching));
    let new = live.map(|d| d.to);
    let sum = |of_new: bool| {
        counts.iter().filter(|((r, _), _)| (Some(*r) == new) == of_new).map(|(_, n)| *n).sum::<u32>()
    };
    let (ours, others) = (sum(true), sum(false));
    // Where one of them has nothing that serves, the other serves all.
    let leading = live.and_then(Deployment::leading).filter(|_| ours > 0 && others > 0);
    // What is kept warm gets nothing.
    let watched = live.is_some_and(|d| d.phase == Phase::Watching) && ours > 0 && others > 0;
    // What was reached by shares is not given back when the rest is replaced.
    let percent = leading.and_then(|(_, progress)| {
        let step = progress.steps.get(progress.at)?;
        let reached = || progress.steps[..progress.at].iter().rev().find_map(|step| step.weight);
        let is_less = |percent: &u32| ours.saturating_mul(100) < percent.saturating_mul(ours + others);
        step.weight.or_else(|| reached().filter(is_less))
    });
    let percent = if watched { Some(100) } else { percent };
    let weight = |release: ReleaseId, count: u32| match percent {
        None => count,
        Some(percent) if Some(release) == new => count.saturating_mul(percent).saturating_mul(others),
        Some(percent) => count.saturating_mul(100_u32.saturating_sub(percent)).saturating_mul(ours),
    };
    let sticky = live.filter(|_| ours > 0 && others > 0).and_then(|live| {
        let rules = &state.releases.get(&live.to)?.spec.deploy;
        let cookie = rules.sticky.clone().filter(|_| rules.strategy == Strategy::Canary)?;
        let share = match percent {
            Some(percent) => percent * (SHARES / 100),
            None => u32::try_from(u64::from(ours) * u64::from(SHARES) / u64::from(ours + others))
                .unwrap_or(SHARES),
        };
        Some(Sticky { cookie, release: live.to, share })
    });
    let choices = counts.iter().map(|((release, node), count)| Choice {
        release: *release,
        node: *node,
        weight: weight(*release, *count),
        instances: *count,
    });
    (choices.collect(), sticky)
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
                protocol: protocol(state, i),
                draining: !full,
            })
        })
        .collect()
}
