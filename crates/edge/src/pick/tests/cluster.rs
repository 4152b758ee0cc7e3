//! Whole clusters, in which requests take their time: which node and which instance gets how many.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use temps_core::model::ReleaseId;
use temps_core::table::Choice;

use super::{World, world_of};
use crate::compile::tests::{Sketch, choice, target};
use crate::pick::{Ask, Pick, Tried, Trust, pick, pick_for_peer};

/// Nodes from 1 with these instances of releases.
struct Cluster(Vec<World>);

/// What became of the requests of a run.
#[derive(Default)]
struct Run {
    stayed: usize,
    instances: BTreeMap<u64, usize>,
    releases: BTreeMap<u64, usize>,
}

impl Run {
    fn total(&self) -> usize {
        self.instances.values().sum()
    }

    fn spread(&self) -> (usize, usize) {
        let counts = || self.instances.values().copied();
        (counts().min().unwrap_or(0), counts().max().unwrap_or(0))
    }
}

impl Cluster {
    /// By node, then by release from 1: how many instances; and the weight of each instance of a release.
    fn new(nodes: &[&[u64]], weights: &[u32]) -> Self {
        let mut choices = Vec::<Choice>::new();
        for release in 1..=weights.len() {
            for (node, counts) in (1..).zip(nodes) {
                let n = u32::try_from(counts.get(release - 1).copied().unwrap_or(0)).unwrap();
                if n > 0 {
                    let instances = n;
                    let weight = n * weights[release - 1];
                    choices.push(Choice { instances, ..choice(release as u64, node, weight) });
                }
            }
        }
        let worlds = (1..).zip(nodes).map(|(node, counts)| {
            let local = (1..).zip(*counts).flat_map(|(release, n)| {
                (1..=*n).map(move |k| target(node * 100 + release * 10 + k, release))
            });
            let peers = (1..=nodes.len() as u64).filter(|peer| *peer != node).collect();
            world_of(node, Sketch { choices: choices.clone(), local: local.collect(), peers })
        });
        Self(worlds.collect())
    }

    /// So many clients at each node send one request after the other; each takes about 100 units, and clients pause
    /// for `pause`.
    fn run(&self, clients: &[usize], pause: u64, requests: usize) -> Run {
        let mut run = Run::default();
        let mut events = BinaryHeap::new();
        let mut ended: Vec<Option<Box<dyn Fn() + '_>>> = Vec::new();
        for (node, n) in clients.iter().enumerate() {
            (0..*n).for_each(|client| events.push(Reverse((client as u64 * 7 % (pause + 100), node, None))));
        }
        let mut random = 1_u64;
        while let Some(Reverse((now, node, request))) = events.pop() {
            if let Some(request) = request {
                let end: Option<Box<dyn Fn() + '_>> = ended.get_mut(request as usize).and_then(Option::take);
                end.unwrap()();
                events.push(Reverse((now + pause, node, None)));
                continue;
            }
            if ended.len() == requests {
                continue;
            }
            ended.push(Some(self.send(node, &mut run)));
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            events.push(Reverse((now + 50 + (random >> 33) % 100, node, Some(ended.len() as u64 - 1))));
        }
        assert_eq!(run.total(), requests);
        run
    }

    fn send<'t>(&'t self, node: usize, run: &mut Run) -> Box<dyn Fn() + 't> {
        let near = &self.0[node];
        let tried = Tried::default();
        let (instance, awaiting, release) =
            match pick(&near.table, &near.route, None, &tried, Trust::Fresh, 0) {
                Pick::Local(instance) => {
                    run.stayed += 1;
                    (instance, None, instance.id.0 / 10 % 10)
                }
                Pick::Remote(peer, Ask::Release(release), awaiting) => {
                    let far = &self.0[usize::try_from(peer.node.0).unwrap() - 1];
                    let ask = Ask::Release(ReleaseId(release.0));
                    (pick_for_peer(&far.route, ask, &tried, 0).unwrap(), awaiting, release.0)
                }
                Pick::Remote(..) | Pick::Nobody => panic!("all serve"),
            };
        *run.instances.entry(instance.id.0).or_default() += 1;
        *run.releases.entry(release).or_default() += 1;
        instance.in_flight.add(0, 1);
        if let Some(awaiting) = awaiting {
            awaiting.0.add(0, 1);
        }
        Box::new(move || {
            instance.in_flight.take(0);
            if let Some(awaiting) = awaiting {
                awaiting.0.take(0);
            }
        })
    }
}

#[test]
fn under_little_load_requests_stay_where_they_come_in() {
    let cluster = Cluster::new(&[&[2], &[2], &[2]], &[1]);
    for (clients, pause) in [(vec![1, 1, 1], 0), (vec![4, 4, 4], 1_500), (vec![1, 0, 0], 0)] {
        let run = cluster.run(&clients, pause, 3_000);
        assert!(run.stayed >= 2_800, "{} of 3000 with {clients:?}", run.stayed);
    }
}

#[test]
fn where_all_clients_come_in_at_one_node_all_instances_work() {
    for (nodes, clients) in [
        (vec![&[2_u64][..], &[2], &[2]], 60),
        (vec![&[1][..], &[1]], 20),
        (vec![&[1][..], &[3], &[2]], 60),
        (vec![&[4][..], &[1], &[1], &[1]], 80),
        (vec![&[0][..], &[2], &[2]], 40),
    ] {
        let cluster = Cluster::new(&nodes, &[1]);
        let run = cluster.run(&[clients], 0, 20_000);
        let (least, most) = run.spread();
        assert!(most <= 2 * least, "{:?}", run.instances);
        assert_eq!(run.instances.len() as u64, nodes.iter().map(|n| n[0]).sum::<u64>());
    }
}

#[test]
fn where_clients_come_in_everywhere_all_instances_work() {
    let cluster = Cluster::new(&[&[2], &[1], &[3]], &[1]);
    for clients in [[10, 10, 10], [50, 50, 50], [50, 5, 5]] {
        let (least, most) = cluster.run(&clients, 0, 20_000).spread();
        assert!(most <= 2 * least, "{least} to {most} with {clients:?}");
    }
}

#[test]
fn shares_of_releases_are_exact_wherever_their_instances_are() {
    // 5 % for the second release, of which one node has an instance and the others none.
    let cluster = Cluster::new(&[&[2], &[2, 1], &[2]], &[95, 30]);
    for (clients, pause) in [([1, 1, 1], 0), ([40, 0, 0], 0), ([0, 40, 0], 0), ([5, 5, 5], 500)] {
        let run = cluster.run(&clients, pause, 6_000);
        assert!(run.releases[&2].abs_diff(300) <= 4, "{:?} with {clients:?}", run.releases);
    }
}
