//! Deployments under load while servers die at random moments. See `scripts/chaos`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::Deployment;
use temps_tests::load::{Load, Mix};
use temps_tests::stage::{self, Stage, Verdict};
use temps_tests::trouble::{Context, Result, Trouble};
use temps_tests::wait;

/// Instances of the application.
const INSTANCES: usize = 3;

/// The longest time between a kill and the restart, in milliseconds.
const AWAY_MS: u64 = 4_000;

/// What was asked.
struct Asked {
    rounds: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    stage::run(json, |stage| chaos(stage, &Asked::read(&arguments)?))
}

impl Asked {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut asked = Self { rounds: 10, seed: rand::random_range(0..1_000_000) };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let place = match argument.as_str() {
                "--rounds" => &mut asked.rounds,
                "--seed" => &mut asked.seed,
                "--json" => continue,
                _ => return Err(Trouble::new("usage: chaos [--rounds N] [--seed S] [--json]")),
            };
            let value = rest.next().ok_or_else(|| Trouble::new(format!("{argument} needs a number")))?;
            *place = value.parse().context(argument)?;
        }
        Ok(asked)
    }
}

/// What was found wrong.
#[derive(Default)]
struct Tally {
    stuck: u64,
    wrong_end: u64,
    complaints: Vec<String>,
}

fn chaos(stage: Stage, asked: &Asked) -> Result<Verdict> {
    let mut rng = StdRng::seed_from_u64(asked.seed);
    stage.say(&format!("{} rounds with seed {}", asked.rounds, asked.seed));
    let mut cluster = Cluster::start()?;
    cluster.deploy_well(&App::quick("v0")?)?;
    let mut tally = Tally::default();
    let mut victims: Vec<usize> = Vec::new();
    // The moment of the kill is chosen within the time that the last deployment took.
    let mut usual = Duration::from_secs(6);
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    for round in 1..=asked.rounds {
        if victims.is_empty() {
            victims = (0..cluster.nodes.len()).collect();
            victims.shuffle(&mut rng);
        }
        let victim = victims.pop().unwrap_or_default();
        let round = Round {
            number: round,
            version: format!("v{round}{}", if round % 2 == 0 { "a" } else { "b" }),
            victim,
            moment: usual.mul_f64(rng.random_range(0.0..1.0)),
            away: Duration::from_millis(rng.random_range(0..AWAY_MS)),
        };
        let begun = Instant::now();
        round.run(stage, &mut cluster, &mut tally)?;
        usual = begun.elapsed().clamp(Duration::from_secs(2), Duration::from_secs(12));
    }
    wait::nap(Duration::from_secs(1))?;
    let report = load.stop()?;
    let failed = report.failed + report.websockets_cut;
    stage.say(&report.table());
    if failed > 0 {
        tally.complaints.push(format!("{failed} requests failed or were cut"));
    }
    let object = json!({
        "rounds": asked.rounds,
        "failed": failed,
        "stuck": tally.stuck,
        "wrong_end": tally.wrong_end,
        "seed": asked.seed,
        "requests": report.requests,
        "websockets_cut": report.websockets_cut,
        "failures": report.failures,
    });
    if tally.complaints.is_empty() {
        cluster.close()?;
    }
    Ok(Verdict { object, complaints: tally.complaints })
}

struct Round {
    number: u64,
    version: String,
    victim: usize,
    moment: Duration,
    away: Duration,
}

impl Round {
    fn run(&self, stage: Stage, cluster: &mut Cluster, tally: &mut Tally) -> Result {
        let name = cluster.nodes[self.victim].name.clone();
        let led = cluster.leader()? == self.victim;
        let begun = Instant::now();
        let number = cluster.deploy_detached(&App::quick(&self.version)?)?;
        wait::nap(self.moment)?;
        cluster.nodes[self.victim].kill()?;
        wait::nap(self.away)?;
        cluster.nodes[self.victim].restart()?;
        let ended = cluster.await_end(number, DEPLOYMENT);
        let (seconds, moment, away) = (begun.elapsed(), self.moment, self.away);
        let who = if led { format!("{name}, which leads,") } else { name };
        let what = format!("round {}: {who} killed after {moment:.1?} for {away:.1?}", self.number);
        let deployment = match ended {
            Ok(deployment) => deployment,
            Err(trouble) => {
                tally.stuck += 1;
                tally.complaints.push(format!("{what}: {trouble}"));
                stage.say(&format!("{what}: STUCK"));
                return cluster.heal();
            }
        };
        cluster.heal()?;
        match self.wrong(cluster, &deployment) {
            None => stage.say(&format!("{what}: {} in {seconds:.1?}", deployment.phase)),
            Some(wrong) => {
                tally.wrong_end += 1;
                let story = deployment.story();
                stage.say(&format!("{what}: WRONG END: {wrong}"));
                tally.complaints.push(format!("{what}: {wrong}\n{story}"));
            }
        }
        Ok(())
    }

    /// What is wrong with the end of the deployment, if anything.
    fn wrong(&self, cluster: &Cluster, deployment: &Deployment) -> Option<String> {
        if deployment.phase != "succeeded" {
            return Some(format!("{} instead of succeeded: {}", deployment.phase, deployment.reason));
        }
        let starts = deployment.count("starting");
        if starts != INSTANCES {
            return Some(format!("{starts} instances were started for {INSTANCES} places"));
        }
        cluster.settled("hello", INSTANCES, &self.version).err().map(|trouble| trouble.to_string())
    }
}
