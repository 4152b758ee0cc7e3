//! What people are told: which events are worth it, and the words. Where and how they are told is not known here.
//!
//! A notice is written when its event happens, on every node alike. It names instances, machines, exits and answers to
//! health checks, and never what an application printed: that may hold secrets, and a notice leaves the cluster.

use crate::domains;
use crate::model::{
    Cause, CertificateFrom, CertificateId, ClusterState, Deployment, Event, InstanceId, Kind, Millis, Notice,
    Outcome, Phase, Topic, What,
};
use crate::text;
use crate::verdict::{Stage, Subject, traffic};

/// The longest title and the longest other line, in characters.
const TITLE_MAX: usize = 300;
const LINE_MAX: usize = 600;

const DAY: Millis = 24 * 60 * 60 * 1_000;
/// With so many days left it is told that a certificate ends, and once more; the fewest first.
const WARNED: [u32; 2] = [3, 14];

/// What an event is about, where it is worth telling. What concerns everybody stands in the timelines of deployments,
/// too, and is told once.
#[must_use]
pub fn topic(event: &Event) -> Option<Topic> {
    let once = |topic| event.deployment.is_none().then_some(topic);
    match &event.what {
        What::Accepted { .. } => Some(Topic::Started),
        What::Ended { phase, .. } => match phase {
            Phase::Succeeded => Some(Topic::Succeeded),
            Phase::RolledBack => Some(Topic::RolledBack),
            Phase::Failed => Some(Topic::Failed),
            Phase::Cancelled => Some(Topic::Cancelled),
            Phase::Superseded
            | Phase::Queued
            | Phase::Building
            | Phase::Releasing
            | Phase::Stepping
            | Phase::Watching
            | Phase::Reverting => None,
        },
        What::NodeLost { .. } => once(Topic::NodeLost),
        What::NodeReturned { .. } => once(Topic::NodeReturned),
        What::NodeDrained { .. } => once(Topic::NodeDrained),
        What::NodeRemoved { .. } => once(Topic::NodeRemoved),
        What::QuorumAtRisk { .. } => once(Topic::QuorumAtRisk),
        What::DiskLow { .. } => once(Topic::DiskLow),
        What::CertificateFailed { .. } => Some(Topic::CertificateFailed),
        What::CertificateExpiring { .. } => Some(Topic::CertificateExpiring),
        What::Building { .. }
        | What::Built { .. }
        | What::ReleaseStarted { .. }
        | What::ReleaseDone { .. }
        | What::Starting { .. }
        | What::Healthy { .. }
        | What::Admitted { .. }
        | What::Unhealthy { .. }
        | What::Draining { .. }
        | What::Drained { .. }
        | What::DrainTimedOut { .. }
        | What::Removed { .. }
        | What::Crashed { .. }
        | What::Judged { .. }
        | What::Watching { .. }
        | What::Reverting { .. }
        | What::Failed { .. }
        | What::Share { .. }
        | What::Paused { .. }
        | What::Resumed { .. }
        | What::Promoted { .. }
        | What::Scaled { .. }
        | What::SettingsChanged(_)
        | What::DomainAdded { .. }
        | What::DomainRemoved { .. }
        | What::CertificateIssued { .. }
        | What::MaintenanceBegan { .. }
        | What::MaintenanceEnded { .. }
        | What::NodeJoined { .. }
        | What::NodeCordoned { .. }
        | What::NodeUncordoned { .. }
        | What::NodeDraining { .. } => None,
    }
}

/// What people are told of an event that happens at this state, where it is worth telling.
#[must_use]
pub fn notice(state: &ClusterState, event: &Event) -> Option<Notice> {
    let topic = topic(event)?;
    let environment = event.environment.and_then(|id| state.environments.get(&id));
    let project = environment.and_then(|e| state.projects.get(&e.project));
    let mut notice = Notice {
        topic,
        wall: event.wall,
        at: state.clock,
        project: project.map(|p| p.name.clone()).unwrap_or_default(),
        environment: environment.map(|e| e.name.clone()).unwrap_or_default(),
        deployment: None,
        title: format!("{}.", event.what.line_with(&|node| state.node_name(node))),
        lines: Vec::new(),
    };
    match event.deployment.and_then(|id| state.deployments.get(&id)) {
        Some(deployment) => of_deployment(state, deployment, &event.what, &mut notice),
        None => notice.lines.extend(advice(topic).map(str::to_owned)),
    }
    notice.title = bounded(&notice.title, TITLE_MAX);
    for line in &mut notice.lines {
        *line = bounded(line, LINE_MAX);
    }
    Some(notice)
}

/// The notice by which somebody sees whether notices arrive.
#[must_use]
pub fn test(state: &ClusterState, wall: Millis, channel: &str, by: &str) -> Notice {
    Notice {
        topic: Topic::Test,
        wall,
        at: state.clock,
        project: String::new(),
        environment: String::new(),
        deployment: None,
        title: bounded(&format!("Test of {channel:?}, asked for by {by}."), TITLE_MAX),
        lines: vec!["Notices of this cluster arrive here.".to_owned()],
    }
}

fn bounded(text: &str, longest: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(longest).collect()
}

/// What to do about it.
fn advice(topic: Topic) -> Option<&'static str> {
    match topic {
        Topic::NodeLost => Some("What ran there is started elsewhere, where it fits. Next: temps nodes list"),
        Topic::QuorumAtRisk => Some(
            "With one more lost, nothing can be changed until one returns; applications go on being served. Next: temps nodes list",
        ),
        Topic::CertificateFailed => {
            Some("It is tried again by itself. Next: temps domains list, temps domains verify NAME")
        }
        Topic::CertificateExpiring => Some("Next: temps domains list"),
        Topic::DiskLow => Some("Deployments that need more are refused. Next: temps nodes list"),
        Topic::Started
        | Topic::Succeeded
        | Topic::RolledBack
        | Topic::Failed
        | Topic::Cancelled
        | Topic::NodeReturned
        | Topic::NodeDrained
        | Topic::NodeRemoved
        | Topic::Test => None,
    }
}

fn of_deployment(state: &ClusterState, d: &Deployment, what: &What, notice: &mut Notice) {
    let reason = d.cause.as_ref().map(|cause| cause.sentence_with(&|node| state.node_name(node)));
    let subject = Subject {
        word: match d.kind {
            Kind::Deploy => "Deployment",
            Kind::Rollback { .. } => "Rollback",
        },
        number: d.id.0,
        project: &notice.project,
        environment: &notice.environment,
        release: d.to.0,
        from_release: d.from.map(|release| release.0),
        phase: Some(d.phase),
    };
    let mut lines = Vec::new();
    notice.title = match notice.topic {
        Topic::Started => format!("{} was accepted: {}.", subject.text(), what.line()),
        Topic::Succeeded => {
            let began = d.started_at.unwrap_or(d.created_at);
            let took = text::duration(d.ended_at.unwrap_or(state.clock).saturating_sub(began));
            lines.extend(counted(d));
            lines.extend(judged(state, d));
            format!("{} succeeded: r{} is live after {took}.", subject.text(), subject.release)
        }
        Topic::RolledBack | Topic::Failed | Topic::Cancelled => {
            let stage = stage(state, d);
            lines.extend(reason.as_ref().map(|why| format!("Why: {why}")));
            if stage != Stage::Building {
                lines.extend(at_fault(state, d));
            }
            lines.extend(counted(d));
            lines.push(format!("Next: {}", subject.next(stage).join(", ")));
            if d.phase == Phase::Failed && stage != Stage::Last {
                let (project, environment) = (subject.project, subject.environment);
                lines.push(format!("Go back: temps deployments rollback -p {project} -e {environment}"));
            }
            subject.failure(stage)
        }
        Topic::NodeLost
        | Topic::NodeReturned
        | Topic::NodeDrained
        | Topic::NodeRemoved
        | Topic::QuorumAtRisk
        | Topic::CertificateFailed
        | Topic::CertificateExpiring
        | Topic::DiskLow
        | Topic::Test => return,
    };
    notice.lines = lines;
    let reason = bounded(&reason.unwrap_or_default(), LINE_MAX);
    notice.deployment = Some(Outcome { number: d.id, phase: d.phase, reason });
}

fn stage(state: &ClusterState, d: &Deployment) -> Stage {
    let own = state.events.values().filter(|event| event.deployment == Some(d.id));
    own.rev().find_map(|event| Stage::begun_by(&event.what)).unwrap_or(Stage::Replacing)
}

fn counted(d: &Deployment) -> Option<String> {
    let total = d.counted.is_known().then(|| d.counted.total().traffic)?;
    Some(format!("Traffic: {}", traffic(total.requests, total.failed(), total.app_errors)))
}

/// What the requests said about the release.
fn judged(state: &ClusterState, d: &Deployment) -> Option<String> {
    state.events.values().rev().filter(|event| event.deployment == Some(d.id)).find_map(|event| {
        let What::Judged { finding } = &event.what else { return None };
        Some(format!("Judged: {}", finding.sentence()))
    })
}

/// The instance that the reason names, or else the last one that ended by itself.
fn at_fault(state: &ClusterState, d: &Deployment) -> Vec<String> {
    let named = match &d.cause {
        Some(
            Cause::Exited { instance, .. }
            | Cause::Unhealthy { instance, .. }
            | Cause::ReleaseCommand { instance, .. },
        ) => Some(*instance),
        Some(Cause::CrashLoop { .. }) => last_crashed(state, d),
        Some(
            Cause::Traffic { .. }
            | Cause::Deadline { .. }
            | Cause::Build { .. }
            | Cause::Schema { .. }
            | Cause::Cancelled { .. },
        )
        | None => None,
    };
    let Some(instance) = named.and_then(|id| state.instances.get(&id)) else { return Vec::new() };
    let mut lines = vec![format!(
        "Instance: {} ({}, {}) on {}",
        instance.id,
        instance.process,
        instance.release,
        state.node_name(instance.node)
    )];
    let exit = instance.exit.as_ref().filter(|exit| !exit.asked);
    lines.extend(exit.map(|exit| format!("Exit: {}", exit.how())));
    lines.extend(instance.last_check.as_ref().map(|check| format!("Check: {check}")));
    lines
}

fn last_crashed(state: &ClusterState, d: &Deployment) -> Option<InstanceId> {
    state.events.values().rev().filter(|event| event.deployment == Some(d.id)).find_map(|event| {
        let What::Crashed { instance, .. } = &event.what else { return None };
        Some(*instance)
    })
}

/// Certificates with which names are answered, that end soon at this wall time, that nothing renews, and of which that
/// was not told; with the days within which they end.
#[must_use]
pub fn expiring(state: &ClusterState, wall: Millis) -> Vec<(CertificateId, u32)> {
    let mut soon = Vec::new();
    for (id, certificate) in &state.tls.certificates {
        let left = certificate.not_after.saturating_sub(wall);
        let within = WARNED.into_iter().find(|days| left <= u64::from(*days) * DAY);
        let told = state.notifications.warned.get(id).copied();
        if let Some(days) = within.filter(|days| told.is_none_or(|told| told > *days)) {
            soon.push((*id, days));
        }
    }
    // Looking at all names takes time, and nearly always there is none.
    if soon.is_empty() {
        return soon;
    }
    let names = domains::names(state);
    soon.retain(|(id, _)| {
        let mut shown =
            names.keys().filter(|name| state.tls.certificate_for(name).is_some_and(|(best, _)| best == *id));
        let Some(certificate) = state.tls.certificates.get(id) else { return false };
        match certificate.from {
            CertificateFrom::Uploaded => shown.next().is_some(),
            CertificateFrom::Acme => {
                let fails = |name: &String| state.tls.orders.get(name).is_some_and(|o| o.failure.is_some());
                shown.any(fails)
            }
        }
    });
    soon
}
