//! How a release takes the place of another: `strategy` and `[deploy.canary]`.

use temps_core::model::{CanaryStep, Strategy};
use temps_core::strategy::{CANARY_STEPS_MAX, is_cookie_name};
use toml::Spanned;

use super::found::{Found, millis};
use super::problem::Problem;
use super::raw;

/// Shares in percent, and how long each is held, where the file names none.
const STEPS: [(u32, u64); 2] = [(5, 120_000), (25, 120_000)];

/// The strategy, the steps of a canary, and the cookie that its clients stay by.
pub(super) fn strategy(raw: &raw::Deploy, found: &mut Found) -> (Strategy, Vec<CanaryStep>, Option<String>) {
    let mut strategy = Strategy::default();
    if let Some(written) = &raw.strategy {
        match Strategy::ALL.into_iter().find(|known| known.word() == written.get_ref()) {
            Some(known) => strategy = known,
            None => {
                let message = format!("there is no strategy \"{}\"", written.get_ref());
                let words = Strategy::ALL.map(|known| format!("\"{}\"", known.word())).join(", ");
                found.0.push(Problem::at(Some(written.span()), message).help(format!("there are {words}")));
            }
        }
    }
    let Some(canary) = &raw.canary else {
        let steps = if strategy == Strategy::Canary { STEPS.map(step).into() } else { Vec::new() };
        return (strategy, steps, None);
    };
    if strategy != Strategy::Canary && raw.strategy.as_ref().is_none_or(|s| s.get_ref() != "canary") {
        let problem = Problem::at(Some(canary.span()), "[deploy.canary] is for the strategy \"canary\"");
        found.0.push(problem.help("write `strategy = \"canary\"` in [deploy], or leave it out"));
        return (strategy, Vec::new(), None);
    }
    let canary = canary.get_ref();
    let sticky = canary.sticky.as_ref().map(|cookie| {
        if !is_cookie_name(cookie.get_ref()) {
            found.at(cookie.span(), "sticky is the name of a cookie, at most 64 characters");
        }
        cookie.get_ref().clone()
    });
    let steps = canary.steps.as_ref().map_or_else(|| STEPS.map(step).into(), |steps| written(steps, found));
    (strategy, steps, sticky)
}

fn step((weight, hold): (u32, u64)) -> CanaryStep {
    CanaryStep { weight, hold }
}

fn written(steps: &Spanned<Vec<Spanned<raw::CanaryStep>>>, found: &mut Found) -> Vec<CanaryStep> {
    if !(1..=CANARY_STEPS_MAX).contains(&steps.get_ref().len()) {
        found.at(steps.span(), format!("a canary has 1 to {CANARY_STEPS_MAX} steps"));
    }
    let mut before = 0;
    let mut all = Vec::new();
    for written in steps.get_ref() {
        let raw::CanaryStep { weight, hold } = written.get_ref();
        let Some(weight) = weight else {
            let problem =
                Problem::at(Some(written.span()), "a step needs a weight, the share of requests in percent");
            found.0.push(problem.help("write for example { weight = 5, hold = \"2m\" }"));
            continue;
        };
        let percent = *weight.get_ref();
        if !(1..=99).contains(&percent) {
            found.at(
                weight.span(),
                "weight must be from 1 to 99 percent; all requests follow after the last step",
            );
        } else if percent <= before {
            found.at(
                weight.span(),
                format!("weight must grow from step to step, and the one before is {before}"),
            );
        }
        before = percent;
        all.push(CanaryStep { weight: percent, hold: millis(hold, STEPS[0].1) });
    }
    all
}
