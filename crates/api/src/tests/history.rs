use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use temps_core::command::{Action, Command, Observation};
use temps_core::history::{InFlight, Point, Recorded};
use temps_core::model::{
    Counts, DeploymentId, EnvironmentId, InstanceId, NodeId, Phase, ReleaseId, Times, Traffic,
};
use temps_wire::client::ClientError;
use temps_wire::proto::{GetHistoryRequest, GetHistoryResponse};

use super::cluster::{Cluster, deploy};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What clients got, and what r1 did with it, at some seconds.
fn recorded(points: &[(u64, u64)], class: u8) -> Recorded {
    let traffic = |(at, requests): &(u64, u64)| Point {
        at: *at,
        seconds: 1,
        counted: Traffic { requests: *requests, app_errors: 1, ..Traffic::default() },
    };
    let counts = |(at, requests): &(u64, u64)| Point {
        at: *at,
        seconds: 1,
        counted: Counts {
            requests: *requests,
            times: Times([(class, *requests)].into()),
            ..Counts::default()
        },
    };
    Recorded {
        traffic: points.iter().map(traffic).collect(),
        releases: [(ReleaseId(1), points.iter().map(counts).collect())].into(),
        ..Recorded::default()
    }
}

/// So many in flight at r1 and r2 in each second from `at` on.
fn in_flight(at: u64, old: &[u64], new: &[u64]) -> Recorded {
    let points = |most: &[u64]| {
        let point = |(at, n): (u64, &u64)| Point { at, seconds: 1, counted: InFlight(*n) };
        (at..).zip(most).map(point).collect()
    };
    let in_flight = [(ReleaseId(1), points(old)), (ReleaseId(2), points(new))].into();
    Recorded { in_flight, ..Recorded::default() }
}

async fn history(
    cluster: &Cluster,
    node: usize,
    ask: impl FnOnce(&mut GetHistoryRequest),
) -> Result<GetHistoryResponse, ClientError> {
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    let mut request = GetHistoryRequest { project, environment, ..GetHistoryRequest::default() };
    ask(&mut request);
    let client = cluster.client_of(node);
    client
        .call(|mut api| {
            let request = request.clone();
            async move { api.get_history(request).await }
        })
        .await
}

#[tokio::test]
async fn the_parts_of_all_nodes_are_one_answer_at_any_of_them() {
    let cluster = Cluster::start(3).await;
    deploy(&cluster.client(), "v1").await;
    let at = now() - now() % 10 - 100;
    for (node, points, class) in [
        (0, vec![(at, 5), (at + 1, 6), (at + 20, 1)], 2),
        (1, vec![(at + 2, 7)], 9),
        (2, vec![(at + 21, 2)], 2),
    ] {
        let part = (EnvironmentId(1), recorded(&points, class));
        cluster.nodes[node].diary.recorded.lock().unwrap().extend([part]);
    }
    for node in 0..3 {
        let answer = history(&cluster, node, |request| request.step_ms = 10_000).await.unwrap();
        assert_eq!((answer.step_ms, answer.missing.len()), (10_000, 0));
        let points: Vec<_> = answer.points.iter().map(|p| (p.at_ms / 1_000, p.traffic.unwrap())).collect();
        let seen: Vec<_> = points.iter().map(|(at, t)| (*at, t.requests, t.app_errors)).collect();
        assert_eq!(seen, [(at, 18, 3), (at + 20, 3, 2)]);
        let first = &answer.points[0];
        let of_nodes = first.nodes.iter().map(|of| (of.node.as_str(), of.traffic.unwrap().requests));
        assert_eq!(of_nodes.collect::<Vec<_>>(), [("node-1", 11), ("node-2", 7)]);
        let release = &first.releases[0];
        assert_eq!((release.release, release.requests), (1, 18));
        assert_eq!((release.p50_ms, release.p95_ms), (Some(3), Some(50)), "of both nodes together");
        let total = answer.total.unwrap();
        assert_eq!((total.requests, total.platform_caused, answer.releases[0].requests), (21, 0, 21));
    }
}

#[tokio::test]
async fn a_release_is_seen_to_drain_on_all_nodes_together() {
    let cluster = Cluster::start(3).await;
    deploy(&cluster.client(), "v1").await;
    let at = now() - now() % 10 - 100;
    for (node, old, new) in [(0, vec![8, 6, 2, 0, 0], vec![]), (1, vec![4, 3, 1, 0], vec![0, 2, 5, 9, 9])] {
        let part = (EnvironmentId(1), in_flight(at, &old, &new));
        cluster.nodes[node].diary.recorded.lock().unwrap().extend([part]);
    }
    let drained = |answer: &GetHistoryResponse, release: u64| {
        let of = answer.points.iter().map(|p| p.in_flight.iter().find(|of| of.release == release));
        of.map(|of| of.map(|of| of.most)).collect::<Vec<_>>()
    };
    for node in 0..3 {
        let times = |request: &mut GetHistoryRequest| {
            (request.from_ms, request.to_ms) = (Some(at * 1_000), Some((at + 60) * 1_000));
        };
        let answer = history(&cluster, node, times).await.unwrap();
        assert_eq!((answer.step_ms, answer.points.len(), answer.missing.len()), (1_000, 5, 0));
        assert_eq!(drained(&answer, 1), [Some(12), Some(9), Some(3), Some(0), Some(0)]);
        assert_eq!(drained(&answer, 2), [Some(0), Some(2), Some(5), Some(9), Some(9)]);
        let unknown = answer.points.iter().all(|p| p.traffic.is_none() && p.releases.is_empty());
        assert!(unknown, "nobody knows what clients got: {answer:?}");
        let coarse = history(&cluster, node, |request| request.step_ms = 10_000).await.unwrap();
        assert_eq!((drained(&coarse, 1), drained(&coarse, 2)), (vec![Some(12)], vec![Some(9)]));
    }
}

#[tokio::test]
async fn a_part_that_is_missing_is_named_and_waited_for_no_longer_than_two_seconds() {
    let mut cluster = Cluster::start(4).await;
    deploy(&cluster.client(), "v1").await;
    let at = now() - 100;
    for node in &cluster.nodes {
        node.diary.recorded.lock().unwrap().insert(EnvironmentId(1), recorded(&[(at, 5)], 2));
    }
    cluster.nodes[1].diary.asleep.store(true, Ordering::SeqCst);
    cluster.nodes[2].stop().await;
    cluster.write(Command::Liveness { lost: vec![NodeId(4)], back: Vec::new() }).await;
    let begun = Instant::now();
    let answer = history(&cluster, 0, |_| {}).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(answer.total.unwrap().requests, 5);
    let why = |node: &str| &answer.missing.iter().find(|missing| missing.node == node).unwrap().why;
    assert_eq!(answer.missing.len(), 3);
    assert_eq!(why("node-2"), "no answer within 2 s");
    assert!(!why("node-3").is_empty());
    assert_eq!(why("node-4"), "it is lost");
}

#[tokio::test]
async fn what_deployments_did_meanwhile_is_marked() {
    let cluster = Cluster::start(1).await;
    let id = DeploymentId(deploy(&cluster.client(), "v1").await);
    let start = |slot| Action::Start {
        environment: EnvironmentId(1),
        deployment: Some(id),
        release: ReleaseId(1),
        process: "web".to_owned(),
        slot,
        node: NodeId(1),
        why: None,
    };
    cluster.plan(vec![Action::Begin { deployment: id }, start(0), start(1)]).await;
    for number in [1, 2] {
        let instance = InstanceId(number);
        let observation = Observation::Instance {
            instance,
            seen: temps_core::model::Seen::Ready,
            endpoint: None,
            attempts: 1,
            last_check: None,
            log_tail: Vec::new(),
            exit: None,
        };
        cluster.report(1, observation).await;
        cluster.plan(vec![Action::Admit { instance }]).await;
    }
    cluster.plan(vec![Action::End { deployment: id, phase: Phase::Failed }]).await;
    // Times are those of the log, which in this test is not the clock's.
    let answer = history(&cluster, 0, |request| (request.from_ms, request.to_ms) = (Some(0), None)).await;
    let kinds: Vec<_> = answer.unwrap().markers.into_iter().map(|m| (m.deployment, m.kind)).collect();
    let of = |kind: &str| (id.0, kind.to_owned());
    assert_eq!(kinds, [of("accepted"), of("admitted"), of("ended")], "the second one shifts nothing new");
}

#[tokio::test]
async fn what_is_unknown_or_too_much_is_refused() {
    let cluster = Cluster::start(1).await;
    let unknown = history(&cluster, 0, |_| {}).await;
    assert!(matches!(unknown, Err(ClientError::NotFound { .. })), "{unknown:?}");
    deploy(&cluster.client(), "v1").await;
    let empty = history(&cluster, 0, |_| {}).await.unwrap();
    assert_eq!((empty.points.len(), empty.total.unwrap().requests), (0, 0));
    let much =
        history(&cluster, 0, |request| (request.since_ms, request.step_ms) = (86_400_000, 1_000)).await;
    let why = much.unwrap_err().to_string();
    assert!(why.contains("at most 4000 fit; ask for longer steps or a shorter time"), "{why}");
}
