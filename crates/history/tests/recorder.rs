//! The recorder with the clock of the machine, and an edge that ends.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use temps_core::history::{Span, Step};
use temps_core::model::{EnvironmentId, Measured, ReleaseId, Traffic};
use temps_core::table::EdgeReport;
use temps_history::History;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const E1: EnvironmentId = EnvironmentId(1);
const R3: ReleaseId = ReleaseId(3);

fn report(counting: u64, requests: u64) -> EdgeReport {
    let traffic = Traffic { requests, ..Traffic::default() };
    let traffic = [(E1, Measured { traffic, ..Measured::default() })].into();
    EdgeReport { pid: 1, counting, traffic, ..EdgeReport::default() }
}

fn in_flight(n: u64) -> EdgeReport {
    EdgeReport { by_release: [(E1, [(R3, n)].into())].into(), ..report(7, 0) }
}

fn total(history: &History) -> u64 {
    let span = Span { from: 0, to: u64::MAX, step: Step::Second };
    history.recorded(E1, span).traffic.iter().map(|point| point.counted.requests).sum()
}

/// Waits until so many requests are told.
async fn told(history: &History, requests: u64) {
    let until = async {
        while total(history) != requests {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(30), until).await;
    assert!(within.is_ok(), "{} requests and not {requests}", total(history));
}

#[tokio::test]
async fn what_two_edges_counted_is_told_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let history = Arc::new(History::open(dir.path().to_owned()).unwrap());
    let (edge, reports) = watch::channel(EdgeReport::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&history).run(reports, shutdown.clone()));
    // Before anybody looked.
    edge.send_replace(report(7, 1_000));
    let known = async {
        // A series is there once its first report was taken.
        while history.recorded(E1, Span { from: 0, to: u64::MAX, step: Step::FiveMinutes }).traffic.is_empty()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), known).await.unwrap();
    assert_eq!(total(&history), 0);
    edge.send_replace(report(7, 1_030));
    told(&history, 30).await;
    // Another, which has counted more.
    edge.send_replace(report(8, 2_000));
    told(&history, 2_030).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(total(&History::open(dir.path().to_owned()).unwrap()), 2_030);
}

#[tokio::test]
async fn what_was_in_flight_for_less_than_a_second_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let history = Arc::new(History::open(dir.path().to_owned()).unwrap());
    let (edge, reports) = watch::channel(EdgeReport::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&history).run(reports, shutdown.clone()));
    let most = || {
        let recorded = history.recorded(E1, Span { from: 0, to: u64::MAX, step: Step::FiveMinutes });
        recorded.in_flight.get(&R3).into_iter().flatten().map(|point| point.counted.0).max()
    };
    // An edge reports several times a second, here seven times as many as it has in flight for long.
    for n in [2, 2, 7].into_iter().cycle().take(3_000) {
        edge.send_replace(in_flight(n));
        tokio::time::sleep(Duration::from_millis(10)).await;
        if most() == Some(7) {
            break;
        }
    }
    assert_eq!(most(), Some(7));
    drop(edge);
    shutdown.cancel();
    running.await.unwrap();
}
