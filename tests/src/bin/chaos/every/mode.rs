//! What goes wrong at an event.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use temps_tests::cluster::Cluster;
use temps_tests::deployment::Event;
use temps_tests::ground::Ground;
use temps_tests::load::{Load, Struck};
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{browser, faults, wait};

use super::LEASE;

/// How long something is away, in milliseconds, unless it is away for too long.
const AWAY_MS: u64 = 3_000;

/// Longer than an election and a lease.
const TOO_LONG: Duration = Duration::from_millis(5_500);

/// One of so many faults lasts too long.
const RARELY: u32 = 6;

/// How long an edge may take until it answers again.
const ANSWER: Duration = Duration::from_secs(20);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The server of the node that leads is killed, and started again later.
    Leader,
    /// The server of the node of which the newest event tells is killed, and started again later.
    Agent,
    /// The edge of a node is killed; its server starts it again.
    Edge,
    /// The links between a node and the others are cut for a while.
    Link,
}

/// A fault that is about to happen. All that takes time to find out is known.
pub(crate) struct Blow {
    mode: Mode,
    leader: usize,
    /// Where an event does not say otherwise.
    victim: usize,
    edge: u32,
    away: Duration,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Mode::Leader, Mode::Agent, Mode::Edge, Mode::Link];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Mode::Leader => "leader",
            Mode::Agent => "agent",
            Mode::Edge => "edge",
            Mode::Link => "link",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }

    /// A cluster in which it can happen.
    pub(super) fn cluster(self, ground: Ground) -> Result<Cluster> {
        match self {
            Mode::Link => Cluster::start_apart(ground, LEASE),
            Mode::Leader | Mode::Agent | Mode::Edge => Cluster::start_with(ground, 3, LEASE),
        }
    }
}

impl Blow {
    pub(super) fn prepare(mode: Mode, cluster: &Cluster, leader: usize, rng: &mut StdRng) -> Result<Self> {
        let followers: Vec<usize> = (0..cluster.nodes.len()).filter(|node| *node != leader).collect();
        let (follower, any) =
            (rng.random_range(0..followers.len()), rng.random_range(0..cluster.nodes.len()));
        let usual = Duration::from_millis(rng.random_range(0..AWAY_MS));
        let away = if rng.random_ratio(1, RARELY) { TOO_LONG } else { usual };
        let victim = match mode {
            Mode::Leader => leader,
            Mode::Agent => followers[follower],
            Mode::Edge | Mode::Link => any,
        };
        let node = &cluster.nodes[victim];
        let edge = node.edge_pid().filter(|pid| faults::is_running(*pid));
        let edge = edge.ok_or_else(|| Trouble::new(format!("the edge of {} does not run", node.name)))?;
        Ok(Self { mode, leader, victim, edge, away })
    }

    /// Whether a node counts as lost meanwhile, or for a moment afterwards.
    pub(super) fn loses(&self) -> bool {
        self.mode != Mode::Edge && self.away >= TOO_LONG
    }

    /// Strikes; tells whom, and for how long.
    pub(super) fn strike(
        &self,
        cluster: &mut Cluster,
        load: &Load,
        newest: Option<&Event>,
    ) -> Result<String> {
        let named = newest.and_then(|event| cluster.place_of(node_of(event)).ok());
        let victim = named.filter(|_| self.mode == Mode::Agent).unwrap_or(self.victim);
        let begun = Instant::now();
        match self.mode {
            Mode::Leader | Mode::Agent => {
                cluster.nodes[victim].kill()?;
                wait::nap(self.away)?;
                cluster.nodes[victim].restart()?;
            }
            Mode::Edge => self.kill_edge(cluster, load)?,
            Mode::Link => {
                load.strike(Struck::Links, || {
                    cluster.part(victim)?;
                    let slept = wait::nap(self.away);
                    cluster.rejoin(victim)?;
                    slept.map(|()| None)
                })?;
            }
        }
        let leads = if victim == self.leader { ", which leads" } else { "" };
        Ok(format!("{}{leads}, for {:.1?}", cluster.nodes[victim].name, begun.elapsed()))
    }

    fn kill_edge(&self, cluster: &Cluster, load: &Load) -> Result {
        let node = &cluster.nodes[self.victim];
        load.strike(Struck::Edge(node.name.clone()), || {
            faults::slay(self.edge)?;
            let until = Instant::now() + ANSWER;
            let pause = Duration::from_millis(2);
            while faults::is_running(self.edge) {
                std::thread::sleep(pause);
            }
            let gone = Instant::now();
            while browser::get(node.shape.edge, "hello.localhost", "/").is_err() {
                if Instant::now() > until {
                    return Err(Trouble::new(format!("the edge of {} does not come back", node.name)));
                }
                std::thread::sleep(pause);
            }
            Ok(Some(gone))
        })
    }
}

/// Where an event happened; empty where it says nothing of that.
fn node_of(event: &Event) -> &str {
    let builder = event.text.strip_prefix("Build started on ");
    builder.unwrap_or(&event.node)
}
