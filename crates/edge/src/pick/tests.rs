use std::collections::BTreeMap;
use std::sync::Arc;

use temps_core::model::{EnvironmentId, NodeId, ReleaseId};
use temps_core::table::Table;
use tokio::sync::Notify;

use super::{Ask, Pick, Tried, Trust, pick, pick_for_peer};
use crate::compile::Compiler;
use crate::compile::tests::{Sketch, choice, target};
use crate::sticky::Lean;
use crate::table::{Compiled, Instance, Route, Uptime};

mod cluster;
mod standing;

const HERE: u64 = 1;

struct World {
    table: Arc<Compiled>,
    route: Arc<Route>,
}

fn world(sketch: Sketch) -> World {
    world_of(HERE, sketch)
}

fn world_of(node: u64, sketch: Sketch) -> World {
    let mut compiler = Compiler::new(1, Uptime::of_an_hour(), Arc::new(Notify::new()));
    let table = compiler.compile(&Table { node: NodeId(node), ..sketch.table() }).table;
    let route = Arc::clone(&table.environments[&EnvironmentId(1)][0]);
    World { table, route }
}

impl World {
    fn instance(&self, id: u64) -> &Arc<Instance> {
        &self.route.local.iter().find(|l| l.instance.id.0 == id).unwrap().instance
    }

    fn pick(&self, tried: &Tried) -> Option<String> {
        self.pick_with(tried, Trust::Fresh)
    }

    fn pick_with(&self, tried: &Tried, trust: Trust) -> Option<String> {
        self.pick_leaning(None, tried, trust)
    }

    fn pick_leaning(&self, lean: Option<Lean>, tried: &Tried, trust: Trust) -> Option<String> {
        match pick(&self.table, &self.route, lean, tried, trust, 0) {
            Pick::Local(instance) => Some(instance.id.to_string()),
            Pick::Remote(peer, Ask::Release(release), _) => Some(format!("{release} on {}", peer.node)),
            Pick::Remote(peer, Ask::Any, _) => Some(format!("any on {}", peer.node)),
            Pick::Nobody => None,
        }
    }

    fn counts(&self, n: usize) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..n {
            *counts.entry(self.pick(&Tried::default()).unwrap()).or_default() += 1;
        }
        counts
    }

    fn tried(&self, instances: &[u64], asked: &[(u64, Ask)]) -> Tried {
        Tried {
            instances: instances.iter().map(|id| self.instance(*id).uid).collect(),
            asked: asked.iter().map(|(node, ask)| (NodeId(*node), *ask)).collect(),
        }
    }
}

#[test]
fn shares_follow_weights_closely() {
    let world = world(Sketch {
        choices: vec![choice(1, HERE, 5), choice(2, HERE, 95)],
        local: vec![target(11, 1), target(21, 2), target(22, 2)],
        peers: vec![],
    });
    let counts = world.counts(1000);
    assert!(counts["i11"].abs_diff(50) <= 2, "{counts:?}");
    assert!(counts["i21"].abs_diff(475) <= 2, "{counts:?}");
    assert!(counts["i22"].abs_diff(475) <= 2, "{counts:?}");
    // And soon: within any forty requests a share of 5 % is seen.
    assert!((0..10).all(|_| world.counts(40).contains_key("i11")));
}

#[test]
fn a_client_that_belongs_to_a_release_goes_there_and_elsewhere_only_in_need() {
    let world = world(Sketch {
        choices: vec![choice(1, HERE, 95), choice(2, HERE, 5)],
        local: vec![target(11, 1), target(21, 2)],
        peers: vec![],
    });
    let one = |lean, tried: &Tried| world.pick_leaning(Some(lean), tried, Trust::Fresh).unwrap();
    let (to, from) = (Lean::To(ReleaseId(2)), Lean::From(ReleaseId(2)));
    for _ in 0..50 {
        assert_eq!(one(to, &Tried::default()), "i21");
        assert_eq!(one(from, &Tried::default()), "i11");
    }
    assert_eq!(one(to, &world.tried(&[21], &[])), "i11");
    assert_eq!(one(from, &world.tried(&[11], &[])), "i21");
}

#[test]
fn the_less_busy_instance_is_preferred() {
    let world = world(Sketch {
        choices: vec![choice(1, HERE, 1)],
        local: vec![target(1, 1), target(2, 1)],
        peers: vec![],
    });
    world.route.local[0].instance.in_flight.add(0, 3);
    assert_eq!(world.counts(10), BTreeMap::from([("i2".to_owned(), 10)]));
    world.route.local[1].instance.in_flight.add(0, 3);
    assert_eq!(world.counts(10).len(), 2, "as busy as each other: in turn");
}

#[test]
fn what_was_tried_or_has_no_weight_is_not_picked() {
    let world = world(Sketch {
        choices: vec![choice(1, HERE, 1), choice(1, 2, 1), choice(2, 3, 0)],
        local: vec![target(1, 1)],
        peers: vec![2, 3],
    });
    assert_eq!(world.pick(&world.tried(&[1], &[])).unwrap(), "r1 on n2");
    assert_eq!(world.pick(&world.tried(&[], &[(2, Ask::Release(ReleaseId(1)))])).unwrap(), "i1");
}

#[test]
fn when_all_choices_were_in_vain_any_release_is_asked_for() {
    let mut draining = target(3, 1);
    draining.draining = true;
    let world = world(Sketch {
        choices: vec![choice(1, 2, 1)],
        local: vec![target(2, 2), draining],
        peers: vec![2, 3],
    });
    let release = (2, Ask::Release(ReleaseId(1)));
    let none = Tried::default();
    assert_eq!(world.pick(&none).unwrap(), "r1 on n2");
    assert_eq!(world.pick(&world.tried(&[], &[release])).unwrap(), "i2", "what is here, of any release");
    assert_eq!(world.pick(&world.tried(&[2], &[release])).unwrap(), "any on n2");
    assert_eq!(world.pick(&world.tried(&[2], &[release, (2, Ask::Any)])).unwrap(), "any on n3");
    assert_eq!(world.pick(&world.tried(&[2], &[release, (2, Ask::Any), (3, Ask::Any)])), None);
}

#[test]
fn an_application_without_choices_has_nobody_unless_the_table_may_be_old() {
    let world = world(Sketch { choices: vec![], local: vec![], peers: vec![2] });
    assert_eq!(world.pick(&Tried::default()), None);
    assert_eq!(world.pick_with(&Tried::default(), Trust::Stale).unwrap(), "any on n2");
}

#[test]
fn what_refused_a_moment_ago_is_picked_last() {
    let world = world(Sketch {
        choices: vec![choice(1, HERE, 9), choice(1, 2, 1)],
        local: vec![target(1, 1), target(2, 1)],
        peers: vec![2],
    });
    world.route.local[0].instance.down.mark();
    assert!(!world.counts(50).contains_key("i1"));
    world.route.local[1].instance.down.mark();
    assert_eq!(world.counts(50).len(), 1);
    world.table.peers[&NodeId(2)].down.mark();
    assert_eq!(world.counts(50).len(), 3, "better than nobody");
}

#[test]
fn a_withdrawn_instance_serves_only_who_asks_for_its_release() {
    let mut draining = target(1, 1);
    draining.draining = true;
    let world = world(Sketch {
        choices: vec![choice(2, HERE, 1)],
        local: vec![draining, target(2, 2)],
        peers: vec![],
    });
    let local = |ask| pick_for_peer(&world.route, ask, &Tried::default(), 0).map(|i| i.id.0);
    assert_eq!(local(Ask::Release(ReleaseId(1))), Some(1), "a lame duck");
    assert_eq!(local(Ask::Release(ReleaseId(2))), Some(2));
    assert_eq!(local(Ask::Release(ReleaseId(3))), None);
    assert_eq!(local(Ask::Any), Some(2));
    assert_eq!(world.counts(20), BTreeMap::from([("i2".to_owned(), 20)]), "clients never get it");
    let tried = world.tried(&[2], &[]);
    assert!(pick_for_peer(&world.route, Ask::Any, &tried, 0).is_none());
}
