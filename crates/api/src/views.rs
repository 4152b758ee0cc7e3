//! The state in the words of the API.

use std::collections::{BTreeMap, BTreeSet};

use temps_core::model::{
    Artifact, ClusterState, Deployment, DeploymentId, Environment, Event, Form, Instance, Kind, Millis, Node,
    NodeId, NodeStatus, Release, Seen, Source, Want, What,
};
use temps_core::text;
use temps_wire::proto;

use crate::settings;

/// Everything that is worth working out once for many deployments.
pub(crate) struct Views<'a> {
    state: &'a ClusterState,
    now: Millis,
    /// Wall times of the first event, and of the end.
    spans: BTreeMap<DeploymentId, (Millis, Option<Millis>)>,
    rollback_targets: BTreeSet<DeploymentId>,
}

impl<'a> Views<'a> {
    /// `now` is the cluster clock.
    pub(crate) fn new(state: &'a ClusterState, now: Millis) -> Self {
        let mut spans = BTreeMap::new();
        for event in state.events.values() {
            let Some(deployment) = event.deployment else { continue };
            let (_, end) = spans.entry(deployment).or_insert((event.wall, None));
            if matches!(event.what, What::Ended { .. }) {
                *end = Some(event.wall);
            }
        }
        let rollback_targets = state.environments.values().flat_map(|e| state.rollback_targets(e)).collect();
        Self { state, now: now.max(state.clock), spans, rollback_targets }
    }

    pub(crate) fn deployment(&self, d: &Deployment) -> proto::Deployment {
        let (project, environment) = names(self.state, self.state.environments.get(&d.environment));
        let (created, ended) = self.spans.get(&d.id).copied().unwrap_or_default();
        let release = self.state.releases.get(&d.to);
        let began = d.started_at.unwrap_or(d.created_at);
        let traffic = d.counted.is_known().then(|| d.counted.total().traffic);
        proto::Deployment {
            number: d.id.0,
            project,
            environment,
            kind: match d.kind {
                Kind::Deploy => "deploy",
                Kind::Rollback { .. } => "rollback",
            }
            .to_owned(),
            release: d.to.0,
            from_release: d.from.map(|release| release.0),
            phase: d.phase.word().to_owned(),
            ended: d.phase.is_terminal(),
            by: d.by.clone(),
            created_ms: created,
            ended_ms: ended.filter(|_| d.phase.is_terminal()),
            duration_ms: d.ended_at.unwrap_or(self.now).saturating_sub(began),
            reason: d
                .cause
                .as_ref()
                .map(|c| c.sentence_with(&|node| self.state.node_name(node)))
                .unwrap_or_default(),
            log_tail: d.cause.as_ref().map(|cause| cause.log_tail().to_vec()).unwrap_or_default(),
            requests: traffic.map(|t| t.requests),
            app_errors: traffic.map(|t| t.app_errors),
            platform_errors: traffic.map(|t| t.failed()),
            rollback_target: self.rollback_targets.contains(&d.id),
            source: release.map(|r| given(&r.source)).unwrap_or_default(),
            image: release.map(image).unwrap_or_default(),
            paused: d.paused.clone().unwrap_or_default(),
            covered: release.map(|r| settings::covered(&r.instead())).unwrap_or_default(),
        }
    }

    pub(crate) fn environment(&self, e: &Environment) -> proto::EnvironmentStatus {
        let (project, environment) = names(self.state, Some(e));
        let live = self.state.live(e.id).or_else(|| self.state.queued(e.id));
        let begun = self.state.live(e.id).map(|d| d.to);
        let release = self.state.release(begun.or(e.current));
        let process = |name: &String| proto::ProcessStatus {
            name: name.clone(),
            wanted: release.map_or(0, |r| self.state.wanted(e, &r.spec, name)),
            serving: count(self.state.instances_of(e.id, name).filter(|i| i.serves())),
        };
        let shown = |i: &&Instance| i.environment == e.id && (i.occupies() || i.lost);
        proto::EnvironmentStatus {
            project,
            environment,
            release: e.current.map(|release| release.0),
            live: live.map(|d| self.deployment(d)),
            hosts: release.map(|r| temps_core::routes::hosts(self.state, e, &r.spec)).unwrap_or_default(),
            processes: release.map(|r| r.spec.processes.keys().map(process).collect()).unwrap_or_default(),
            instances: self.state.instances.values().filter(shown).map(|i| instance(self.state, i)).collect(),
            maintenance: e.maintenance.as_ref().map(|maintenance| proto::Maintenance {
                message: maintenance.message.clone().unwrap_or_default(),
                retry_after_s: maintenance.retry_after,
            }),
        }
    }
}

/// One line of a timeline.
pub(crate) fn event(state: &ClusterState, e: &Event) -> proto::Event {
    let about = e.what.instance();
    let machine = match e.what {
        What::NodeLost { node } | What::NodeReturned { node } => Some(node),
        _ => about.map(|(_, node)| node),
    };
    proto::Event {
        id: Some(proto::EventId { index: e.id.index, place: e.id.place }),
        wall_ms: e.wall,
        kind: kind(&e.what),
        text: e.what.line_with(&|node| state.node_name(node)),
        instance: about.map(|(instance, _)| instance.to_string()).unwrap_or_default(),
        node: machine.map(|node| state.node_name(node)).unwrap_or_default(),
        deployment: e.deployment.map(|d| d.0),
        attempts: match e.what {
            What::Healthy { attempts, .. } => Some(attempts),
            _ => None,
        },
    }
}

/// What a user gave, in a few words.
fn given(source: &Source) -> String {
    match source {
        Source::Bundle { .. } => "bundle".to_owned(),
        Source::Build { context, dockerfile, .. } => {
            format!("build of {} with {dockerfile}", text::bytes(context.bytes))
        }
        Source::Image { reference, .. } => format!("image {reference}"),
    }
}

/// The identity of the image that a release runs; empty where it runs none, and until it is known.
fn image(release: &Release) -> String {
    match (&release.artifact, &release.source) {
        (Some(Artifact { form: Form::Image { id, .. }, .. }), _) | (None, Source::Image { id, .. }) => {
            id.clone()
        }
        (Some(_), _) | (None, Source::Bundle { .. } | Source::Build { .. }) => String::new(),
    }
}

/// The name by which the kind is written in the log.
fn kind(what: &What) -> String {
    let written = serde_json::to_value(what).ok();
    let kind = written.as_ref().and_then(|value| value.get("kind")).and_then(|kind| kind.as_str());
    kind.unwrap_or_default().to_owned()
}

pub(crate) fn instance(state: &ClusterState, i: &Instance) -> proto::Instance {
    let (project, environment) = names(state, state.environments.get(&i.environment));
    proto::Instance {
        id: i.id.to_string(),
        process: i.process.clone(),
        slot: i.slot,
        node: state.node_name(i.node),
        release: i.release.0,
        state: instance_state(i).to_owned(),
        attempts: i.attempts,
        last_check: i.last_check.clone().unwrap_or_default(),
        exit: unasked(i.exit.as_ref()),
        project,
        environment,
        deployment: i.deployment.map(|d| d.0),
    }
}

/// How an instance ended that nobody had asked to; nothing for one that was stopped.
fn unasked(exit: Option<&temps_core::model::Exit>) -> String {
    exit.filter(|exit| !exit.asked).map(temps_core::model::Exit::how).unwrap_or_default()
}

/// One word for what is wanted and what was seen.
pub(crate) fn instance_state(i: &Instance) -> &'static str {
    if i.lost {
        return "lost";
    }
    match (i.want, i.seen) {
        (Want::Gone, _) | (_, Seen::Gone) => "gone",
        (_, Seen::Exited) => "exited",
        (Want::Stop, _) => "stopping",
        (Want::Drain, _) => "draining",
        (Want::Run, Seen::Pending | Seen::Starting) => "starting",
        (Want::Run, Seen::Unready) => "unready",
        (Want::Run, Seen::Ready) if i.admitted.is_some() => "serving",
        (Want::Run, Seen::Ready) => "ready",
    }
}

pub(crate) fn node(state: &ClusterState, n: &Node, leader: Option<NodeId>) -> proto::Node {
    proto::Node {
        leader: leader == Some(n.id),
        instances: count(state.instances.values().filter(|i| i.node == n.id && i.occupies())),
        ..machine(n)
    }
}

/// A machine by itself: who leads and what runs there is not looked for.
pub(crate) fn machine(n: &Node) -> proto::Node {
    proto::Node {
        id: n.id.0,
        name: n.name.clone(),
        status: match n.status {
            NodeStatus::Up => "up",
            NodeStatus::Lost => "lost",
        }
        .to_owned(),
        cordoned: n.cordoned,
        draining: n.draining,
        drained: n.drained,
        control: n.control.clone(),
        edge_http: n.edge_http.clone(),
        version: n.version.clone(),
        runtime: n.facts.runtime.map(|runtime| runtime.word().to_owned()).unwrap_or_default(),
        labels: n.facts.labels.clone(),
        free_bytes: n.facts.free,
        trouble: n.facts.trouble.clone().unwrap_or_default(),
        ..proto::Node::default()
    }
}

/// The names of project and environment.
pub(crate) fn names(state: &ClusterState, environment: Option<&Environment>) -> (String, String) {
    let project = environment.and_then(|e| state.projects.get(&e.project));
    (
        project.map(|p| p.name.clone()).unwrap_or_default(),
        environment.map(|e| e.name.clone()).unwrap_or_default(),
    )
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use temps_core::model::{
        DeploymentId, EnvironmentId, Instance, InstanceId, NodeId, Phase, ReleaseId, Seen, Want, What,
    };

    use super::{instance_state, kind};

    fn instance(want: Want, seen: Seen) -> Instance {
        Instance {
            want,
            seen,
            deployment: Some(DeploymentId(42)),
            ..Instance::new(InstanceId(7), EnvironmentId(1), ReleaseId(3), "web", NodeId(2))
        }
    }

    #[test]
    fn an_instance_is_in_one_word() {
        for (want, seen, word) in [
            (Want::Run, Seen::Pending, "starting"),
            (Want::Run, Seen::Starting, "starting"),
            (Want::Run, Seen::Ready, "ready"),
            (Want::Run, Seen::Unready, "unready"),
            (Want::Run, Seen::Exited, "exited"),
            (Want::Drain, Seen::Ready, "draining"),
            (Want::Stop, Seen::Ready, "stopping"),
            (Want::Stop, Seen::Exited, "exited"),
            (Want::Stop, Seen::Gone, "gone"),
            (Want::Gone, Seen::Exited, "gone"),
        ] {
            assert_eq!(instance_state(&instance(want, seen)), word, "{want:?} {seen:?}");
        }
        let serving = Instance { admitted: Some(9), ..instance(Want::Run, Seen::Ready) };
        assert_eq!(instance_state(&serving), "serving");
        assert_eq!(instance_state(&Instance { lost: true, ..serving }), "lost");
    }

    #[test]
    fn an_event_has_the_name_it_has_in_the_log() {
        let (instance, node) = (InstanceId(7), NodeId(2));
        assert_eq!(kind(&What::DrainTimedOut { instance, node, cut: 1 }), "drain_timed_out");
        assert_eq!(kind(&What::Building { node }), "building");
        assert_eq!(kind(&What::Built { node, id: String::new(), bytes: 1 }), "built");
        assert_eq!(kind(&What::ReleaseStarted { instance, node }), "release_started");
        assert_eq!(kind(&What::ReleaseDone { instance, node }), "release_done");
        assert_eq!(kind(&What::Ended { phase: Phase::Succeeded, errors: Some(0) }), "ended");
    }
}
