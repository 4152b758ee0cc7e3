//! A deployment that is watched, as the cluster's own state machine and planner see it, with requests from a table of
//! chances instead of edges.

use rand::Rng;
use rand::rngs::StdRng;
use temps_core::apply::apply;
use temps_core::command::{Command, ENTRY_VERSION, Entry, NewNode, Observation};
use temps_core::model::{
    Artifact, Cause, ClusterState, Counts, DeploymentId, EnvironmentId, Measured, Millis, NodeId, Past,
    Phase, ProcessSpec, ReleaseId, Source, Spec, class_of,
};
use temps_core::plan::plan;
use temps_core::preview::obeyed;
use temps_tests::trouble::{Result, Trouble};

const NODE: NodeId = NodeId(1);
const SECOND: DeploymentId = DeploymentId(2);
const OLD: ReleaseId = ReleaseId(1);
const NEW: ReleaseId = ReleaseId(2);
/// How long the release before is known.
const KNOWN: u64 = 300;

/// What requests to a release do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    /// Requests a second.
    pub(crate) rate: f64,
    /// The part that is answered with an error.
    pub(crate) errors: f64,
    /// The part whose connection is refused.
    pub(crate) refused: f64,
}

impl Nature {
    /// What such requests do in so many seconds.
    fn draw(self, rng: &mut StdRng, seconds: u64) -> Counts {
        let mut counts = Counts::default();
        for _ in 0..seconds {
            // Each second has as many as the rate says, on average.
            let whole = self.rate.floor();
            let more = rng.random_bool((self.rate - whole).clamp(0.0, 1.0));
            for _ in 0..(whole as u64 + u64::from(more)) {
                counts.requests += 1;
                if rng.random_bool(self.refused) {
                    counts.refused += 1;
                    continue;
                }
                counts.errors += u64::from(rng.random_bool(self.errors));
                // One of a hundred is slow in any release.
                let time = if rng.random_bool(0.01) { 2_500 } else { rng.random_range(2..60) };
                *counts.times.0.entry(class_of(time)).or_default() += 1;
            }
        }
        counts
    }
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) taken_back: bool,
    pub(crate) seconds: u64,
    /// To the new release.
    pub(crate) requests: u64,
    /// When somebody who compares the rate with the same limit at every look would have taken it back.
    pub(crate) naive: bool,
}

/// A state whose second deployment has replaced everything and is watched.
#[derive(Clone)]
pub(crate) struct Scene {
    state: ClusterState,
    now: Millis,
    seq: u64,
}

impl Scene {
    pub(crate) fn watched() -> Result<Self> {
        let mut scene = Self { state: ClusterState::default(), now: 1_000, seq: 0 };
        scene.write(Command::Found { domain: "localhost".to_owned(), token_hash: "aa".to_owned() });
        scene.write(Command::AddNode(NewNode {
            name: "n1".to_owned(),
            control: String::new(),
            edge_peer: String::new(),
            edge_http: String::new(),
            version: String::new(),
            fingerprint: "f".to_owned(),
            token_hash: None,
        }));
        for digest in ['a', 'b'] {
            let web = ProcessSpec {
                command: "./web".to_owned(),
                http: true,
                instances: 1,
                ..ProcessSpec::default()
            };
            scene.write(Command::Deploy {
                project: "shop".to_owned(),
                environment: "production".to_owned(),
                source: Source::Bundle { bundle: Artifact::bundle(digest.to_string().repeat(64), 1) },
                spec: Spec { processes: [("web".to_owned(), web)].into(), ..Spec::default() },
                supersede: false,
            });
            scene.settle();
            if digest == 'a' {
                scene.now += 120_000;
                scene.settle();
            }
        }
        match scene.phase() {
            Phase::Watching => Ok(scene),
            other => Err(Trouble::new(format!("the second deployment is {}", other.word()))),
        }
    }

    fn phase(&self) -> Phase {
        self.state.deployments.get(&SECOND).map_or(Phase::Queued, |d| d.phase)
    }

    fn write(&mut self, command: Command) {
        let (clock, wall) = (self.now, self.now);
        let entry = Entry { version: ENTRY_VERSION, clock, wall, key: None, by: "bench".to_owned(), command };
        let index = self.state.index + 1;
        apply(&mut self.state, index, &entry);
    }

    fn see(&mut self, observations: Vec<Observation>) {
        self.seq += 1;
        self.write(Command::Report { node: NODE, boot: 1, seq: self.seq, observations });
    }

    /// Plans and does what is planned until nothing more follows.
    fn settle(&mut self) {
        loop {
            let actions = plan(&self.state, self.now).actions;
            if !actions.is_empty() {
                self.write(Command::Plan { seen: self.state.revision, actions });
                continue;
            }
            let seen = obeyed(&self.state, NODE);
            if seen.is_empty() {
                return;
            }
            self.see(seen);
        }
    }

    /// Lets requests come, a second at a time, until the deployment ends or is taken back.
    pub(crate) fn watch(mut self, rng: &mut StdRng, old: Nature, new: Nature) -> End {
        let past = Measured { releases: [(OLD, old.draw(rng, KNOWN))].into(), ..Measured::default() };
        let before = past.releases.get(&OLD).cloned().unwrap_or_default();
        let limit = ((before.failed() + 2) * 10_000_000 / (before.requests + 40)).clamp(50_000, 1_000_000);
        self.see(vec![Observation::Past {
            deployment: SECOND,
            past: Past { millis: KNOWN * 1_000, measured: past },
        }]);
        let mut total = Measured::default();
        let mut naive = false;
        let count = |total: &Measured| Observation::Traffic {
            environment: EnvironmentId(1),
            measured: total.clone(),
        };
        self.see(vec![count(&total)]);
        for second in 1.. {
            self.now += 1_000;
            total.releases.entry(NEW).or_default().add(&new.draw(rng, 1));
            self.see(vec![count(&total)]);
            let counts = total.releases.get(&NEW).cloned().unwrap_or_default();
            naive |= counts.requests >= 20 && counts.failed() * 1_000_000 / counts.requests > limit;
            let actions = plan(&self.state, self.now).actions;
            if !actions.is_empty() {
                self.write(Command::Plan { seen: self.state.revision, actions });
            }
            let deployment = self.state.deployments.get(&SECOND);
            let judged = deployment.is_some_and(|d| matches!(d.cause, Some(Cause::Traffic { .. })));
            if judged || self.phase().is_terminal() {
                return End { taken_back: judged, seconds: second, requests: counts.requests, naive };
            }
        }
        unreachable!("a watched deployment ends")
    }
}
