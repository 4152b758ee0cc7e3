//! What a deployment did to requests, and what one would do.

use temps_core::metrics::{ByRelease, Metrics, metrics};
use temps_core::model::{ClusterState, Counts, DeploymentId, ReleaseId, Step};
use temps_core::preview::{self, Preview, preview};
use temps_wire::proto;
use temps_wire::proto::{DeployRequest, DeploymentMetrics, DeploymentPreview, GetMetricsRequest};

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::refusal::refused;
use crate::views::Views;
use crate::{given, limits, reads, settings};

pub(crate) async fn get_metrics(
    desk: &Desk,
    _: Caller,
    request: GetMetricsRequest,
) -> Answer<DeploymentMetrics> {
    let state = desk.fresh().await?;
    let id = DeploymentId(request.number);
    let deployment = reads::deployment(&state, id)?;
    let shown = shown(&state, &metrics(&state, deployment));
    let deployment = Views::new(&state, desk.ledger.now()).deployment(deployment);
    Ok(DeploymentMetrics { deployment: Some(deployment), ..shown })
}

fn shown(state: &ClusterState, measured: &Metrics) -> DeploymentMetrics {
    let served = measured.served.iter().map(|(release, node, requests)| proto::Served {
        release: release.0,
        node: state.node_name(*node),
        requests: *requests,
    });
    DeploymentMetrics {
        deployment: None,
        build_ms: measured.build_time,
        time_to_healthy_ms: measured.time_to_healthy,
        drain_ms: measured.drain_time,
        before_span_ms: measured.before.0,
        before: releases(&measured.before.1),
        during: releases(&measured.during),
        after: measured.after.as_ref().map(releases).unwrap_or_default(),
        receipt: measured.receipt.map(|traffic| proto::MetricsReceipt {
            requests: traffic.requests,
            app_errors: traffic.app_errors,
            refused: traffic.refused,
            reset: traffic.reset,
            cut: traffic.cut,
            shed: traffic.shed,
            platform_caused: traffic.by_platform(),
            served: served.collect(),
        }),
    }
}

fn releases(all: &ByRelease) -> Vec<proto::ReleaseMetrics> {
    all.iter().map(|(id, counts)| release(*id, counts)).collect()
}

pub(crate) fn release(id: ReleaseId, counts: &Counts) -> proto::ReleaseMetrics {
    proto::ReleaseMetrics {
        release: id.0,
        requests: counts.requests,
        app_errors: counts.errors,
        refused: counts.refused,
        reset: counts.reset,
        aborted: counts.aborted,
        p50_ms: counts.times.within(500),
        p95_ms: counts.times.within(950),
        p99_ms: counts.times.within(990),
    }
}

/// Nothing is written; whether the source is stored does not matter.
pub(crate) async fn preview_deployment(
    desk: &Desk,
    caller: Caller,
    request: DeployRequest,
) -> Answer<DeploymentPreview> {
    limits::environment(&request.project, &request.environment)?;
    let source = given::source(&request.source)?;
    let spec = given::spec(&request.spec)?;
    let state = desk.fresh().await?;
    let now = desk.ledger.now();
    let found = preview(&state, now, &caller.name, &request.project, &request.environment, &source, &spec);
    found.map(|preview| planned(&state, preview)).map_err(|why| refused(&why))
}

fn planned(state: &ClusterState, preview: Preview) -> DeploymentPreview {
    DeploymentPreview {
        no_change: preview.no_change,
        after: preview.after.map(|id| id.0),
        contracts: preview.contracts,
        processes: preview.processes.iter().map(|(name, seen)| process(state, name, seen)).collect(),
        stuck: preview.stuck.unwrap_or_default(),
        covered: settings::covered(&preview.instead),
    }
}

fn process(state: &ClusterState, name: &str, seen: &preview::ProcessPreview) -> proto::ProcessPreview {
    let step = |step: &Step| proto::PreviewStep {
        ready: step.ready,
        keep_old: step.keep_old,
        weight: step.weight,
        hold_ms: step.hold,
    };
    proto::ProcessPreview {
        name: name.to_owned(),
        steps: seen.steps.iter().map(step).collect(),
        nodes: seen.nodes.iter().map(|node| state.node_name(*node)).collect(),
        peak: seen.peak,
        least_serving: seen.least,
        critical_nodes: seen.alone.iter().map(|node| state.node_name(*node)).collect(),
    }
}
