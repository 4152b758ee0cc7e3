//! Instances that are passed over, or have less than a whole share.

use std::collections::BTreeMap;

use super::{HERE, World, world};
use crate::compile::tests::{Sketch, choice, target};
use crate::pick::{Ask, Tried, pick_for_peer};
use crate::standing::Failure;
use crate::table::Instance;
use temps_core::model::ReleaseId;

/// It failed so often that it is out; `since` in milliseconds from now.
fn out(instance: &Instance, since: i64) {
    let now = instance.uptime.now().saturating_add_signed(since);
    let out = (0..3).find_map(|_| instance.standing.failed(Failure::Connection, now));
    assert_eq!(out, Some(1_000));
}

const FOR_LONG: i64 = 600_000;
const DUE: i64 = -5_000;

/// One release with these instances here.
fn here(n: u64) -> World {
    let local = (1..=n).map(|id| target(id, 1)).collect();
    world(Sketch { choices: vec![choice(1, HERE, 1)], local, peers: vec![] })
}

#[test]
fn half_of_the_instances_are_passed_over_at_most_and_none_where_all_failed() {
    for (n, failed, used) in [
        (1, 1, vec![1]),
        (2, 1, vec![2]),
        (2, 2, vec![1, 2]),
        (3, 1, vec![2, 3]),
        (3, 2, vec![2, 3]),
        (4, 2, vec![3, 4]),
        (4, 3, vec![3, 4]),
        (4, 4, vec![1, 2, 3, 4]),
    ] {
        let world = here(n);
        (1..=failed).for_each(|id| out(world.instance(id), FOR_LONG));
        let expected: Vec<_> = used.iter().map(|id| format!("i{id}")).collect();
        let clients: Vec<_> = world.counts(40).into_keys().collect();
        assert_eq!(clients, expected, "{failed} of {n} failed");
        let ask = |_| {
            let ask = Ask::Release(ReleaseId(1));
            pick_for_peer(&world.route, ask, &Tried::default(), 0).unwrap().id.to_string()
        };
        let peers: BTreeMap<_, _> = (0..40).map(|n| (ask(n), ())).collect();
        assert_eq!(peers.into_keys().collect::<Vec<_>>(), expected, "{failed} of {n} failed");
    }
}

#[test]
fn one_that_refuses_connections_counts_as_passed_over() {
    let world = here(4);
    world.instance(1).down.mark();
    out(world.instance(2), FOR_LONG);
    out(world.instance(3), FOR_LONG);
    assert_eq!(world.counts(40).into_keys().collect::<Vec<_>>(), ["i3", "i4"]);
}

#[test]
fn where_all_here_failed_another_node_is_asked() {
    let world = world(Sketch {
        choices: vec![choice(1, HERE, 9), choice(1, 2, 1), choice(2, HERE, 10)],
        local: vec![target(1, 1), target(2, 1), target(3, 2)],
        peers: vec![2],
    });
    out(world.instance(1), FOR_LONG);
    assert!(!world.counts(40).contains_key("r1 on n2"));
    out(world.instance(2), FOR_LONG);
    let counts = world.counts(1000);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["i3", "r1 on n2"]);
    assert!(counts["i3"].abs_diff(500) <= 2, "the release keeps its share: {counts:?}");
    world.table.peers.values().for_each(|peer| peer.down.mark());
    let counts = world.counts(1000);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["i1", "i2", "i3"], "better than nobody");
    assert!(counts["i3"].abs_diff(500) <= 2, "a release that fails is judged by its share: {counts:?}");
}

#[test]
fn one_request_tries_it_out_and_none_that_failed_elsewhere() {
    let world = here(3);
    out(world.instance(1), DUE);
    let again = world.tried(&[2], &[]);
    assert!((0..20).all(|_| world.pick(&again).unwrap() == "i3"));
    assert_eq!(world.pick(&Tried::default()).unwrap(), "i1");
    assert!(!world.counts(40).contains_key("i1"), "until that one is answered");
    assert!(world.instance(1).standing.answered(|| world.instance(1).uptime.now()));
    let counts = world.counts(300);
    assert!((5..20).contains(&counts["i1"]), "a tenth of a share: {counts:?}");
}

#[test]
fn shares_grow_within_a_release_only() {
    let world = world(Sketch {
        choices: vec![choice(1, HERE, 90), choice(2, HERE, 10)],
        local: vec![target(1, 1), target(2, 1), target(3, 2)],
        peers: vec![],
    });
    for id in [2, 3] {
        let instance = world.instance(id);
        let half_way = instance.uptime.now() - 2_500;
        // As after a success half the time ago.
        out(instance, -10_000);
        assert!(instance.standing.try_out(instance.uptime.now()));
        assert!(instance.standing.answered(|| half_way));
    }
    let counts = world.counts(1000);
    assert!(counts["i3"].abs_diff(100) <= 2, "alone in its release: {counts:?}");
    assert!((200..260).contains(&counts["i2"]), "half of half of 900: {counts:?}");
}

#[test]
fn one_that_is_due_is_tried_out_however_busy_it_is() {
    let world = world(Sketch {
        choices: vec![choice(1, HERE, 1), choice(1, 2, 99)],
        local: vec![target(1, 1), target(2, 1)],
        peers: vec![2],
    });
    for id in [1, 2] {
        world.instance(id).in_flight.add(0, 50);
    }
    out(world.instance(1), DUE);
    assert_eq!(world.counts(20)["i1"], 1);
}
