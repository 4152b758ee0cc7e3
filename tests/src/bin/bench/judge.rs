//! How often a good release is taken back by its requests, and how soon a bad one.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use temps_tests::stage::{Stage, Verdict};
use temps_tests::trouble::Result;

use crate::scene::{End, Nature, Scene};

/// Bad deployments of each kind.
const BAD: u64 = 300;
/// Of ten thousand good ones, fewer than so many may be taken back: 0.1 %.
const FALSE_MAX: u64 = 10;

const fn nature(rate: f64, errors: f64, refused: f64) -> Nature {
    Nature { rate, errors, refused }
}

pub(crate) fn run(stage: Stage, deployments: u64) -> Result<Verdict> {
    let scene = Scene::watched()?;
    let (mut falsely, mut naive) = (0, 0);
    let mut rng = StdRng::seed_from_u64(1);
    for number in 0..deployments {
        // From one request in two seconds to fifty a second, at the error rates that services have.
        let rate = [0.5, 2.0, 10.0, 50.0][rng.random_range(0..4)];
        let errors = [0.0, 0.005, 0.02, 0.02, 0.08][rng.random_range(0..5)];
        let good = nature(rate, errors, 0.0);
        let end = scene.clone().watch(&mut rng, good, good);
        falsely += u64::from(end.taken_back);
        naive += u64::from(end.naive);
        if number % 1_000 == 999 {
            stage.say(&format!("{} good deployments, {falsely} taken back", number + 1));
        }
    }
    let mut detection = Vec::new();
    let mut missed = Vec::new();
    let noisy = nature(20.0, 0.02, 0.0);
    for (what, old, new, must) in [
        ("errors, 2% to 20%", noisy, nature(20.0, 0.2, 0.0), true),
        ("errors, 0.2% to 10%", nature(20.0, 0.002, 0.0), nature(20.0, 0.1, 0.0), true),
        ("errors, 2% to 6%", noisy, nature(20.0, 0.06, 0.0), false),
        ("half of the connections fail", noisy, nature(20.0, 0.02, 0.5), true),
        ("all connections fail", noisy, nature(20.0, 0.0, 1.0), true),
    ] {
        let ends: Vec<End> = (0..BAD).map(|_| scene.clone().watch(&mut rng, old, new)).collect();
        let row = row(what, &ends);
        stage.say(&format!("{what}: {row}"));
        let found = ends.iter().filter(|end| end.taken_back).count();
        if must && found < ends.len() {
            missed.push(format!("{what}: {found} of {} found", ends.len()));
        }
        detection.push(row);
    }
    let mut complaints = missed;
    if falsely * 10_000 >= FALSE_MAX * deployments.max(1) {
        complaints.push(format!("{falsely} of {deployments} good deployments were taken back"));
    }
    let object = json!({
        "good": {
            "deployments": deployments,
            "false_rollbacks": falsely,
            "false_rollback_percent": 100.0 * falsely as f64 / deployments.max(1) as f64,
            "naive_false_rollbacks": naive,
        },
        "detection": detection,
        "requests_per_second": 20,
    });
    Ok(Verdict { object, complaints })
}

fn row(what: &str, ends: &[End]) -> Value {
    let found: Vec<&End> = ends.iter().filter(|end| end.taken_back).collect();
    let at = |of: fn(&End) -> u64, percent: usize| {
        let mut all: Vec<u64> = found.iter().map(|end| of(end)).collect();
        all.sort_unstable();
        all.get((all.len() * percent / 100).min(all.len().saturating_sub(1))).copied()
    };
    json!({
        "what": what,
        "deployments": ends.len(),
        "taken_back": found.len(),
        "median_requests": at(|end| end.requests, 50),
        "p95_requests": at(|end| end.requests, 95),
        "median_seconds": at(|end| end.seconds, 50),
        "p95_seconds": at(|end| end.seconds, 95),
    })
}
