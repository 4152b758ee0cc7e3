//! One virtual node: its agent, its edge and what runs on it.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use temps_core::assignment::{Assignment, Work, assignment};
use temps_core::command::{Command, Observation};
use temps_core::model::{
    ClusterState, DeploymentId, Endpoint, Exit, Index, InstanceId, Measured, Millis, NodeFacts, NodeId, Past,
    RuntimeKind, Seen, Source, Want,
};
use temps_core::routes::routes;

use super::image_of;

/// How a release behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Good,
    NeverHealthy,
    ExitsAtOnce,
    /// Exits so long after it became ready.
    Crashes(Millis),
    /// Requests that never end: every drain times out.
    NeverDrains,
    /// Its image cannot be built.
    NotBuilt,
    /// Its release command fails.
    CommandFails,
    /// It answers most requests with an error.
    Errs,
}

#[derive(Debug)]
struct Running {
    behaviour: Behaviour,
    started: Millis,
    ready_after: Millis,
    ready_at: Option<Millis>,
    asked: bool,
    exited: bool,
    told: Option<Seen>,
    told_draining: bool,
    drain_after: Millis,
    /// It is a release command.
    once: bool,
}

#[derive(Debug)]
pub(crate) struct VirtualNode {
    pub(crate) id: NodeId,
    /// Its server runs. Edge and instances live on without it.
    pub(crate) up: bool,
    pub(crate) heard: Millis,
    /// When its newest report arrives.
    pub(crate) arrival: Millis,
    boot: u64,
    seq: u64,
    edge: Index,
    running: BTreeMap<InstanceId, Running>,
    gone: BTreeSet<InstanceId>,
    stored: BTreeSet<String>,
    pub(crate) runtime: RuntimeKind,
    /// When the images that it makes are made.
    builds: BTreeMap<DeploymentId, Millis>,
    /// What its edge counts, and when it last told.
    measured: Measured,
    counted: Millis,
}

impl VirtualNode {
    pub(crate) fn new(id: NodeId) -> Self {
        let (running, gone, stored) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self {
            id,
            up: true,
            heard: 0,
            arrival: 0,
            boot: 1,
            seq: 0,
            edge: 0,
            running,
            gone,
            stored,
            runtime: RuntimeKind::Process,
            builds: BTreeMap::new(),
            measured: Measured::default(),
            counted: 0,
        }
    }

    pub(crate) fn store(&mut self, digest: String) {
        self.stored.insert(digest);
    }

    /// Its server starts anew and knows nothing of what it had told.
    pub(crate) fn restart(&mut self) {
        self.up = true;
        self.boot += 1;
        self.seq = 0;
        self.builds.clear();
        self.lost_report();
    }

    /// The machine loses power: nothing runs any more.
    pub(crate) fn power_off(&mut self) {
        self.up = false;
        for running in self.running.values_mut() {
            running.exited = true;
        }
    }

    /// A report did not arrive: everything is told again.
    pub(crate) fn lost_report(&mut self) {
        for running in self.running.values_mut() {
            running.told = None;
            running.told_draining = false;
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.running.values().filter(|r| !r.exited).count()
    }

    pub(crate) fn serve_only(&mut self, now: Millis) {
        for running in self.running.values_mut() {
            running.live(now);
        }
    }

    /// Does what the state says, and reports what changed.
    pub(crate) fn act(
        &mut self,
        state: &ClusterState,
        behaviours: &BTreeMap<String, Behaviour>,
        now: Millis,
        rng: &mut StdRng,
    ) -> Vec<Command> {
        let todo = assignment(state, self.id);
        let mut seen = Vec::new();
        self.edge = routes(state, self.id).index;
        if todo.awaited.is_some() {
            seen.push(Observation::Applied { index: self.edge });
        }
        for (digest, work) in &todo.artifacts {
            if !work.holders.is_empty() {
                self.stored.insert(digest.clone());
            }
            if self.stored.contains(digest) && !work.reported {
                seen.push(Observation::Artifact { digest: digest.clone(), stored: true });
            }
        }
        if todo.facts.runtime != Some(self.runtime) {
            let facts = NodeFacts { runtime: Some(self.runtime), ..NodeFacts::default() };
            seen.push(Observation::Facts(facts));
        }
        self.builds.retain(|id, _| todo.builds.contains_key(id));
        for (id, work) in &todo.builds {
            let done = *self.builds.entry(*id).or_insert_with(|| now + rng.random_range(0..9_000));
            let Source::Build { context, .. } = &work.source else { continue };
            if now < done || !self.stored.contains(&context.digest) {
                continue;
            }
            seen.push(if behaviours.get(&context.digest) == Some(&Behaviour::NotBuilt) {
                let why = "the step `RUN make` ended with exit code 2".to_owned();
                Observation::NotBuilt { deployment: *id, why, log_tail: Vec::new() }
            } else {
                let image = image_of(context);
                self.stored.insert(image.digest.clone());
                Observation::Built { deployment: *id, image }
            });
        }
        for (id, work) in &todo.instances {
            self.work(*id, work, behaviours, now, rng, &mut seen);
        }
        self.count(&todo, now, rng, &mut seen);
        // What is not assigned is an orphan.
        self.running.retain(|id, _| todo.instances.contains_key(id));
        if seen.is_empty() {
            return Vec::new();
        }
        self.seq += 1;
        vec![Command::Report { node: self.id, boot: self.boot, seq: self.seq, observations: seen }]
    }

    /// Each instance that serves answers some requests in a second; two of a hundred fail by themselves.
    fn count(&mut self, todo: &Assignment, now: Millis, rng: &mut StdRng, seen: &mut Vec<Observation>) {
        if now < self.counted + 1_000 {
            return;
        }
        self.counted = now;
        for (id, work) in todo.instances.iter().filter(|(_, work)| work.instance.serves()) {
            let Some(running) = self.running.get(id).filter(|r| !r.exited) else { continue };
            let requests = rng.random_range(0..40);
            let rate = if running.behaviour == Behaviour::Errs { 0.6 } else { 0.02 };
            let errors = (0..requests).filter(|_| rng.random_bool(rate)).count();
            let counts = self.measured.releases.entry(work.instance.release).or_default();
            counts.requests += requests;
            counts.errors += u64::try_from(errors).unwrap_or(0);
            *counts.times.0.entry(rng.random_range(3..9)).or_default() += requests;
            self.measured.traffic.requests += requests;
        }
        for (environment, releases) in &todo.observed {
            let measured = self.measured.of(releases);
            seen.push(Observation::Traffic { environment: *environment, measured });
        }
        for deployment in todo.unmeasured.keys() {
            let past = Past { millis: now, measured: self.measured.clone() };
            seen.push(Observation::Past { deployment: *deployment, past });
        }
    }

    fn work(
        &mut self,
        id: InstanceId,
        work: &Work,
        behaviours: &BTreeMap<String, Behaviour>,
        now: Millis,
        rng: &mut StdRng,
        seen: &mut Vec<Observation>,
    ) {
        let want = work.instance.want;
        if !self.running.contains_key(&id) && want == Want::Run && !self.gone.contains(&id) {
            let behaviour = behaviours.get(&work.artifact.digest).copied().unwrap_or(Behaviour::Good);
            let running = Running {
                behaviour,
                started: now,
                ready_after: rng.random_range(0..4_000),
                ready_at: None,
                asked: false,
                exited: false,
                told: None,
                told_draining: false,
                drain_after: now + rng.random_range(0..8_000),
                once: work.once,
            };
            self.running.insert(id, running);
        }
        let Some(running) = self.running.get_mut(&id) else {
            // It was removed, but the report of that was lost.
            seen.push(sight(id, Seen::Gone, Some(Exit { asked: true, ..Exit::default() })));
            return;
        };
        running.live(now);
        if want == Want::Drain && !running.exited {
            if !running.told_draining {
                running.told_draining = true;
                running.drain_after = now + rng.random_range(0..8_000);
                seen.push(Observation::Draining { instance: id, in_flight: 3 });
            }
            let empty = running.behaviour != Behaviour::NeverDrains && now >= running.drain_after;
            if work.withdrawn_everywhere && empty {
                seen.push(Observation::Drained { instance: id });
            }
        }
        if want == Want::Stop {
            if !running.exited {
                running.asked = true;
                running.exited = true;
            }
            let exit = running.exit();
            seen.push(sight(id, Seen::Gone, Some(exit)));
            self.gone.insert(id);
            self.running.remove(&id);
            return;
        }
        let current = running.seen(now);
        if running.told != Some(current) {
            running.told = Some(current);
            let exit = running.exited.then(|| running.exit());
            seen.push(sight(id, current, exit));
        }
    }
}

impl Running {
    fn live(&mut self, now: Millis) {
        let age = now - self.started;
        if self.exited {
            return;
        }
        if self.once {
            self.exited = age >= self.ready_after;
            return;
        }
        match self.behaviour {
            Behaviour::ExitsAtOnce => self.exited = age > 300,
            Behaviour::NeverHealthy => {}
            Behaviour::Good
            | Behaviour::NeverDrains
            | Behaviour::NotBuilt
            | Behaviour::CommandFails
            | Behaviour::Errs
            | Behaviour::Crashes(_) => {
                if age >= self.ready_after {
                    self.ready_at.get_or_insert(now);
                }
            }
        }
        if let (Behaviour::Crashes(after), Some(ready)) = (self.behaviour, self.ready_at) {
            self.exited = now - ready > after;
        }
    }

    fn seen(&self, now: Millis) -> Seen {
        match (self.exited, self.ready_at) {
            (true, _) => Seen::Exited,
            (false, Some(_)) => Seen::Ready,
            (false, None) if now - self.started > 8_000 && !self.once => Seen::Unready,
            (false, None) => Seen::Starting,
        }
    }

    fn exit(&self) -> Exit {
        let good = self.asked || self.once && self.behaviour != Behaviour::CommandFails;
        Exit { code: Some(i32::from(!good)), asked: self.asked, ..Exit::default() }
    }
}

fn sight(instance: InstanceId, seen: Seen, exit: Option<Exit>) -> Observation {
    let endpoint =
        Endpoint { address: format!("127.0.0.1:{}", 20_000 + instance.0), incarnation: "1".to_owned() };
    let last_check = (seen == Seen::Unready).then(|| "answered 503".to_owned());
    let log_tail = Vec::new();
    Observation::Instance {
        instance,
        seen,
        endpoint: Some(endpoint),
        attempts: 2,
        last_check,
        log_tail,
        exit,
    }
}
