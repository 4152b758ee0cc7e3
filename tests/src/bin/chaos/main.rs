//! Deployments under load while servers die at random moments; on containers, engines die, too, and
//! somebody's hands are in the way. Or one fault at every event of a timeline. See `scripts/chaos`.

mod asked;
mod every;
mod fault;
mod round;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::ground::Ground;
use temps_tests::load::{Load, Mix, Report};
use temps_tests::stage::{self, Stage, Verdict};
use temps_tests::trouble::Result;
use temps_tests::wait;

use crate::asked::{Asked, When};
use crate::fault::Fault;
use crate::round::Round;

/// The application that is deployed again and again, and one beside it whose answers must never be mixed up with it.
const PROJECTS: [&str; 2] = ["hello", "other"];

/// The longest time between a kill and the restart, in milliseconds.
const AWAY_MS: u64 = 4_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    stage::run(json, |stage| {
        let asked = Asked::read(&arguments)?;
        match &asked.when {
            When::ByChance { rounds } => by_chance(stage, &asked, *rounds),
            When::EveryEvent { modes, scenarios, every } => {
                every::run(stage, &asked, modes, scenarios, *every)
            }
        }
    })
}

/// What was found wrong, and what was done.
#[derive(Default)]
struct Tally {
    stuck: u64,
    wrong_end: u64,
    /// Rounds in which two containers got each other's address, of those that tried.
    swaps: [u64; 2],
    complaints: Vec<String>,
}

fn by_chance(stage: Stage, asked: &Asked, rounds: u64) -> Result<Verdict> {
    let mut rng = StdRng::seed_from_u64(asked.seed);
    stage.say(&format!("{rounds} rounds on {} with seed {}", asked.ground.word(), asked.seed));
    let mut cluster = Cluster::start(asked.ground)?;
    cluster.deploy_well(&App::quick("v0")?)?;
    let mut loads = vec![Load::start(cluster.edges(), Mix::everything("hello.localhost"))];
    if asked.ground == Ground::Docker {
        cluster.deploy_well(&App::quick("w0")?.set("project.name", PROJECTS[1])?)?;
        loads.push(Load::start(cluster.edges(), Mix::short("other.localhost")));
    }
    let mut tally = Tally::default();
    let (mut victims, mut faults): (Vec<usize>, Vec<Fault>) = (Vec::new(), Vec::new());
    // The moment of the fault is chosen within the time that the last deployment took.
    let mut usual = Duration::from_secs(6);
    for number in 1..=rounds {
        let round = Round {
            number,
            version: format!("v{number}{}", if number % 2 == 0 { "a" } else { "b" }),
            victim: next(&mut victims, &mut rng, || (0..cluster.nodes.len()).collect()),
            fault: next(&mut faults, &mut rng, || Fault::all(asked.ground)),
            moment: usual.mul_f64(rng.random_range(0.0..1.0)),
            away: Duration::from_millis(rng.random_range(0..AWAY_MS)),
        };
        let begun = Instant::now();
        round.run(stage, &mut cluster, &loads, &mut tally)?;
        usual = begun.elapsed().clamp(Duration::from_secs(2), Duration::from_secs(12));
    }
    wait::nap(Duration::from_secs(1))?;
    let reports: Vec<Report> = loads.into_iter().map(Load::stop).collect::<Result<_>>()?;
    let verdict = verdict(stage, asked, rounds, tally, &reports);
    if verdict.complaints.is_empty() {
        cluster.close()?;
    }
    Ok(verdict)
}

/// The next one of all, in an order of chance, each before any comes again.
fn next<T: Default>(left: &mut Vec<T>, rng: &mut StdRng, all: impl FnOnce() -> Vec<T>) -> T {
    if left.is_empty() {
        *left = all();
        left.shuffle(rng);
    }
    left.pop().unwrap_or_default()
}

fn verdict(stage: Stage, asked: &Asked, rounds: u64, mut tally: Tally, reports: &[Report]) -> Verdict {
    for report in reports {
        stage.say(&report.table());
    }
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    let failed = sum(|report| report.failed + report.websockets_cut);
    if failed > 0 {
        tally.complaints.push(format!("{failed} requests failed or were cut"));
    }
    let [swapped, tried] = tally.swaps;
    if tried > 0 && swapped == 0 {
        tally.complaints.push(format!("in none of {tried} rounds did containers get each other's address"));
    }
    let object = json!({
        "runtime": asked.ground.word(),
        "rounds": rounds,
        "failed": failed,
        "stuck": tally.stuck,
        "wrong_end": tally.wrong_end,
        "seed": asked.seed,
        "requests": sum(|report| report.requests),
        "websockets_cut": sum(|report| report.websockets_cut),
        "cut_by_hand": sum(|report| report.cut_by_hand),
        "answers_of_strangers": sum(Report::strangers),
        "addresses_swapped": swapped,
        "failures": reports.iter().flat_map(|report| &report.failures).collect::<Vec<_>>(),
    });
    Verdict { object, complaints: tally.complaints }
}
