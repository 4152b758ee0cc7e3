//! Cases that share a cluster, shown as a test binary shows its tests. After a case that failed the
//! cluster's data is kept, and the next case gets a new one.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::cluster::Cluster;
use crate::trouble::{Result, Trouble};

/// One case: what a user would notice, checked on a running cluster.
pub type Case = fn(&mut Cluster) -> Result;

/// What was asked of the test binary.
#[derive(Debug, Default)]
struct Asked {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    list: bool,
    ignored_only: bool,
}

/// Runs cases one after another.
#[must_use]
pub fn run(cases: &[(&str, Case)]) -> ExitCode {
    let asked = Asked::from_arguments();
    let chosen: Vec<_> = cases.iter().filter(|(name, _)| asked.wants(name)).collect();
    if asked.list {
        for (name, _) in &chosen {
            say(&format!("{name}: test\n"));
        }
        return ExitCode::SUCCESS;
    }
    say(&format!("\nrunning {} tests\n", chosen.len()));
    let begun = Instant::now();
    let mut cluster: Option<Cluster> = None;
    let mut failed = Vec::new();
    for (name, case) in &chosen {
        say(&format!("test {name} ... "));
        let started = Instant::now();
        let result = one(&mut cluster, *case);
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
    let passed = chosen.len().saturating_sub(failed.len());
    let out = cases.len() - chosen.len();
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!(
        "\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; {out} filtered out; \
         finished in {seconds:.2}s\n\n",
        failed.len()
    ));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(shared: &mut Option<Cluster>, case: Case) -> Result {
    let mut cluster = match shared.take() {
        Some(cluster) => cluster,
        None => Cluster::start()?,
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
