//! What is said when a deployment has ended: one sentence where it is live, and where it is not,
//! everything that a person needs to find out why.

use temps_core::model::Phase;
use temps_core::text;
use temps_wire::failure::{self, Failure};
use temps_wire::proto::{Deployment, DeploymentDetail};

use crate::screen::escape;

/// How a deployment stands, in a word or two.
#[must_use]
pub(crate) fn stands(d: &Deployment) -> String {
    let paused = if d.paused.is_empty() { "" } else { ", paused" };
    format!("{}{paused}", escape(&d.phase))
}

/// The whole text.
#[must_use]
pub(crate) fn text_of(detail: &DeploymentDetail) -> String {
    let deployment = detail.deployment.clone().unwrap_or_default();
    match Phase::named(&deployment.phase) {
        Some(Phase::Succeeded) => success(&deployment),
        Some(Phase::RolledBack | Phase::Failed | Phase::Cancelled) => {
            Failure::of(detail).as_ref().map(failure).unwrap_or_default()
        }
        Some(Phase::Superseded) => {
            format!("{} was superseded by a newer deployment before it began.", subject(&deployment))
        }
        Some(
            Phase::Queued
            | Phase::Building
            | Phase::Releasing
            | Phase::Stepping
            | Phase::Watching
            | Phase::Reverting,
        )
        | None => headline_of(&deployment),
    }
}

/// `Deployment #42 of my-app (production) is watching.`
#[must_use]
pub(crate) fn headline_of(d: &Deployment) -> String {
    format!("{} is {}.", subject(d), stands(d))
}

/// `Deployment #42 of my-app (production)`.
fn subject(d: &Deployment) -> String {
    escape(&failure::subject(d).text())
}

fn success(d: &Deployment) -> String {
    let head =
        format!("{} succeeded: r{} is live after {}.", subject(d), d.release, text::duration(d.duration_ms));
    match failure::traffic(d) {
        Some(traffic) => format!("{head} {traffic}"),
        None => head,
    }
}

fn failure(failure: &Failure) -> String {
    let mut lines = vec![escape(&failure.text), String::new()];
    lines.extend(failure.facts.iter().map(|(name, value)| format!("  {name:<9} {}", escape(value))));
    if !failure.log.is_empty() {
        let n = counted(failure.log.len(), "line");
        lines.push(format!("  {:<9} the last {n} of {}:", "Log", failure.log_of));
        lines.extend(failure.log.iter().map(|line| format!("    | {}", escape(line))));
    }
    lines.push(String::new());
    let [first, second] = &failure.next;
    lines.push(format!("  {:<9} {}", "Next", escape(first)));
    lines.push(format!("  {:<9} {}", "", escape(second)));
    lines.join("\n")
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { what.to_owned() } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests;
