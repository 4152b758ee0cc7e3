//! What was asked on the command line.

use std::slice::Iter;

use temps_tests::ground::Ground;
use temps_tests::trouble::{Context, Result, Trouble};

use crate::every::{Mode, Scenario};

const USAGE: &str = "usage: chaos [--docker] [--rounds N] [--seed S] [--json]\n       chaos [--docker] --at every-event \
    [--mode leader|agent|edge|link] [--of rollout|canary|rollback] [--every N] [--seed S] [--json]";

/// What was asked.
pub(crate) struct Asked {
    pub(crate) seed: u64,
    pub(crate) ground: Ground,
    pub(crate) when: When,
}

/// When something goes wrong.
pub(crate) enum When {
    /// At moments of chance, in so many rounds.
    ByChance { rounds: u64 },
    /// At every event of a timeline, or at each `every`th.
    EveryEvent { modes: Vec<Mode>, scenarios: Vec<Scenario>, every: usize },
}

impl Asked {
    pub(crate) fn read(arguments: &[String]) -> Result<Self> {
        let (mut rounds, mut every, mut modes, mut scenarios) = (None, None, None, None);
        let (mut at, mut seed, mut ground) = (false, None, Ground::Processes);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--json" => {}
                "--docker" => ground = Ground::Docker,
                "--rounds" => rounds = Some(number(argument, &mut rest)?),
                "--seed" => seed = Some(number(argument, &mut rest)?),
                "--every" => every = Some(number(argument, &mut rest)?),
                "--at" => at = word(argument, &mut rest, |word| (word == "every-event").then_some(true))?,
                "--mode" => modes = Some(vec![word(argument, &mut rest, Mode::named)?]),
                "--of" => scenarios = Some(word(argument, &mut rest, Scenario::named)?),
                _ => return Err(Trouble::new(USAGE)),
            }
        }
        let of_every = every.is_some() || modes.is_some() || scenarios.is_some();
        if at && rounds.is_some() || !at && of_every {
            return Err(Trouble::new(USAGE));
        }
        let when = if at {
            When::EveryEvent {
                modes: modes.unwrap_or(Mode::ALL.to_vec()),
                scenarios: scenarios.unwrap_or(Scenario::ALL.to_vec()),
                every: usize::try_from(every.unwrap_or(1).max(1))?,
            }
        } else {
            When::ByChance { rounds: rounds.unwrap_or(10) }
        };
        Ok(Self { seed: seed.unwrap_or_else(|| rand::random_range(0..1_000_000)), ground, when })
    }
}

fn number(argument: &str, rest: &mut Iter<String>) -> Result<u64> {
    let value = rest.next().ok_or_else(|| Trouble::new(format!("{argument} needs a number")))?;
    value.parse().context(argument)
}

fn word<T>(argument: &str, rest: &mut Iter<String>, read: impl Fn(&str) -> Option<T>) -> Result<T> {
    let value = rest.next().map(String::as_str).unwrap_or_default();
    read(value).ok_or_else(|| Trouble::new(format!("{argument} {value}\n{USAGE}")))
}
