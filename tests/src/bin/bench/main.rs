//! Programs that measure; see `scripts/bench`.

mod edge;
mod judge;
mod scene;

use std::process::ExitCode;

use temps_tests::stage;
use temps_tests::trouble::Trouble;

const USAGE: &str = "usage: bench judge [--deployments N] [--json], \
     or bench edge [--rounds N] [--seconds S] [--workload small|large|close] [--json]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    stage::run(json, |stage| {
        let words: Vec<&str> =
            arguments.iter().map(String::as_str).filter(|word| *word != "--json").collect();
        match words.as_slice() {
            ["judge"] => judge::run(stage, 10_000),
            ["judge", "--deployments", number] => {
                let number = number.parse().map_err(|_| Trouble::new("--deployments needs a number"))?;
                judge::run(stage, number)
            }
            ["edge", words @ ..] => edge::run(stage, &edge::Wish::read(words)?),
            _ => Err(Trouble::new(USAGE)),
        }
    })
}
