//! A virtual cluster: one log, nodes with instances and edges, messages that are late, lost and doubled.
//! Everything is drawn from one seed, so that a failure can be replayed.

pub(crate) mod again;
pub(crate) mod hostile;
mod node;

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use temps_core::apply::apply;
use temps_core::command::{Command, ENTRY_VERSION, Entry, NewNode, Outcome, Receipt, Rejection};
use temps_core::invariants;
use temps_core::model::{
    Artifact, ClusterState, Form, Health, Millis, NodeId, NodeStatus, Phase, ProcessSpec, RuntimeKind,
    Source, Spec, Want,
};
use temps_core::plan::plan;

pub(crate) use node::{Behaviour, VirtualNode};

/// Virtual time between two looks at everything.
pub(crate) const TICK: Millis = 200;
/// Silence after which the leader counts a node as lost.
const LEASE: Millis = 5_000;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Calm,
    Stormy,
}

pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) now: Millis,
    pub(crate) state: ClusterState,
    pub(crate) log: Vec<Entry>,
    pub(crate) nodes: BTreeMap<NodeId, VirtualNode>,
    pub(crate) weather: Weather,
    /// How each release behaves, by the digest of its artifact.
    pub(crate) behaviours: BTreeMap<String, Behaviour>,
    /// Proposals under way: when they arrive, and what.
    flying: Vec<(Millis, Command)>,
    pub(crate) stale_plans: u64,
    /// Nodes that were removed, and others came for them.
    pub(crate) replaced: u64,
    /// Deployments that were deployed once more.
    pub(crate) again: u64,
    pub(crate) containers: bool,
    /// Checked after each entry, on top of the invariants.
    pub(crate) also: fn(&ClusterState) -> Result<(), String>,
}

impl World {
    pub(crate) fn new(seed: u64, nodes: u64) -> Self {
        let mut world = World {
            rng: StdRng::seed_from_u64(seed),
            now: 1_000,
            state: ClusterState::default(),
            log: Vec::new(),
            nodes: BTreeMap::new(),
            weather: Weather::Calm,
            behaviours: BTreeMap::new(),
            flying: Vec::new(),
            stale_plans: 0,
            replaced: 0,
            again: 0,
            containers: false,
            also: |_| Ok(()),
        };
        world.write(Command::Found { domain: "localhost".to_owned(), token_hash: "00".to_owned() });
        for _ in 0..nodes {
            world.join();
        }
        world
    }

    /// Another machine joins.
    pub(crate) fn join(&mut self) {
        let n = self.state.last.node + 1;
        self.write(Command::CreateJoinToken { hash: format!("join{n}"), ttl: 1_000, uses: 1 });
        let new = NewNode {
            name: format!("n{n}"),
            control: format!("10.0.0.{n}:7400"),
            edge_peer: format!("10.0.0.{n}:7401"),
            edge_http: format!("10.0.0.{n}:80"),
            version: "0.1.0".to_owned(),
            fingerprint: format!("f{n}"),
            token_hash: (n > 1).then(|| format!("join{n}")),
        };
        self.write(Command::AddNode(new));
        let mut node = VirtualNode::new(NodeId(n));
        node.heard = self.now;
        if self.containers {
            node.runtime = RuntimeKind::Docker;
        }
        self.nodes.insert(NodeId(n), node);
    }

    /// Removes a node where that is allowed, and lets another machine join in its place.
    pub(crate) fn replace(&mut self, node: NodeId) {
        let receipt = self.write(Command::RemoveNode { node, force: false });
        if matches!(receipt.outcome, Outcome::Done(_)) {
            self.nodes.remove(&node);
            self.join();
            self.replaced += 1;
        }
    }

    /// One of the nodes that there are.
    pub(crate) fn some_node(&mut self) -> NodeId {
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        all[self.rng.random_range(0..all.len())]
    }

    /// Appends one entry and applies it, as every node would.
    pub(crate) fn write(&mut self, command: Command) -> Receipt {
        let entry = Entry {
            version: ENTRY_VERSION,
            clock: self.now,
            wall: self.now,
            key: None,
            by: "sim".to_owned(),
            command,
        };
        let before = self.state.clone();
        let receipt = apply(&mut self.state, before.index + 1, &entry);
        let broken = invariants::check(&self.state)
            .and_then(|()| invariants::check_step(&before, &self.state))
            .and_then(|()| (self.also)(&self.state));
        if let Err(broken) = broken {
            panic!("at {} ms, entry {}: {broken}\nafter {entry:#?}", self.now, self.state.index);
        }
        if matches!(receipt.outcome, Outcome::Rejected(_)) {
            let mut same = before;
            same.index = self.state.index;
            same.clock = self.state.clock;
            // That it was asked for is written down all the same.
            same.audit = self.state.audit.clone();
            assert_eq!(same, self.state, "a refusal changed the state");
        }
        self.log.push(entry);
        receipt
    }

    /// All nodes run containers, and all deployments are built.
    pub(crate) fn with_containers(mut self) -> Self {
        for node in self.nodes.values_mut() {
            node.runtime = RuntimeKind::Docker;
        }
        self.containers = true;
        self.tick();
        self
    }

    pub(crate) fn deploy(&mut self, spec: Spec, behaviour: Behaviour) -> Receipt {
        let digest = format!("{:064x}", self.behaviours.len() + 1);
        self.behaviours.insert(digest.clone(), behaviour);
        // The bundle was stored before the deployment was asked for.
        for node in self.nodes.values_mut().take(2) {
            node.store(digest.clone());
        }
        let context = Artifact::bundle(digest, 1_000);
        let source = if self.containers {
            self.behaviours.insert(image_of(&context).digest, behaviour);
            Source::Build { context, dockerfile: "Dockerfile".to_owned(), timeout: 60_000 }
        } else {
            Source::Bundle { bundle: context }
        };
        self.write(Command::Deploy {
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            source,
            spec,
            supersede: false,
        })
    }

    /// One tick: messages arrive, nodes act, the leader plans.
    pub(crate) fn tick(&mut self) {
        self.now += TICK;
        let arrived: Vec<Command> =
            self.flying.extract_if(.., |(at, _)| *at <= self.now).map(|(_, c)| c).collect();
        for command in arrived {
            let receipt = self.write(command);
            if matches!(receipt.outcome, Outcome::Rejected(Rejection::Stale { .. })) {
                self.stale_plans += 1;
            }
        }
        self.nodes_act();
        self.liveness();
        self.lead();
    }

    fn nodes_act(&mut self) {
        let stormy = self.weather == Weather::Stormy;
        for node in self.nodes.values_mut() {
            // A node may look at an old state: it learns of entries late.
            if !node.up || stormy && self.rng.random_bool(0.3) {
                node.serve_only(self.now);
                continue;
            }
            for command in node.act(&self.state, &self.behaviours, self.now, &mut self.rng) {
                let late = if stormy { self.rng.random_range(0..2_000) } else { 0 };
                if stormy && self.rng.random_bool(0.1) {
                    node.lost_report();
                    continue;
                }
                if stormy && self.rng.random_bool(0.1) {
                    self.flying.push((self.now + late + 1_000, command.clone()));
                }
                // A node sends its reports one after another.
                node.arrival = node.arrival.max(self.now + late);
                self.flying.push((node.arrival, command));
            }
        }
    }

    fn liveness(&mut self) {
        let (mut lost, mut back) = (Vec::new(), Vec::new());
        for node in self.nodes.values_mut() {
            if node.up {
                node.heard = self.now;
            }
            let known = self.state.nodes[&node.id].status;
            let silent = self.now - node.heard > LEASE;
            match known {
                NodeStatus::Up if silent => lost.push(node.id),
                NodeStatus::Lost if !silent => back.push(node.id),
                NodeStatus::Up | NodeStatus::Lost => {}
            }
        }
        if !lost.is_empty() || !back.is_empty() {
            self.write(Command::Liveness { lost, back });
        }
    }

    fn lead(&mut self) {
        let stormy = self.weather == Weather::Stormy;
        if stormy && self.rng.random_bool(0.2) {
            return;
        }
        let actions = plan(&self.state, self.now).actions;
        if actions.is_empty() {
            return;
        }
        let command = Command::Plan { seen: self.state.revision, actions };
        if !stormy {
            self.write(command);
            return;
        }
        let late = self.rng.random_range(0..600);
        self.flying.push((self.now + late, command.clone()));
        if self.rng.random_bool(0.2) {
            // A deposed leader that does not know it yet.
            self.flying.push((self.now + late + 400, command));
        }
    }

    /// Runs until nothing is under way, at most so long.
    pub(crate) fn settle(&mut self, at_most: Millis) {
        let end = self.now + at_most;
        while self.now < end {
            self.tick();
            if self.is_settled() {
                return;
            }
        }
        let live: Vec<_> = self.state.deployments.values().filter(|d| !d.phase.is_terminal()).collect();
        let left: Vec<_> = self.state.instances.values().filter(|i| i.want != Want::Gone).collect();
        panic!("not settled after {at_most} ms: {live:#?}\n{left:#?}\n{:?}", plan(&self.state, self.now));
    }

    /// All deployments have ended, and exactly the wanted instances of the current release serve.
    pub(crate) fn is_settled(&self) -> bool {
        if self.state.deployments.values().any(|d| !d.phase.is_terminal()) || !self.flying.is_empty() {
            return false;
        }
        self.state.environments.values().all(|environment| {
            let spec = self.state.release(environment.current).map(|r| &r.spec);
            let wanted = spec.map_or(0, |s| self.state.wanted(environment, s, "web"));
            let left: Vec<_> = self.state.instances.values().filter(|i| i.want != Want::Gone).collect();
            left.len() == wanted as usize
                && left.iter().all(|i| i.serves() && Some(i.release) == environment.current)
        })
    }

    /// No plan follows from its own commands for ever, and replaying the log gives the same hash.
    pub(crate) fn check_end(&mut self) {
        for round in 0.. {
            let actions = plan(&self.state, self.now).actions;
            if actions.is_empty() {
                break;
            }
            assert!(round < 20, "the planner does not come to rest: {actions:?}");
            self.write(Command::Plan { seen: self.state.revision, actions });
        }
        let mut replayed = ClusterState::default();
        for (i, entry) in self.log.iter().enumerate() {
            apply(&mut replayed, i as u64 + 1, entry);
        }
        assert_eq!(replayed.hash(), self.state.hash(), "the same log gave another state");
        for deployment in self.state.deployments.values() {
            let reverted = deployment.cause.is_some();
            assert!(!(reverted && deployment.phase == Phase::Succeeded), "a reverted deployment succeeded");
        }
    }
}

/// What is built from a directory.
pub(crate) fn image_of(context: &Artifact) -> Artifact {
    let digest = format!("f{}", &context.digest[1..]);
    let form = Form::Image { id: format!("sha256:{digest}"), total: 10_000 };
    Artifact { digest, bytes: 100, form }
}

/// A small specification with short times.
pub(crate) fn spec(instances: u32, surge: u32, unavailable: u32) -> Spec {
    let mut spec = Spec::default();
    spec.processes.insert(
        "web".to_owned(),
        ProcessSpec { command: "./web".to_owned(), http: true, instances, ..ProcessSpec::default() },
    );
    spec.health = Health { interval: 1_000, start_period: 5_000, ..Health::default() };
    spec.deploy.max_surge = surge;
    spec.deploy.max_unavailable = unavailable;
    spec.deploy.drain_timeout = 10_000;
    spec.deploy.deadline = 60_000;
    spec.rollback.watch = 5_000;
    spec
}
