//! Who answers a request: a pure choice over one route of one table.
//!
//! A choice among releases and nodes follows their weights evenly, not by chance: successive points of
//! an additive sequence fall evenly on the line of weights at every scale.

use std::sync::Arc;

use temps_core::model::{NodeId, ReleaseId};

use crate::sticky::Lean;
use crate::table::{Awaiting, Choice, Compiled, Down, Instance, Local, Peer, Route};

/// What to ask the edge of another node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// An instance of this release.
    Release(ReleaseId),
    /// Any instance that takes new requests.
    Any,
}

/// Where one request was already sent in vain.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pub(crate) instances: Vec<u64>,
    pub(crate) asked: Vec<(NodeId, Ask)>,
}

impl Tried {
    fn nothing(&self) -> bool {
        self.instances.is_empty() && self.asked.is_empty()
    }

    fn asked(&self, node: NodeId, ask: Ask) -> bool {
        self.asked.contains(&(node, ask))
    }
}

/// Who answers.
#[derive(Debug)]
pub(crate) enum Pick<'t> {
    /// An instance here.
    Local(&'t Arc<Instance>),
    /// The edge of another node.
    Remote(&'t Arc<Peer>, Ask, Option<&'t Arc<Awaiting>>),
    /// Nobody is left to ask.
    Nobody,
}

/// Whether those that refused a connection a moment ago are considered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Up,
    Down,
}

impl Tier {
    const BOTH: [Tier; 2] = [Tier::Up, Tier::Down];

    fn takes(self, down: &Down) -> bool {
        self == Tier::Down || !down.is_down()
    }
}

/// Whether somebody may know better than this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A server keeps the table up to date.
    Fresh,
    /// No server was heard for a while.
    Stale,
}

/// Who answers a client's request.
pub(crate) fn pick<'t>(
    table: &'t Compiled,
    route: &'t Route,
    lean: Option<Lean>,
    tried: &Tried,
    trust: Trust,
    worker: usize,
) -> Pick<'t> {
    // Any release that answers is better than the own one that does not.
    for lean in lean.map(Some).into_iter().chain([None]) {
        for tier in Tier::BOTH {
            if let Some(pick) = by_weight(table, route, lean, tried, worker, tier) {
                return pick;
            }
        }
    }
    // Only when the table has proved wrong, or may well be: elsewhere may be what it does not know.
    if tried.nothing() && trust == Trust::Fresh {
        return Pick::Nobody;
    }
    for tier in Tier::BOTH {
        if let Some(instance) = serving(route, None, tried, worker, tier) {
            return Pick::Local(instance);
        }
        let mut peers: Vec<_> = table.peers.values().filter(|peer| tier.takes(&peer.down)).collect();
        peers.sort_by_key(|peer| peer.node);
        if let Some(peer) = peers.into_iter().find(|peer| !tried.asked(peer.node, Ask::Any)) {
            return Pick::Remote(peer, Ask::Any, None);
        }
    }
    Pick::Nobody
}

/// Which instance here answers what another edge forwards.
pub(crate) fn pick_for_peer<'t>(
    route: &'t Route,
    ask: Ask,
    tried: &Tried,
    worker: usize,
) -> Option<&'t Arc<Instance>> {
    let release = match ask {
        Ask::Release(release) => Some(release),
        Ask::Any => None,
    };
    let mut pick = None;
    for tier in Tier::BOTH {
        pick = pick.or_else(|| serving(route, release, tried, worker, tier));
    }
    // A withdrawn instance serves only who asks for its very release: that edge has not heard yet.
    let lame_duck = || match ask {
        Ask::Release(release) => among(route, worker, |l| {
            l.release == release && l.draining && !tried.instances.contains(&l.instance.uid)
        }),
        Ask::Any => None,
    };
    pick.or_else(lame_duck)
}

fn by_weight<'t>(
    table: &'t Compiled,
    route: &'t Route,
    lean: Option<Lean>,
    tried: &Tried,
    worker: usize,
    tier: Tier,
) -> Option<Pick<'t>> {
    let weight = |choice: &Choice| {
        let wanted = lean.is_none_or(|lean| lean.takes(choice.release));
        let usable = wanted
            && if choice.node == table.node {
                route.local.iter().any(|local| takes_new(local, Some(choice.release), tried, tier))
            } else {
                !tried.asked(choice.node, Ask::Release(choice.release))
                    && table.peers.get(&choice.node).is_some_and(|peer| tier.takes(&peer.down))
            };
        if usable { choice.weight } else { 0 }
    };
    let total: u64 = route.choices.iter().map(weight).sum();
    if total == 0 {
        return None;
    }
    let turn = route.turns.choice(worker);
    let mut point = u64::try_from((u128::from(turn) * u128::from(total)) >> 64).unwrap_or(0);
    for choice in &route.choices {
        let weight = weight(choice);
        if point >= weight {
            point -= weight;
            continue;
        }
        if choice.node == table.node {
            return serving(route, Some(choice.release), tried, worker, tier).map(Pick::Local);
        }
        let peer = table.peers.get(&choice.node)?;
        let ask = Ask::Release(choice.release);
        return Some(Pick::Remote(peer, ask, Some(&choice.awaiting)));
    }
    None
}

/// Whether an instance here takes new requests, of `release` where one is named.
fn takes_new(local: &Local, release: Option<ReleaseId>, tried: &Tried, tier: Tier) -> bool {
    !local.draining
        && release.is_none_or(|release| release == local.release)
        && !tried.instances.contains(&local.instance.uid)
        && tier.takes(&local.instance.down)
}

fn serving<'t>(
    route: &'t Route,
    release: Option<ReleaseId>,
    tried: &Tried,
    worker: usize,
    tier: Tier,
) -> Option<&'t Arc<Instance>> {
    among(route, worker, |local| takes_new(local, release, tried, tier))
}

/// The less busy of two neighbours; the first moves on by one with each pick.
fn among(route: &Route, worker: usize, takes: impl Fn(&Local) -> bool) -> Option<&Arc<Instance>> {
    let candidates = || route.local.iter().filter(|local| takes(local));
    let n = candidates().count();
    if n == 0 {
        return None;
    }
    let turn = route.turns.instance(worker);
    let first = candidates().nth(turn % n)?;
    let second = candidates().nth((turn + 1) % n)?;
    let busier = second.instance.in_flight.sum() < first.instance.in_flight.sum();
    Some(if busier { &second.instance } else { &first.instance })
}

#[cfg(test)]
mod tests;
