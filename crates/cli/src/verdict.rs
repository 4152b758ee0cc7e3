//! What is said when a deployment has ended: one sentence where it is live, and where it is not,
//! everything that a person needs to find out why.

use temps_core::model::Phase;
use temps_core::text;
use temps_core::verdict::{self, Stage, Subject};
use temps_wire::proto::{Deployment, DeploymentDetail, Instance};

use crate::exit::phase_of;
use crate::screen::escape;

/// How many log lines of the instance at fault are shown.
const LOG_LINES: usize = 20;

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
    match phase_of(&deployment.phase) {
        Some(Phase::Succeeded) => success(&deployment),
        Some(Phase::RolledBack | Phase::Failed | Phase::Cancelled) => failure(detail, &deployment),
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
    told(d, &escape(&d.project), &escape(&d.environment)).text()
}

/// In the words that notices have, too.
fn told<'a>(d: &Deployment, project: &'a str, environment: &'a str) -> Subject<'a> {
    Subject {
        word: if d.kind == "rollback" { "Rollback" } else { "Deployment" },
        number: d.number,
        project,
        environment,
        release: d.release,
        from_release: d.from_release,
        phase: phase_of(&d.phase),
    }
}

fn success(d: &Deployment) -> String {
    let head =
        format!("{} succeeded: r{} is live after {}.", subject(d), d.release, text::duration(d.duration_ms));
    match traffic(d) {
        Some(traffic) => format!("{head} {traffic}"),
        None => head,
    }
}

/// `1204 requests meanwhile, 0 failed, 3 answered 5xx by the application.`
fn traffic(d: &Deployment) -> Option<String> {
    let failed = d.platform_errors.unwrap_or_default();
    Some(verdict::traffic(d.requests?, failed, d.app_errors.unwrap_or_default()))
}

fn stage(detail: &DeploymentDetail) -> Stage {
    let mut stage = Stage::Replacing;
    for event in &detail.events {
        match event.kind.as_str() {
            "building" => stage = Stage::Building,
            "release_started" => stage = Stage::Releasing,
            "built" | "release_done" | "starting" => stage = Stage::Replacing,
            "failed" => stage = Stage::Last,
            _ => {}
        }
    }
    stage
}

fn failure(detail: &DeploymentDetail, d: &Deployment) -> String {
    let stage = stage(detail);
    let (project, environment) = (escape(&d.project), escape(&d.environment));
    let subject = told(d, &project, &environment);
    let mut lines = vec![subject.failure(stage), String::new()];
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("  {name:<9} {}", escape(value)));
        }
    };
    fact("Why", &d.reason);
    if let Some(instance) = at_fault(detail, d).filter(|_| stage != Stage::Building) {
        let what =
            format!("{} ({}, r{}) on {}", instance.id, instance.process, instance.release, instance.node);
        fact("Instance", &what);
        fact("Exit", &instance.exit);
        fact("Check", &instance.last_check);
    }
    fact("Now", &now(detail, d, stage));
    fact("Traffic", &traffic(d).unwrap_or_default());
    if !d.log_tail.is_empty() {
        let tail = &d.log_tail[d.log_tail.len().saturating_sub(LOG_LINES)..];
        let of = match stage {
            Stage::Building => "the build",
            Stage::Releasing | Stage::Last => "the release command",
            Stage::Replacing => "the instance at fault",
        };
        lines.push(format!("  {:<9} the last {} of {of}:", "Log", counted(tail.len(), "line")));
        lines.extend(tail.iter().map(|line| format!("    | {}", escape(line))));
    }
    lines.push(String::new());
    let [first, second] = subject.next(stage);
    lines.push(format!("  {:<9} {first}", "Next"));
    lines.push(format!("  {:<9} {second}", ""));
    lines.join("\n")
}

/// What serves after all.
fn now(detail: &DeploymentDetail, d: &Deployment, stage: Stage) -> String {
    let serving_of = |release: u64| -> Vec<&str> {
        let serving = detail.instances.iter().filter(|i| i.release == release && i.state == "serving");
        serving.map(|i| i.id.as_str()).collect()
    };
    if stage == Stage::Last {
        return format!(
            "r{} serves on {}; what its release command was to take away may still be there",
            d.release,
            serving_of(d.release).join(", ")
        );
    }
    let Some(from) = d.from_release else { return "nothing serves".to_owned() };
    let serving = serving_of(from);
    if stage != Stage::Replacing {
        let on = if serving.is_empty() { String::new() } else { format!(" on {}", serving.join(", ")) };
        let untouched = match stage {
            Stage::Building => "nothing was changed",
            Stage::Releasing | Stage::Replacing | Stage::Last => "no instance was replaced",
        };
        return format!("r{from} serves{on} as before; {untouched}");
    }
    match (phase_of(&d.phase), serving.is_empty()) {
        (_, false) => {
            format!("r{from} serves on {}; what was started of r{} is gone", serving.join(", "), d.release)
        }
        (Some(Phase::RolledBack | Phase::Cancelled), true) => {
            format!("r{from} is live; what was started of r{} is gone", d.release)
        }
        (_, true) => String::new(),
    }
}

/// The instance that the reason names, or else the last one of the release that something happened to.
fn at_fault<'a>(detail: &'a DeploymentDetail, d: &Deployment) -> Option<&'a Instance> {
    let find = |id: &str| detail.instances.iter().find(|i| i.id == id);
    let named = d.reason.split(|c: char| !c.is_ascii_alphanumeric()).find_map(find);
    let seen = || {
        let bad = |kind: &str| matches!(kind, "crashed" | "unhealthy");
        detail.events.iter().rev().filter(|e| bad(&e.kind)).find_map(|e| find(&e.instance))
    };
    let ended = || detail.instances.iter().rev().find(|i| i.release == d.release && !i.exit.is_empty());
    named.or_else(seen).or_else(ended)
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { what.to_owned() } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests;
