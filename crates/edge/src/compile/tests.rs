use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use temps_core::model::{Endpoint, EnvironmentId, InstanceId, NodeId, ReleaseId};
use temps_core::table::{Choice, Peer, Route, Table, Target};
use tokio::sync::Notify;

use super::Compiler;
use crate::table::{Left, Uptime};

/// One environment on node 1.
#[derive(Clone, Default)]
pub(crate) struct Sketch {
    pub(crate) choices: Vec<Choice>,
    pub(crate) local: Vec<Target>,
    pub(crate) peers: Vec<u64>,
}

impl Sketch {
    pub(crate) fn table(self) -> Table {
        let peers =
            self.peers.iter().map(|n| (NodeId(*n), Peer { address: format!("127.0.0.1:{n}") })).collect();
        let route = Route {
            environment: EnvironmentId(1),
            hosts: vec!["a.test".to_owned()],
            path_prefix: "/".to_owned(),
            choices: self.choices,
            local: self.local,
            ..Route::default()
        };
        Table { index: 1, version: 1, node: NodeId(1), routes: vec![route], peers, ..Table::default() }
    }
}

pub(crate) fn choice(release: u64, node: u64, weight: u32) -> Choice {
    Choice { release: ReleaseId(release), node: NodeId(node), weight, instances: weight }
}

pub(crate) fn target(instance: u64, release: u64) -> Target {
    Target {
        instance: InstanceId(instance),
        release: ReleaseId(release),
        endpoint: Endpoint { address: format!("127.0.0.1:{}", 1000 + instance), incarnation: "1".to_owned() },
        ..Target::default()
    }
}

pub(super) fn compiler() -> Compiler {
    Compiler::new(2, Uptime::start(), Arc::new(Notify::new()))
}

pub(super) fn route(environment: u64, hosts: &[&str], prefix: &str) -> Route {
    Route {
        environment: EnvironmentId(environment),
        hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
        path_prefix: prefix.to_owned(),
        ..Route::default()
    }
}

#[test]
fn the_longest_prefix_wins_at_segment_borders() {
    let table = Table {
        routes: vec![
            route(1, &["a.test", "B.test."], "/"),
            route(2, &["a.test"], "/api"),
            route(3, &["a.test"], "/api/v2/"),
            route(4, &["a.test"], "/api"),
        ],
        ..Table::default()
    };
    let compiled = compiler().compile(&table).table;
    let found = |host: &str, path: &str| compiled.find(host, path).map(|r| r.environment.0);
    for (path, environment) in [
        ("/", 1),
        ("/x", 1),
        ("/apis", 1),
        ("*", 1),
        ("/api", 2),
        ("/api/", 2),
        ("/api/v20", 2),
        ("/api/v2", 3),
        ("/api/v2/x", 3),
    ] {
        assert_eq!(found("a.test", path), Some(environment), "{path}");
    }
    assert_eq!(found("b.test", "/api"), Some(1));
    assert_eq!(found("c.test", "/"), None);
}

#[test]
fn what_did_not_change_stays_the_same_object() {
    let mut compiler = compiler();
    let sketch =
        Sketch { choices: vec![choice(1, 1, 1), choice(1, 2, 1)], local: vec![target(1, 1)], peers: vec![2] };
    let first = compiler.compile(&sketch.clone().table());
    let again = compiler.compile(&sketch.clone().table());
    let of = |swap: &crate::table::Swap| Arc::clone(&swap.table.environments[&EnvironmentId(1)][0]);
    assert!(Arc::ptr_eq(&of(&first), &of(&again)));
    assert!(Arc::ptr_eq(&first.table.peers[&NodeId(2)], &again.table.peers[&NodeId(2)]));
    assert!(again.vanished.is_empty() && again.withdrawn.is_empty());

    // A weight moves: the instance and the requests that wait for node 2 are still counted in the same place.
    let moved = Sketch { choices: vec![choice(1, 1, 1), choice(1, 2, 3)], ..sketch.clone() };
    let moved = compiler.compile(&moved.table());
    assert!(moved.vanished.is_empty());
    assert!(Arc::ptr_eq(&of(&first).local[0].instance, &of(&moved).local[0].instance));
    assert!(Arc::ptr_eq(&of(&first).choices[1].awaiting, &of(&moved).choices[1].awaiting));
    assert!(Arc::ptr_eq(&of(&first).meter, &of(&moved).meter));

    // A weight of 0 is as good as gone, and so is a choice that is missing.
    let zero = Sketch { choices: vec![choice(1, 1, 1), choice(1, 2, 0)], ..sketch.clone() };
    let vanished = compiler.compile(&zero.table()).vanished;
    assert_eq!(vanished.len(), 1);
    assert!(Arc::ptr_eq(&vanished[0], &of(&first).choices[1].awaiting));
}

#[test]
fn an_instance_is_withdrawn_then_forgotten_but_counted_while_busy() {
    let mut compiler = compiler();
    let sketch = Sketch { choices: vec![choice(1, 1, 1)], local: vec![target(1, 1)], peers: vec![] };
    let first = compiler.compile(&sketch.clone().table());
    let instance = Arc::clone(&first.table.environments[&EnvironmentId(1)][0].local[0].instance);
    assert!(!instance.withdrawn.load(Ordering::Relaxed));
    instance.in_flight.add(1, 2);

    let mut draining = sketch.clone();
    draining.local[0].draining = true;
    let swap = compiler.compile(&draining.table());
    assert_eq!(swap.withdrawn, [(instance.uid, Left::Draining)]);
    assert!(instance.withdrawn.load(Ordering::Relaxed));

    let swap = compiler.compile(&Sketch::default().table());
    assert_eq!(swap.withdrawn, [(instance.uid, Left::Drained)]);
    assert_eq!(
        compiler.in_flight(swap.seq),
        BTreeMap::from([(InstanceId(1), 2)]),
        "cut requests can be counted"
    );
    let of_release = |n: u64| BTreeMap::from([(EnvironmentId(1), BTreeMap::from([(ReleaseId(1), n)]))]);
    assert_eq!(compiler.by_release(), of_release(2));

    // Admitted again as it is: the same object.
    let swap = compiler.compile(&sketch.clone().table());
    assert!(Arc::ptr_eq(&swap.table.environments[&EnvironmentId(1)][0].local[0].instance, &instance));
    assert!(!instance.withdrawn.load(Ordering::Relaxed));

    // Another start of it, or another address, is another target.
    let mut restarted = sketch;
    restarted.local[0].endpoint.incarnation = "2".to_owned();
    let swap = compiler.compile(&restarted.table());
    assert!(!Arc::ptr_eq(&swap.table.environments[&EnvironmentId(1)][0].local[0].instance, &instance));
    instance.in_flight.take(1);
    instance.in_flight.take(1);
    assert!(compiler.in_flight(swap.seq - 1).is_empty());
    assert_eq!(compiler.instances.len(), 2, "a worker may still serve the table before");
    assert!(compiler.in_flight(swap.seq).is_empty());
    assert_eq!(compiler.instances.len(), 1);
    assert_eq!(compiler.by_release(), of_release(0), "one that has nothing to do is known");
    let swap = compiler.compile(&Sketch::default().table());
    compiler.in_flight(swap.seq);
    assert_eq!(compiler.by_release(), BTreeMap::new());
}

#[test]
fn an_instance_that_joins_others_of_its_release_gets_its_share_little_by_little() {
    let mut compiler = compiler();
    let mut sketch =
        Sketch { choices: vec![choice(1, 1, 1)], local: vec![target(1, 1), target(2, 1)], peers: vec![] };
    let mut growing = |sketch: &Sketch| {
        let table = compiler.compile(&sketch.clone().table()).table;
        let local = table.environments[&EnvironmentId(1)][0].local.iter();
        let growing = local.filter(|local| !local.instance.standing.is_full());
        growing.map(|local| local.instance.id.0).collect::<Vec<_>>()
    };
    assert_eq!(growing(&sketch), [0; 0], "an edge that starts finds them in full use");
    sketch.local.extend([target(3, 1), target(4, 2), target(5, 2)]);
    assert_eq!(growing(&sketch), [3], "the others are the first of their release");
    sketch.local.iter_mut().filter(|t| t.release == ReleaseId(2)).for_each(|t| t.draining = true);
    sketch.local.push(target(6, 2));
    assert_eq!(growing(&sketch), [3, 6]);
    sketch.local.push(target(7, 2));
    sketch.local.retain(|target| !target.draining && target.instance != InstanceId(6));
    assert_eq!(growing(&sketch), [3, 7]);
}

#[test]
fn an_instance_that_served_and_is_missing_has_ended_and_a_draining_one_has_not() {
    let mut compiler = compiler();
    let mut sketch = Sketch {
        choices: vec![choice(1, 1, 1)],
        local: vec![target(1, 1), target(2, 1), target(3, 1)],
        peers: vec![],
    };
    let uids: Vec<_> = compiler.compile(&sketch.clone().table()).table.environments[&EnvironmentId(1)][0]
        .local
        .iter()
        .map(|local| local.instance.uid)
        .collect();
    sketch.local[1].draining = true;
    assert_eq!(compiler.compile(&sketch.clone().table()).withdrawn, [(uids[1], Left::Draining)]);

    // One is missing, one was draining and is missing, one has another start at the same address.
    sketch.local.drain(..2);
    sketch.local[0].endpoint.incarnation = "2".to_owned();
    let mut withdrawn = compiler.compile(&sketch.clone().table()).withdrawn;
    withdrawn.sort_by_key(|(uid, _)| *uid);
    assert_eq!(withdrawn, [(uids[0], Left::Ended), (uids[1], Left::Drained), (uids[2], Left::Ended)]);
    let again = compiler.compile(&sketch.table()).withdrawn;
    assert!(again.iter().all(|(_, left)| *left == Left::Drained), "an end is told once: {again:?}");

    // Of an environment that is not served at all nothing is known.
    let without = compiler.compile(&Table { node: NodeId(1), ..Table::default() }).withdrawn;
    assert!(without.iter().all(|(_, left)| *left == Left::Drained), "{without:?}");
}
