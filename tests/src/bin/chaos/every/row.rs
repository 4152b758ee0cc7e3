//! One kind of fault at every event of one kind of deployment.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::load::{Load, Mix, Report};
use temps_tests::stage::Stage;
use temps_tests::trouble::{Result, Trouble};
use temps_tests::wait;

use super::judge::{Case, Wrong};
use super::mode::{Blow, Mode};
use super::scenario::{Play, Scenario};

/// The numbers of a row, which are added up over all.
pub(super) const NUMBERS: [&str; 11] = [
    "points",
    "rounds",
    "failed",
    "stuck",
    "wrong_end",
    "doubled",
    "false_rollbacks",
    "cut_by_hand",
    "requests",
    "websockets_cut",
    "nodes_lost",
];

/// What was done and found.
pub(super) struct Row {
    mode: Mode,
    scenario: Scenario,
    /// The kinds of events at which the fault struck.
    points: Vec<String>,
    rounds: u64,
    stuck: u64,
    wrong_end: u64,
    doubled: u64,
    false_rollbacks: u64,
    nodes_lost: u64,
    seconds: f64,
    pub(super) report: Report,
    pub(super) complaints: Vec<String>,
}

impl Row {
    /// Runs all rounds, with a load through all edges. It ends early where a deployment is stuck.
    pub(super) fn run(
        stage: Stage,
        cluster: &mut Cluster,
        (seed, every): (u64, usize),
        (mode, scenario): (Mode, Scenario),
        timelines: &mut BTreeMap<Scenario, Vec<String>>,
    ) -> Result<Self> {
        let begun = Instant::now();
        let mut play = Play::prepare(scenario, cluster)?;
        let load = Load::start(cluster.edges(), Mix::everything("hello.localhost").halved());
        let kinds = match timelines.entry(scenario) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(undisturbed(cluster, &mut play)?),
        };
        let chosen = kinds.iter().enumerate().map(|(at, kind)| (at + 1, kind)).step_by(every);
        let mut row = Self {
            mode,
            scenario,
            points: chosen.clone().map(|(_, kind)| kind.clone()).collect(),
            rounds: 0,
            stuck: 0,
            wrong_end: 0,
            doubled: 0,
            false_rollbacks: 0,
            nodes_lost: 0,
            seconds: 0.0,
            report: Report::default(),
            complaints: Vec::new(),
        };
        for (point, kind) in chosen {
            // The same point is struck alike, whatever else is.
            let chance = seed ^ ((mode as u64) << 32 | (scenario as u64) << 24 | point as u64);
            let what = format!("{} at {kind} ({point} of {}) of {}", mode.word(), kinds.len(), row.of());
            let mut rng = StdRng::seed_from_u64(chance);
            let done = row.round(stage, cluster, &mut play, &load, (point, &what), &mut rng);
            if let Err(trouble) = done {
                // What cannot even be struck, or does not come back, is stuck.
                if wait::is_interrupted() {
                    return Err(trouble);
                }
                row.stuck += 1;
                row.complaints.push(format!("{what}: {trouble}"));
            }
            if row.stuck > 0 {
                break;
            }
        }
        wait::nap(Duration::from_secs(1))?;
        row.report = load.stop()?;
        let failed = row.report.failed + row.report.websockets_cut;
        if failed > 0 {
            let of = row.of();
            row.complaints.push(format!("{} of {of}: {failed} requests failed or were cut", mode.word()));
        }
        row.seconds = begun.elapsed().as_secs_f64();
        Ok(row)
    }

    fn of(&self) -> &'static str {
        self.scenario.word()
    }

    fn round(
        &mut self,
        stage: Stage,
        cluster: &mut Cluster,
        play: &mut Play,
        load: &Load,
        (point, what): (usize, &str),
        rng: &mut StdRng,
    ) -> Result {
        let begun = Instant::now();
        let leader = cluster.leader()?;
        let before = cluster.instances("hello")?;
        let blow = Blow::prepare(self.mode, cluster, leader, rng)?;
        let mut followed = play.begin(cluster, &leader_first(cluster, leader))?;
        followed.reach(point, DEPLOYMENT)?;
        let newest = followed.events.last().cloned();
        let struck = blow.strike(cluster, load, newest.as_ref())?;
        let what = format!("{what}: {struck}");
        self.rounds += 1;
        let ran = followed.end(DEPLOYMENT);
        cluster.heal()?;
        let number =
            followed.number.ok_or_else(|| Trouble::new(format!("{what}: no deployment, {ran:?}")))?;
        let deployment = cluster.deployment(number)?;
        let story = deployment.story();
        let ran = match ran {
            Ok(ran) if deployment.ended => ran,
            ran => {
                self.stuck += 1;
                stage.say(&format!("{what}: STUCK"));
                self.complaints.push(format!("{what}: stuck, {ran:?}\n{story}"));
                return Ok(());
            }
        };
        self.nodes_lost += deployment.count("node_lost") as u64;
        let case = Case {
            cluster,
            play,
            before: &before,
            loses: blow.loses(),
            deployment: &deployment,
            told: &followed.events,
            ran,
        };
        let Some(wrong) = case.wrong() else {
            let seconds = begun.elapsed();
            stage.say(&format!("{what}: {} in {seconds:.1?}", deployment.phase));
            return play.go_on(cluster, &deployment);
        };
        let (count, told) = match wrong {
            Wrong::FalseRollback(told) => (&mut self.false_rollbacks, told),
            Wrong::Doubled(told) => (&mut self.doubled, told),
            Wrong::End(told) => (&mut self.wrong_end, told),
        };
        *count += 1;
        stage.say(&format!("{what}: WRONG: {told}"));
        self.complaints.push(format!("{what}: {told}\n{story}"));
        play.go_on(cluster, &deployment)
    }

    pub(super) fn numbers(&self) -> Value {
        json!({
            "points": self.points.len(),
            "rounds": self.rounds,
            "failed": self.report.failed + self.report.websockets_cut,
            "stuck": self.stuck,
            "wrong_end": self.wrong_end,
            "doubled": self.doubled,
            "false_rollbacks": self.false_rollbacks,
            "cut_by_hand": self.report.cut_by_hand,
            "requests": self.report.requests,
            "websockets_cut": self.report.websockets_cut,
            "nodes_lost": self.nodes_lost,
        })
    }

    pub(super) fn object(&self) -> Value {
        let mut object = self.numbers();
        object["mode"] = self.mode.word().into();
        object["of"] = self.of().into();
        object["at"] = self.points.clone().into();
        object["seconds"] = self.seconds.round().into();
        object
    }

    pub(super) fn table(&self) -> String {
        let (mode, of, points, seconds) = (self.mode.word(), self.of(), self.points.len(), self.seconds);
        let told = format!("{mode} of {of}: {} rounds at {points} points in {seconds:.0} s", self.rounds);
        format!("{told}\n{}", self.report.table())
    }
}

/// The kinds of events of the deployment when all is well, in order.
fn undisturbed(cluster: &Cluster, play: &mut Play) -> Result<Vec<String>> {
    let mut followed = play.begin(cluster, &leader_first(cluster, cluster.leader()?))?;
    let ran = followed.end(DEPLOYMENT)?;
    let number = followed.number.ok_or_else(|| Trouble::new(format!("no deployment: {ran:?}")))?;
    let deployment = cluster.deployment(number)?;
    if !play.expected(&[]).contains(&deployment.phase.as_str()) {
        return Err(Trouble::new(format!("wrong though nobody disturbed it: {}", deployment.story())));
    }
    play.go_on(cluster, &deployment)?;
    Ok(deployment.events.into_iter().map(|event| event.kind).collect())
}

/// The leader knows first what has happened.
fn leader_first(cluster: &Cluster, leader: usize) -> Vec<usize> {
    let rest = (0..cluster.nodes.len()).filter(|node| *node != leader);
    std::iter::once(leader).chain(rest).collect()
}
