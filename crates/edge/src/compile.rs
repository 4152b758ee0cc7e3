//! From a table as the server sends it to the form that workers read, reusing what stays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use temps_core::host;
use temps_core::model::{EnvironmentId, InstanceId, Measured, NodeId, ReleaseId};
use temps_core::table::{self, Table, Target};
use tokio::sync::Notify;
use tracing::warn;

use crate::count::{Gauge, Meter, Sharded, Turns};
use crate::standing::Standing;
use crate::table::{
    Awaiting, Choice, Compiled, Down, Instance, Left, Local, Mount, Peer, Route, Swap, Uptime,
};

/// Counts of so many releases without an instance are kept for each environment.
const RELEASES_KEPT: usize = 50;

type ChoiceKey = (EnvironmentId, ReleaseId, NodeId);

/// An instance, and since which table it is in none.
#[derive(Debug)]
struct Known {
    instance: Arc<Instance>,
    environment: EnvironmentId,
    gone: Option<u64>,
}

/// Turns tables into swaps, and keeps what outlives a table.
#[derive(Debug)]
pub(crate) struct Compiler {
    workers: usize,
    uptime: Uptime,
    news: Arc<Notify>,
    seq: u64,
    next_uid: u64,
    routes: BTreeMap<(EnvironmentId, String), (table::Route, Arc<Route>)>,
    instances: BTreeMap<Target, Known>,
    awaiting: HashMap<ChoiceKey, Arc<Awaiting>>,
    peers: HashMap<NodeId, Arc<Peer>>,
    meters: BTreeMap<EnvironmentId, Arc<Meter>>,
    gauges: BTreeMap<(EnvironmentId, ReleaseId), Arc<Gauge>>,
}

impl Compiler {
    pub(crate) fn new(workers: usize, uptime: Uptime, news: Arc<Notify>) -> Self {
        Self {
            workers,
            uptime,
            news,
            seq: 0,
            next_uid: 0,
            routes: BTreeMap::new(),
            instances: BTreeMap::new(),
            awaiting: HashMap::new(),
            peers: HashMap::new(),
            meters: BTreeMap::new(),
            gauges: BTreeMap::new(),
        }
    }

    pub(crate) fn compile(&mut self, table: &Table) -> Swap {
        self.seq += 1;
        self.note_peers(table);
        let offered = self.note_instances(table);
        let vanished = self.note_choices(table);

        let mut compiled = Compiled {
            node: table.node,
            peers: self.peers.clone(),
            challenges: table.challenges.clone(),
            ..Compiled::default()
        };
        let mut routes = BTreeMap::new();
        for spec in &table.routes {
            let key = (spec.environment, spec.path_prefix.clone());
            let route = match self.routes.remove(&key) {
                Some((before, route)) if before == *spec => route,
                Some(_) | None => Arc::new(self.route(spec)),
            };
            mount(&mut compiled, spec, &route);
            compiled.environments.entry(spec.environment).or_default().push(Arc::clone(&route));
            routes.insert(key, (spec.clone(), route));
        }
        for mounts in compiled.hosts.values_mut() {
            mounts.sort_by_key(|mount| std::cmp::Reverse(mount.prefix.len()));
        }
        self.routes = routes;
        self.forget_gauges();
        Swap { seq: self.seq, table: Arc::new(compiled), vanished, withdrawn: self.withdraw(&offered) }
    }

    /// The number of the newest table.
    pub(crate) fn newest(&self) -> u64 {
        self.seq
    }

    /// Requests and streams in flight, by instance, those of instances that left the table included.
    /// `acknowledged`: the table that all workers serve; what is in none since then and idle is forgotten.
    pub(crate) fn in_flight(&mut self, acknowledged: u64) -> BTreeMap<InstanceId, u64> {
        let mut counts = BTreeMap::new();
        self.instances.retain(|_, known| {
            let n = known.instance.in_flight.sum();
            if n > 0 {
                *counts.entry(known.instance.id).or_insert(0) += n;
            }
            n > 0 || known.gone.is_none_or(|seq| seq > acknowledged)
        });
        counts
    }

    /// The same by release, of all that are not forgotten.
    pub(crate) fn by_release(&self) -> BTreeMap<EnvironmentId, BTreeMap<ReleaseId, u64>> {
        let mut counts = BTreeMap::<_, BTreeMap<_, u64>>::new();
        for Known { instance, environment, .. } in self.instances.values() {
            let of = counts.entry(*environment).or_default().entry(instance.release).or_default();
            *of += instance.in_flight.sum();
        }
        counts
    }

    pub(crate) fn traffic(&self) -> BTreeMap<EnvironmentId, Measured> {
        let mut all = BTreeMap::<_, Measured>::new();
        for ((environment, release), gauge) in &self.gauges {
            all.entry(*environment).or_default().releases.insert(*release, gauge.counts());
        }
        for (environment, meter) in &self.meters {
            all.entry(*environment).or_default().traffic = meter.traffic();
        }
        all
    }

    /// Of the releases without an instance the newest are remembered.
    fn forget_gauges(&mut self) {
        let idle = |gauge: &Arc<Gauge>| Arc::strong_count(gauge) == 1;
        let mut left = BTreeMap::<EnvironmentId, usize>::new();
        let old = self.gauges.iter().rev().filter(|(_, gauge)| idle(gauge)).filter_map(|(key, _)| {
            let left = left.entry(key.0).or_default();
            *left += 1;
            (*left > RELEASES_KEPT).then_some(*key)
        });
        for key in old.collect::<Vec<_>>() {
            self.gauges.remove(&key);
        }
    }

    fn note_peers(&mut self, table: &Table) {
        let mut peers = HashMap::new();
        for (node, peer) in table.peers.iter().filter(|(node, _)| **node != table.node) {
            let kept = self.peers.get(node).filter(|known| known.address == peer.address).cloned();
            let peer = kept.unwrap_or_else(|| {
                Arc::new(Peer { node: *node, address: peer.address.clone(), down: Down::new(self.uptime) })
            });
            peers.insert(*node, peer);
        }
        self.peers = peers;
    }

    /// Makes an [`Instance`] of each new target; answers the targets that may be chosen, and all.
    fn note_instances(&mut self, table: &Table) -> Offered {
        let mut offered = Offered::default();
        offered.environments.extend(table.routes.iter().map(|route| route.environment));
        let newest = self.next_uid;
        let targets =
            table.routes.iter().flat_map(|route| route.local.iter().map(|t| (route.environment, t)));
        for (environment, target) in targets {
            let Ok(address) = target.endpoint.address.parse() else {
                warn!(instance = %target.instance, address = target.endpoint.address, "not an address, left out");
                continue;
            };
            let key = identity(target);
            if target.draining {
                offered.draining.insert(key.clone());
            } else {
                offered.serving.insert(key.clone());
            }
            let gauge = self.gauges.entry((environment, target.release));
            let gauge = gauge.or_insert_with(|| Arc::new(Gauge::new(self.workers)));
            if self.instances.contains_key(&key) {
                continue;
            }
            self.next_uid += 1;
            // One that joins others gets its share little by little. Those that this edge finds at its start do not.
            let serves = |known: &Known| {
                let instance = &known.instance;
                instance.uid <= newest
                    && Arc::ptr_eq(&instance.gauge, gauge)
                    && !instance.withdrawn.load(Ordering::Relaxed)
            };
            let standing = match newest > 0 && self.instances.values().any(serves) {
                true => Standing::growing(self.uptime.now()),
                false => Standing::default(),
            };
            let instance = Instance {
                uid: self.next_uid,
                id: target.instance,
                release: target.release,
                address,
                protocol: target.protocol,
                in_flight: Sharded::new(self.workers),
                gauge: Arc::clone(gauge),
                withdrawn: AtomicBool::new(target.draining),
                down: Down::new(self.uptime),
                standing,
                uptime: self.uptime,
                news: Arc::clone(&self.news),
            };
            self.instances.insert(key, Known { instance: Arc::new(instance), environment, gone: None });
        }
        offered
    }

    /// Marks what may no longer be chosen.
    ///
    /// An instance is withdrawn before it is stopped. One that served and is missing all at once has ended
    /// by itself, unless nothing at all is known of its environment any more.
    fn withdraw(&mut self, offered: &Offered) -> Vec<(u64, Left)> {
        let mut withdrawn = Vec::new();
        for (key, known) in &mut self.instances {
            let serving = offered.serving.contains(key);
            let gone = !serving && !offered.draining.contains(key);
            known.gone = if gone { known.gone.or(Some(self.seq)) } else { None };
            let served = !known.instance.withdrawn.swap(!serving, Ordering::AcqRel);
            if !serving {
                let left = match gone {
                    false => Left::Draining,
                    true if served && offered.environments.contains(&known.environment) => Left::Ended,
                    true => Left::Drained,
                };
                withdrawn.push((known.instance.uid, left));
            }
        }
        withdrawn
    }

    fn note_choices(&mut self, table: &Table) -> Vec<Arc<Awaiting>> {
        let mut before = std::mem::take(&mut self.awaiting);
        for route in &table.routes {
            let remote = route.choices.iter().filter(|c| c.weight > 0 && c.node != table.node);
            for choice in remote {
                let key = (route.environment, choice.release, choice.node);
                let kept = before.remove(&key);
                let fresh = || Arc::new(Awaiting(Sharded::new(self.workers)));
                self.awaiting.entry(key).or_insert_with(|| kept.unwrap_or_else(fresh));
            }
        }
        before.into_values().collect()
    }

    fn route(&mut self, spec: &table::Route) -> Route {
        let workers = self.workers;
        let meter = self.meters.entry(spec.environment).or_insert_with(|| Arc::new(Meter::new(workers)));
        let choices = spec.choices.iter().map(|choice| {
            let key = (spec.environment, choice.release, choice.node);
            Choice {
                release: choice.release,
                node: choice.node,
                weight: u64::from(choice.weight),
                instances: u64::from(choice.instances.max(1)),
                awaiting: self
                    .awaiting
                    .get(&key)
                    .cloned()
                    .unwrap_or_else(|| Arc::new(Awaiting(Sharded::new(workers)))),
            }
        });
        let local = spec.local.iter().filter_map(|target| {
            let known = self.instances.get(&identity(target))?;
            Some(Local {
                instance: Arc::clone(&known.instance),
                release: target.release,
                draining: target.draining,
            })
        });
        Route {
            environment: spec.environment,
            redirect: spec.redirect,
            hsts: spec.hsts,
            choices: choices.collect(),
            sticky: spec.sticky.clone(),
            maintenance: spec.maintenance.clone().map(Arc::new),
            local: local.collect(),
            meter: Arc::clone(meter),
            turns: Turns::new(workers),
        }
    }
}

/// Targets of a table.
#[derive(Debug, Default)]
struct Offered {
    serving: BTreeSet<Target>,
    draining: BTreeSet<Target>,
    environments: BTreeSet<EnvironmentId>,
}

/// What makes a target itself: neither its release nor whether it is draining, but its start and its address.
fn identity(target: &Target) -> Target {
    Target { release: ReleaseId::default(), draining: false, ..target.clone() }
}

fn mount(compiled: &mut Compiled, spec: &table::Route, route: &Arc<Route>) {
    let prefix = spec.path_prefix.trim_end_matches('/');
    for name in &spec.hosts {
        let name = host::normalise(name).unwrap_or_else(|_| name.clone());
        let mounts = compiled.hosts.entry(name.into_boxed_str()).or_default();
        if mounts.iter().any(|mount| &*mount.prefix == prefix) {
            warn!(environment = %spec.environment, prefix, "another environment has this host and path, left out");
        } else {
            mounts.push(Mount { prefix: prefix.into(), route: Arc::clone(route) });
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod tests;
