//! What clients got and releases did over time, from the parts that all nodes keep.
//!
//! Nodes are asked at once. One that does not answer soon is named, and its part is missing: what is here of the
//! others is worth more than nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use temps_core::history::{InFlight, Moment, Numbered, Point, Recorded, Span, Step, together};
use temps_core::model::{
    ClusterState, Counts, DeploymentId, EnvironmentId, Event, Node, NodeId, NodeStatus, ReleaseId, Traffic,
    What,
};
use temps_core::text;
use temps_ledger::wall;
use temps_wire::proto::{
    GetHistoryRequest, GetHistoryResponse, HistoryInFlight, HistoryMarker, HistoryMissing, HistoryOfNode,
    HistoryPoint, HistoryTraffic, NodeHistoryOfRelease, NodeHistoryPoint, NodeHistoryRequest,
    NodeHistoryResponse,
};
use tonic::{Code, Status};

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::refusal::bounded;
use crate::{limits, metrics, reads, views};

/// How long a node may take to tell what it recorded.
const WITHIN: Duration = Duration::from_secs(2);
/// The most points of one answer.
const POINTS: u64 = 4_000;
/// The time that is told unless asked otherwise, in seconds.
const SINCE: u64 = 3_600;

pub(crate) async fn get_history(
    desk: &Desk,
    _: Caller,
    request: GetHistoryRequest,
) -> Answer<GetHistoryResponse> {
    limits::environment(&request.project, &request.environment)?;
    let now = wall() / 1_000;
    let Asked { span, step } = asked(&request, now)?;
    let state = desk.at_hand().await.state;
    let environment = reads::find(&state, &request.project, &request.environment)?.id;
    let asking =
        state.nodes.values().map(|node| async move { (node, part(desk, node, environment, span).await) });
    let (mut parts, mut missing) = (BTreeMap::new(), Vec::new());
    for (node, part) in join_all(asking).await {
        match part {
            Ok(recorded) => drop(parts.insert(node.id, recorded)),
            Err(why) => missing.push(HistoryMissing { node: node.name.clone(), why }),
        }
    }
    let moments = together(&parts, step);
    let (mut total, mut releases) = (Traffic::default(), BTreeMap::<ReleaseId, Counts>::new());
    for moment in moments.values() {
        total.add(moment.traffic);
        moment.releases.iter().for_each(|(id, counts)| releases.entry(*id).or_default().add(counts));
    }
    Ok(GetHistoryResponse {
        from_ms: span.from.saturating_mul(1_000),
        to_ms: span.to.saturating_mul(1_000),
        step_ms: step.saturating_mul(1_000),
        points: moments.iter().map(|(at, moment)| point(&state, *at, moment)).collect(),
        total: Some(traffic(total)),
        releases: releases.iter().map(|(id, counts)| metrics::release(*id, counts)).collect(),
        markers: markers(&state, environment, span),
        missing,
    })
}

/// What is asked: from which ring, and of how many seconds a point is to be.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    span: Span,
    step: u64,
}

fn asked(request: &GetHistoryRequest, now: u64) -> Answer<Asked> {
    let invalid = |why: String| Err(Status::invalid_argument(why));
    let to = request.to_ms.map_or(now, |to| to.div_ceil(1_000));
    let since = if request.since_ms > 0 { request.since_ms.div_ceil(1_000) } else { SINCE };
    let from = request.from_ms.map_or(to.saturating_sub(since), |from| from / 1_000);
    if from >= to {
        return invalid("the time that is asked for ends before it begins".to_owned());
    }
    if !request.step_ms.is_multiple_of(1_000) {
        return invalid(format!("steps are whole seconds, and not {} ms", request.step_ms));
    }
    // Nothing is kept of what was before.
    let from = from.max(now.saturating_sub(Step::FiveMinutes.reach()));
    let (to, age) = (to.max(from + 1), now.saturating_sub(from));
    let (ring, step) = match request.step_ms / 1_000 {
        0 => {
            let ring = Step::finest(age, 0);
            // One point less than fit, as both ends are widened.
            (ring, ring.seconds() * (to - from).div_ceil(ring.seconds() * (POINTS - 1)))
        }
        wanted => {
            let fits = |step: &Step| step.reach() >= age && wanted.is_multiple_of(step.seconds());
            let ring = Step::ALL.into_iter().rev().find(fits).unwrap_or_else(|| Step::finest(age, 0));
            (ring, wanted.div_ceil(ring.seconds()).saturating_mul(ring.seconds()))
        }
    };
    let from = from - from % step;
    let Some(to) = to.checked_next_multiple_of(step) else {
        return invalid("no clock shows that time".to_owned());
    };
    if (to - from) / step > POINTS {
        return invalid(format!(
            "{} in steps of {} are {} points, at most {POINTS} fit; ask for longer steps or a shorter time",
            text::duration((to - from).saturating_mul(1_000)),
            text::duration(step.saturating_mul(1_000)),
            (to - from) / step,
        ));
    }
    Ok(Asked { span: Span { from, to, step: ring }, step })
}

/// What one node recorded, or why that is missing, for a person.
async fn part(desk: &Desk, node: &Node, environment: EnvironmentId, span: Span) -> Result<Recorded, String> {
    if node.id == desk.ledger.node() {
        return Ok(desk.past.recorded(environment, span).await);
    }
    match node.status {
        NodeStatus::Lost => return Err("it is lost".to_owned()),
        NodeStatus::Up => {}
    }
    let request = NodeHistoryRequest {
        environment: environment.0,
        from_s: span.from,
        to_s: span.to,
        step_s: span.step.seconds(),
    };
    let mut client = desk.peers.bulk(node.id, &node.control);
    match tokio::time::timeout(WITHIN, client.node_history(request)).await {
        Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
        Ok(Ok(answer)) => Ok(heard(answer.into_inner(), span)),
        Ok(Err(status)) if status.code() == Code::Unimplemented => {
            Err("its version records nothing; upgrade it".to_owned())
        }
        Ok(Err(status)) => Err(bounded(format!("it does not answer: {}", status.message()))),
    }
}

/// What this node recorded, for another.
pub(crate) async fn own(desk: &Desk, request: NodeHistoryRequest) -> Answer<NodeHistoryResponse> {
    let NodeHistoryRequest { environment, from_s, to_s, step_s } = request;
    let step = Step::of_seconds(step_s)
        .ok_or_else(|| Status::invalid_argument(format!("nothing is kept in steps of {step_s} s")))?;
    let span = Span { from: from_s, to: to_s, step };
    let recorded = desk.past.recorded(EnvironmentId(environment), span).await;
    let release = |(id, points): (&ReleaseId, &Vec<Point<Counts>>)| {
        // Nobody asks when nothing reached a release.
        let reached = points.iter().filter(|point| point.counted != Counts::default());
        NodeHistoryOfRelease { release: id.0, points: reached.map(told).collect() }
    };
    let in_flight = |(id, points): (&ReleaseId, &Vec<Point<InFlight>>)| NodeHistoryOfRelease {
        release: id.0,
        points: points.iter().map(told).collect(),
    };
    Ok(NodeHistoryResponse {
        traffic: recorded.traffic.iter().map(told).collect(),
        in_flight: recorded.in_flight.iter().map(in_flight).filter(|of| !of.points.is_empty()).collect(),
        releases: recorded.releases.iter().map(release).filter(|of| !of.points.is_empty()).collect(),
    })
}

fn told<T: Numbered>(point: &Point<T>) -> NodeHistoryPoint {
    NodeHistoryPoint { at_s: point.at, seconds: point.seconds, counted: point.counted.numbers() }
}

fn heard(answer: NodeHistoryResponse, span: Span) -> Recorded {
    fn points<T: Numbered>(points: Vec<NodeHistoryPoint>, span: Span) -> Vec<Point<T>> {
        let within = points.into_iter().filter(|point| point.at_s >= span.from && point.at_s < span.to);
        let point = |NodeHistoryPoint { at_s, seconds, counted }| Point {
            at: at_s,
            seconds,
            counted: T::of_numbers(&counted),
        };
        within.map(point).collect()
    }
    fn releases<T: Numbered>(
        all: Vec<NodeHistoryOfRelease>,
        span: Span,
    ) -> BTreeMap<ReleaseId, Vec<Point<T>>> {
        all.into_iter().map(|of| (ReleaseId(of.release), points(of.points, span))).collect()
    }
    Recorded {
        traffic: points(answer.traffic, span),
        releases: releases(answer.releases, span),
        in_flight: releases(answer.in_flight, span),
    }
}

fn point(state: &ClusterState, at: u64, moment: &Moment) -> HistoryPoint {
    let of_node = |(node, of): (&NodeId, &Traffic)| HistoryOfNode {
        node: state.node_name(*node),
        traffic: Some(traffic(*of)),
    };
    let in_flight = |(release, most): (&ReleaseId, &u64)| HistoryInFlight { release: release.0, most: *most };
    HistoryPoint {
        at_ms: at.saturating_mul(1_000),
        seconds: moment.seconds,
        traffic: (!moment.nodes.is_empty()).then(|| traffic(moment.traffic)),
        nodes: moment.nodes.iter().map(of_node).collect(),
        releases: moment.releases.iter().map(|(id, counts)| metrics::release(*id, counts)).collect(),
        in_flight: moment.in_flight.iter().map(in_flight).collect(),
    }
}

fn traffic(t: Traffic) -> HistoryTraffic {
    HistoryTraffic {
        requests: t.requests,
        app_errors: t.app_errors,
        refused: t.refused,
        reset: t.reset,
        cut: t.cut,
        shed: t.shed,
        platform_caused: t.by_platform(),
    }
}

/// What deployments of an environment did that its numbers may show.
fn markers(state: &ClusterState, environment: EnvironmentId, span: Span) -> Vec<HistoryMarker> {
    let of = |id: DeploymentId| state.deployments.get(&id).is_some_and(|d| d.environment == environment);
    let mut shifting = None;
    let mut marks = |event: &&Event| match &event.what {
        // The first one: from then on the new release gets requests.
        What::Admitted { .. } => shifting.replace(event.deployment) != Some(event.deployment),
        what => matters(what),
    };
    let within = |event: &&Event| (span.from..span.to).contains(&(event.wall / 1_000));
    let events = state.events.values().filter(|event| event.deployment.is_some_and(of));
    let marker = |event: &Event| {
        let shown = views::event(state, event);
        HistoryMarker {
            at_ms: event.wall,
            deployment: event.deployment.map(|id| id.0).unwrap_or_default(),
            kind: shown.kind,
            text: shown.text,
        }
    };
    let mut markers: Vec<_> = events.filter(|event| marks(event)).filter(within).map(marker).collect();
    // Clocks of leaders differ.
    markers.sort_by_key(|marker| marker.at_ms);
    markers
}

fn matters(what: &What) -> bool {
    matches!(
        what,
        What::Accepted { .. }
            | What::Share { .. }
            | What::Paused { .. }
            | What::Resumed { .. }
            | What::Promoted { .. }
            | What::Judged { .. }
            | What::Watching { .. }
            | What::Reverting { .. }
            | What::Failed { .. }
            | What::Ended { .. }
    )
}

#[cfg(test)]
mod tests {
    use temps_core::history::{Span, Step};
    use temps_wire::proto::GetHistoryRequest;

    use super::{Asked, asked};

    const NOW: u64 = 1_700_000_000;

    fn ask(since: u64, step: u64) -> Result<Asked, String> {
        let (since_ms, step_ms) = (since * 1_000, step * 1_000);
        let request = GetHistoryRequest { since_ms, step_ms, ..GetHistoryRequest::default() };
        asked(&request, NOW).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn the_finest_that_is_kept_and_fits() {
        let day = 86_400;
        for (since, wanted, ring, step) in [
            (0, 0, Step::Second, 1),
            (3_600, 0, Step::Second, 1),
            (7_200, 0, Step::Second, 2),
            (7_300, 0, Step::TenSeconds, 10),
            (day, 0, Step::TenSeconds, 30),
            (30 * day, 0, Step::FiveMinutes, 900),
            (3_600, 10, Step::TenSeconds, 10),
            (3_600, 60, Step::TenSeconds, 60),
            (3_600, 7, Step::Second, 7),
            (7_300, 7, Step::TenSeconds, 10),
            (day, 60, Step::TenSeconds, 60),
            (2 * day, 60, Step::FiveMinutes, 300),
            (2 * day, 3_600, Step::FiveMinutes, 3_600),
        ] {
            let asked = ask(since, wanted).unwrap();
            assert_eq!((asked.span.step, asked.step), (ring, step), "{since} s in steps of {wanted} s");
            let Span { from, to, .. } = asked.span;
            assert!(from.is_multiple_of(step) && to.is_multiple_of(step) && to >= NOW && to < NOW + step);
            assert!(from <= NOW - if since == 0 { 3_600 } else { since }, "{since}: {from}");
            assert!((to - from) / step <= 4_000);
        }
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        assert_eq!(
            ask(86_400, 10).unwrap_err(),
            "24h in steps of 10s are 8640 points, at most 4000 fit; ask for longer steps or a shorter time"
        );
        let backwards = GetHistoryRequest { from_ms: Some(2_000), to_ms: Some(2_000), ..Default::default() };
        assert!(asked(&backwards, NOW).unwrap_err().message().contains("ends before it begins"));
        let fine = GetHistoryRequest { step_ms: 500, ..Default::default() };
        assert!(asked(&fine, NOW).unwrap_err().message().contains("whole seconds"));
        for (from_ms, to_ms, step_ms) in [
            (None, Some(u64::MAX), 0),
            (Some(0), Some(u64::MAX), u64::MAX / 1_000 * 1_000),
            (Some(u64::MAX - 1), Some(u64::MAX), 1_000),
            (Some(0), Some(1), 0),
        ] {
            // Whatever it is, it is an answer.
            let wild = GetHistoryRequest { from_ms, to_ms, step_ms, ..Default::default() };
            let _ = asked(&wild, NOW);
        }
    }
}
