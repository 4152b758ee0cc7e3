//! Cases that share a cluster, shown as a test binary shows its tests. After a case that failed the
//! cluster's data is kept, and the next case gets a new one.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::cluster::Cluster;
use crate::ground::Ground;
use crate::trouble::{Result, Trouble};
use crate::wait;

/// One case: what a user would notice, checked on a running cluster.
pub type Case = fn(&mut Cluster) -> Result;

/// So many cases share a cluster; what they have deployed stays there, and takes its share of the machine.
const CASES_A_CLUSTER: usize = 8;

/// What was asked of the test binary.
#[derive(Debug, Default)]
struct Asked {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    list: bool,
    ignored_only: bool,
}

/// Runs cases one after another, on the ground that was asked for.
#[must_use]
pub fn run(cases: &[(&str, Case)]) -> ExitCode {
    match Ground::asked() {
        Ok(ground) => run_on(ground, cases),
        Err(trouble) => {
            say(&format!("{trouble}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Runs cases one after another on this ground. Where that is not possible here, each is told and counted
/// as ignored.
#[must_use]
pub fn run_on(ground: Ground, cases: &[(&str, Case)]) -> ExitCode {
    let asked = Asked::from_arguments();
    let chosen: Vec<_> = cases.iter().filter(|(name, _)| asked.wants(name)).collect();
    if asked.list {
        for (name, _) in &chosen {
            say(&format!("{name}: test\n"));
        }
        return ExitCode::SUCCESS;
    }
    say(&format!("\nrunning {} tests on {}\n", chosen.len(), ground.word()));
    let begun = Instant::now();
    // Without this an interrupt would leave machines and processes behind.
    let ready = wait::fail_on_signals();
    let impossible = if chosen.is_empty() { None } else { ready.and_then(|()| ground.possible()).err() };
    let mut ignored = 0;
    let mut cluster: Option<Cluster> = None;
    let mut cases_there = 0;
    let mut failed = Vec::new();
    for (name, case) in &chosen {
        if wait::is_interrupted() {
            failed.push(*name);
            continue;
        }
        say(&format!("test {name} ... "));
        let started = Instant::now();
        let result = match &impossible {
            Some(why) => Err(Trouble::skip(why.to_string())),
            None => {
                cases_there += 1;
                one(&mut cluster, ground, *case).and_then(|()| {
                    let old = cluster.take_if(|_| cases_there % CASES_A_CLUSTER == 0);
                    old.map_or(Ok(()), Cluster::close)
                })
            }
        };
        if let Err(trouble) = &result
            && trouble.skips()
        {
            ignored += 1;
            say(&format!("ignored, {trouble}\n"));
            continue;
        }
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        say(&format!("{word} ({:.1} s)\n", started.elapsed().as_secs_f64()));
        if let Err(trouble) = result {
            say(&format!("---- {name} ----\n{trouble}\n"));
            failed.push(*name);
            // Dropped without being closed, it keeps its data.
            drop(cluster.take());
        }
    }
    if let Some(Err(trouble)) = cluster.map(Cluster::close) {
        say(&format!("---- end ----\n{trouble}\n"));
        failed.push("end");
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    let passed = chosen.len().saturating_sub(failed.len() + ignored);
    let out = cases.len() - chosen.len();
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!(
        "\ntest result: {word}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {out} filtered out; \
         finished in {seconds:.2}s\n\n",
        failed.len()
    ));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(shared: &mut Option<Cluster>, ground: Ground, case: Case) -> Result {
    let mut cluster = match shared.take() {
        Some(cluster) => cluster,
        None => Cluster::start(ground)?,
    };
    let result = catch_unwind(AssertUnwindSafe(|| {
        case(&mut cluster)?;
        cluster.heal()
    }));
    *shared = Some(cluster);
    result.unwrap_or_else(|_| Err(Trouble::new("the case panicked")))
}

impl Asked {
    fn from_arguments() -> Self {
        let mut asked = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => asked.exact = true,
                "--list" => asked.list = true,
                "--ignored" => asked.ignored_only = true,
                "--skip" => asked.skips.extend(arguments.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                filter => asked.filters.push(filter.to_owned()),
            }
        }
        asked
    }

    fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        !self.ignored_only
            && (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skips.iter().any(fits)
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    // A closed stdout has nobody to tell.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
