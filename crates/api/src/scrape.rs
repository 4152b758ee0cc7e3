//! `GET /metrics` for Prometheus: what this node's edge counts and what runs on this node. Labels are names of
//! projects, environments and processes, releases, and words of a fixed list; nothing that a client sends is one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use temps_core::model::{
    CLASSES, ClusterState, Counts, Environment, EnvironmentId, NodeId, NodeStatus, Role,
};
use temps_core::table::EdgeReport;

use crate::caller::Claim;
use crate::desk::Desk;
use crate::permit::Scope;
use crate::views;

/// What Prometheus calls its text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn scrape(State(desk): State<Desk>, headers: HeaderMap) -> impl IntoResponse {
    let mut request = tonic::Request::new(());
    if let Some(value) = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok())
    {
        request.metadata_mut().insert("authorization", value);
    }
    let admitted = match Claim::of(&request) {
        Ok(claim) => desk.admit(claim, Role::Viewer).await,
        Err(status) => Err(status),
    };
    let admitted = admitted.and_then(|caller| {
        desk.permit(&caller, Role::Viewer, Scope::Cluster, "reading the metrics of a node")
    });
    if let Err(status) = admitted {
        let code = match status.code() {
            tonic::Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            tonic::Code::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        return (code, [(CONTENT_TYPE, FORMAT)], format!("{}\n", status.message()));
    }
    let leadership = *desk.ledger.leadership().borrow();
    let (state, node) = (desk.ledger.state(), desk.ledger.node());
    let mut text = Text::default();
    requests(&mut text, &state, &desk.edge.borrow());
    in_flight(&mut text, &state, &desk.edge.borrow());
    instances(&mut text, &state, node);
    certificates(&mut text, &state);
    text.family("temps_node_up", "gauge", "Whether the leader hears a node.");
    for known in state.nodes.values() {
        let up = u64::from(known.status == NodeStatus::Up);
        text.sample("temps_node_up", &[("node", &known.name)], up);
    }
    for (name, help, value) in [
        ("temps_leads", "Whether this node leads.", u64::from(leadership.leader == Some(node))),
        ("temps_raft_term", "The term that this node knows.", leadership.term),
        ("temps_raft_applied_index", "The newest log index that this node has applied.", state.index),
    ] {
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    }
    (StatusCode::OK, [(CONTENT_TYPE, FORMAT)], text.0)
}

fn requests(text: &mut Text, state: &ClusterState, edge: &EdgeReport) {
    let all: Vec<_> = edge.traffic.iter().filter_map(|(id, m)| Some((names(state, *id)?, m))).collect();
    text.family("temps_requests_total", "counter", "Requests of clients to this node's edge.");
    for ((project, environment), measured) in &all {
        let labels = [("project", project.as_str()), ("environment", environment)];
        text.sample("temps_requests_total", &labels, measured.traffic.requests);
    }
    text.family("temps_failed_requests_total", "counter", "Of these, those that failed, by cause.");
    for ((project, environment), measured) in &all {
        let t = measured.traffic;
        for (cause, n) in [
            ("app_5xx", t.app_errors),
            ("reset", t.reset),
            ("refused", t.refused),
            ("cut", t.cut),
            ("shed", t.shed),
        ] {
            let labels = [("project", project.as_str()), ("environment", environment), ("cause", cause)];
            text.sample("temps_failed_requests_total", &labels, n);
        }
    }
    let name = "temps_response_seconds";
    text.family(name, "histogram", "How long instances of this node took to begin their answers.");
    for ((project, environment), measured) in &all {
        let mut sum = Counts::default();
        measured.releases.values().for_each(|counts| sum.add(counts));
        let mut below = 0;
        for (class, bound) in (0_u8..).zip(CLASSES) {
            below += sum.times.0.get(&class).copied().unwrap_or_default();
            let le = format!("{}.{:03}", bound / 1_000, bound % 1_000);
            let labels = [("project", project.as_str()), ("environment", environment), ("le", &le)];
            text.sample(&format!("{name}_bucket"), &labels, below);
        }
        let labels = [("project", project.as_str()), ("environment", environment), ("le", "+Inf")];
        text.sample(&format!("{name}_bucket"), &labels, sum.times.count());
        text.sample(&format!("{name}_count"), &labels[..2], sum.times.count());
    }
}

fn in_flight(text: &mut Text, state: &ClusterState, edge: &EdgeReport) {
    let name = "temps_in_flight_requests";
    text.family(name, "gauge", "Requests and streams in flight at instances of this node, by release.");
    for (id, releases) in &edge.by_release {
        let Some((project, environment)) = names(state, *id) else { continue };
        for (release, n) in releases {
            let release = release.to_string();
            let labels =
                [("project", project.as_str()), ("environment", &environment), ("release", &release)];
            text.sample(name, &labels, *n);
        }
    }
}

fn instances(text: &mut Text, state: &ClusterState, node: NodeId) {
    let mut counts = BTreeMap::<(String, String, String, &str), u64>::new();
    for instance in state.instances.values().filter(|i| i.node == node && i.occupies()) {
        let Some((project, environment)) = names(state, instance.environment) else { continue };
        let key = (project, environment, instance.process.clone(), views::instance_state(instance));
        *counts.entry(key).or_default() += 1;
    }
    text.family("temps_instances", "gauge", "Instances on this node.");
    for ((project, environment, process, word), n) in &counts {
        let labels = [
            ("project", project.as_str()),
            ("environment", environment),
            ("process", process),
            ("state", word),
        ];
        text.sample("temps_instances", &labels, *n);
    }
}

fn certificates(text: &mut Text, state: &ClusterState) {
    let mut ends = BTreeMap::<&str, u64>::new();
    for certificate in state.tls.certificates.values() {
        for name in &certificate.names {
            let end = ends.entry(name).or_default();
            *end = (*end).max(certificate.not_after / 1_000);
        }
    }
    let name = "temps_certificate_not_after_seconds";
    text.family(name, "gauge", "When the certificate of a name ends, in Unix seconds.");
    for (of, end) in ends {
        text.sample(name, &[("name", of)], end);
    }
}

fn names(state: &ClusterState, id: EnvironmentId) -> Option<(String, String)> {
    let environment: &Environment = state.environments.get(&id)?;
    let project = state.projects.get(&environment.project)?;
    Some((project.name.clone(), environment.name.clone()))
}

/// The text format of Prometheus.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let shown: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", quoted(value))).collect();
        let labels = if shown.is_empty() { String::new() } else { format!("{{{}}}", shown.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn values_of_labels_cannot_break_out() {
        let mut text = Text::default();
        text.sample("x", &[("a", "b\"}\n1 \\"), ("c", "d")], 7);
        assert_eq!(text.0, "x{a=\"b\\\"}\\n1 \\\\\",c=\"d\"} 7\n");
    }
}
