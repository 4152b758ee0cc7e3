//! Who answers a request: a pure choice over one route of one table.
//!
//! A choice among releases and nodes follows their weights evenly, not by chance: successive points of
//! an additive sequence fall evenly on the line of weights at every scale.

use std::sync::Arc;

use temps_core::model::{NodeId, ReleaseId};

use crate::standing::Use;
use crate::sticky::Lean;
use crate::table::{Awaiting, Choice, Compiled, Down, Instance, Local, Peer, Route};

mod uneven;

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

/// First the release, in the exact share of its weight for as long as anybody can be asked for it; then one of its
/// nodes, by weight, too, unless this one is as good.
///
/// The request stays here where the instance that it would get has less than one request more in flight than those of
/// the other node have on average, as far as this edge knows: of another node it knows its own requests alone. So
/// under little load all stay, wherever they came in. Where all clients come in at one node, its instances are busy
/// before the others', and what comes then goes by weight until these are as busy. Where clients come in everywhere,
/// each edge believes the others idler than they are, and under much load nodes are chosen by weight alone.
fn by_weight<'t>(
    table: &'t Compiled,
    route: &'t Route,
    lean: Option<Lean>,
    tried: &Tried,
    worker: usize,
    tier: Tier,
) -> Option<Pick<'t>> {
    let wanted = |choice: &Choice| choice.weight > 0 && lean.is_none_or(|lean| lean.takes(choice.release));
    let has = |choice: &Choice, fits: fn(&Local, &Tried) -> bool| {
        let takes = |local: &Local| takes_new(local, Some(choice.release), tried, tier) && fits(local, tried);
        wanted(choice)
            && if choice.node == table.node {
                route.local.iter().any(takes)
            } else {
                !tried.asked(choice.node, Ask::Release(choice.release))
                    && table.peers.get(&choice.node).is_some_and(|peer| tier.takes(&peer.down))
            }
    };
    let usable = |choice: &Choice| has(choice, |_, _| true);
    // Where all instances of a release here have failed time after time, another node with it is better.
    let fit = |choice: &Choice| has(choice, is_in);
    let of = |release| route.choices.iter().filter(move |choice| choice.release == release);
    let weight = |choice: &Choice| {
        if usable(choice) || of(choice.release).any(usable) { choice.weight } else { 0 }
    };
    let turn = route.turns.choice(worker);
    let mut choice = at(turn, route.choices.iter(), weight)?;
    if !fit(choice) {
        let turn = turn.rotate_left(32);
        let weight = |choice: &Choice, yes: bool| if yes { choice.weight } else { 0 };
        choice = at(turn, of(choice.release), |choice| weight(choice, fit(choice)))
            .or_else(|| at(turn, of(choice.release), |choice| weight(choice, usable(choice))))?;
    }
    let release = Some(choice.release);
    if choice.node == table.node {
        return serving(route, release, tried, worker, tier).map(Pick::Local);
    }
    let peer = table.peers.get(&choice.node)?;
    if tier == Tier::Up
        && of(choice.release).any(|own| own.node == table.node && fit(own))
        && let Some(instance) = serving(route, release, tried, worker, tier)
        // Whoever is to try an instance out must do so.
        && (instance.standing.is_tried()
            || instance.in_flight.sum() * choice.instances < choice.awaiting.0.sum() + choice.instances)
    {
        return Some(Pick::Local(instance));
    }
    Some(Pick::Remote(peer, Ask::Release(choice.release), Some(&choice.awaiting)))
}

/// The choice at a point of the line of weights.
fn at<'t>(
    turn: u64,
    choices: impl Iterator<Item = &'t Choice> + Clone,
    weight: impl Fn(&Choice) -> u64,
) -> Option<&'t Choice> {
    let total: u64 = choices.clone().map(&weight).sum();
    let mut point = u64::try_from((u128::from(turn) * u128::from(total)) >> 64).unwrap_or(0);
    choices.into_iter().find(|choice| {
        let weight = weight(choice);
        let found = point < weight;
        point = point.saturating_sub(weight);
        found
    })
}

/// Whether an instance here takes new requests, of `release` where one is named.
fn takes_new(local: &Local, release: Option<ReleaseId>, tried: &Tried, tier: Tier) -> bool {
    !local.draining
        && release.is_none_or(|release| release == local.release)
        && !tried.instances.contains(&local.instance.uid)
        && tier.takes(&local.instance.down)
}

/// Whether an instance is not passed over. What may be tried out is no place for what has failed elsewhere.
fn is_in(local: &Local, tried: &Tried) -> bool {
    let instance = &local.instance;
    instance.standing.is_full()
        || match instance.standing.of(instance.uptime.now()) {
            Use::Share(_) => true,
            Use::Due => tried.nothing(),
            Use::Out => false,
        }
}

fn serving<'t>(
    route: &'t Route,
    release: Option<ReleaseId>,
    tried: &Tried,
    worker: usize,
    tier: Tier,
) -> Option<&'t Arc<Instance>> {
    let takes = |local: &Local| takes_new(local, release, tried, tier);
    let is_full = |local: &Local| local.instance.standing.is_full() || !takes(local);
    if route.local.iter().all(is_full) {
        return among(route, worker, takes);
    }
    let all = route.local.iter().filter(|local| takes_new(local, release, tried, Tier::Down)).count();
    let candidates = route.local.iter().filter(|local| takes(local)).map(|local| &local.instance).collect();
    let turn = route.turns.instance(worker);
    uneven::choose(candidates, all, turn, tried)
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
    Some(less_busy(&first.instance, &second.instance))
}

fn less_busy<'t>(first: &'t Arc<Instance>, second: &'t Arc<Instance>) -> &'t Arc<Instance> {
    if second.in_flight.sum() < first.in_flight.sum() { second } else { first }
}

#[cfg(test)]
mod tests;
