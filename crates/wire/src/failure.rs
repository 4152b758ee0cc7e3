//! How a deployment that is not live is told: the facts, in the words that the command line and pages share.

use temps_core::model::Phase;
use temps_core::verdict::{self, Stage, Subject};

use crate::proto::{Deployment, DeploymentDetail, Instance};

/// How many log lines are told.
const LOG_LINES: usize = 20;

/// Everything that a person needs to find out why. Nothing of it is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// That it is not live, and what is, in a sentence.
    pub text: String,
    /// What is known, each with its name: `Why`, `Instance`, `Exit`, `Check`, `Now`, `Traffic`.
    pub facts: Vec<(&'static str, String)>,
    /// Whose log lines these are, as in `the instance at fault`.
    pub log_of: &'static str,
    /// The last of them; empty where there are none.
    pub log: Vec<String>,
    /// How far it had come.
    pub stage: Stage,
    /// The commands that show more.
    pub next: [String; 2],
}

impl Failure {
    /// Nothing where the deployment has not ended, or has ended otherwise.
    #[must_use]
    pub fn of(detail: &DeploymentDetail) -> Option<Self> {
        let d = detail.deployment.as_ref()?;
        let phase = Phase::named(&d.phase)?;
        if !matches!(phase, Phase::RolledBack | Phase::Failed | Phase::Cancelled) {
            return None;
        }
        let stage = stage(detail);
        let subject = subject(d);
        let mut facts = vec![("Why", d.reason.clone())];
        if let Some(instance) = at_fault(detail, d).filter(|_| stage != Stage::Building) {
            let Instance { id, process, release, node, exit, last_check, .. } = instance;
            facts.push(("Instance", format!("{id} ({process}, r{release}) on {node}")));
            facts.push(("Exit", exit.clone()));
            facts.push(("Check", last_check.clone()));
        }
        facts.push(("Now", now(detail, d, stage)));
        facts.push(("Traffic", traffic(d).unwrap_or_default()));
        facts.retain(|(_, value)| !value.is_empty());
        let log_of = match stage {
            Stage::Building => "the build",
            Stage::Releasing | Stage::Last => "the release command",
            Stage::Replacing => "the instance at fault",
        };
        let log = d.log_tail[d.log_tail.len().saturating_sub(LOG_LINES)..].to_vec();
        Some(Self { text: subject.failure(stage), facts, log_of, log, stage, next: subject.next(stage) })
    }
}

/// A deployment, in the words that notices have, too.
#[must_use]
pub fn subject(d: &Deployment) -> Subject<'_> {
    Subject {
        word: if d.kind == "rollback" { "Rollback" } else { "Deployment" },
        number: d.number,
        project: &d.project,
        environment: &d.environment,
        release: d.release,
        from_release: d.from_release,
        phase: Phase::named(&d.phase),
    }
}

/// `1204 requests meanwhile, 0 failed, 3 answered 5xx by the application.` Nothing where no traffic is known.
#[must_use]
pub fn traffic(d: &Deployment) -> Option<String> {
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
    match (Phase::named(&d.phase), serving.is_empty()) {
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
