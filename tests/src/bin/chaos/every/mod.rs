//! Each kind of fault at every event of each kind of deployment, one by one: first the deployment as it goes when all
//! is well, then once for each line of its timeline, with the fault in the moment when the line is there.

mod judge;
mod mode;
mod row;
mod scenario;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use temps_tests::cluster::Cluster;
use temps_tests::ground::Ground;
use temps_tests::machine;
use temps_tests::stage::{Stage, Verdict};
use temps_tests::trouble::Result;

pub(crate) use self::mode::Mode;
use self::row::Row;
pub(crate) use self::scenario::Scenario;
use crate::asked::Asked;

/// How long a silent node counts: some faults last longer.
const LEASE: &str = "3s";

pub(crate) fn run(
    stage: Stage,
    asked: &Asked,
    modes: &[Mode],
    scenarios: &[Scenario],
    every: usize,
) -> Result<Verdict> {
    stage.say(&format!("at every event on {} with seed {}", asked.ground.word(), asked.seed));
    let mut skipped = Vec::new();
    let mut rows = Vec::new();
    let mut timelines = BTreeMap::new();
    for mode in modes {
        if *mode == Mode::Link
            && asked.ground == Ground::Processes
            && let Err(why) = machine::places_possible()
        {
            stage.say(&format!("skipped: {}: {why}", mode.word()));
            skipped.push(format!("{}: {why}", mode.word()));
            continue;
        }
        let mut kept: Option<Cluster> = None;
        for scenario in scenarios {
            let mut cluster = match kept.take() {
                Some(cluster) => cluster,
                None => mode.cluster(asked.ground)?,
            };
            let row = Row::run(stage, &mut cluster, (asked.seed, every), (*mode, *scenario), &mut timelines)?;
            stage.say(&row.table());
            // What is left of a cluster in which something went wrong is for a person to look at.
            kept = row.complaints.is_empty().then_some(cluster);
            rows.push(row);
        }
        kept.map_or(Ok(()), Cluster::close)?;
    }
    Ok(verdict(asked, every, &rows, &skipped))
}

fn verdict(asked: &Asked, every: usize, rows: &[Row], skipped: &[String]) -> Verdict {
    let mut object = json!({
        "runtime": asked.ground.word(),
        "at": "every-event",
        "every": every,
        "seed": asked.seed,
        "skipped": skipped,
        "failures": rows.iter().flat_map(|row| &row.report.failures).collect::<Vec<_>>(),
    });
    for name in row::NUMBERS {
        let all = rows.iter().filter_map(|row| row.numbers().get(name).and_then(Value::as_u64));
        object[name] = all.sum::<u64>().into();
    }
    object["runs"] = rows.iter().map(Row::object).collect();
    Verdict { object, complaints: rows.iter().flat_map(|row| row.complaints.clone()).collect() }
}
