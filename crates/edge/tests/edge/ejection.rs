//! Instances that fail time after time are passed over by the edge of their node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use temps_core::model::ReleaseId;
use temps_core::table::Sticky;

use crate::support::{App, Authority, Client, Edge, HOST, Plan, choice, get, table, target, until};

/// Answers with a status that can be changed; 0 is a reset.
async fn moody(name: &str, status: u16) -> (App, Arc<AtomicU16>) {
    let mood = Arc::new(AtomicU16::new(status));
    let (own, shared) = (name.to_owned(), Arc::clone(&mood));
    let app = App::script(name, move |mut conversation| {
        let (own, mood) = (own.clone(), Arc::clone(&shared));
        async move {
            while conversation.head().await.is_some() {
                match mood.load(Ordering::SeqCst) {
                    0 => return conversation.reset(),
                    status => conversation.answer(&format!("{status} x"), &own).await,
                };
            }
        }
    })
    .await;
    (app, mood)
}

/// So many requests by one client; how many were not answered with 200.
async fn ask(edge: &Edge, n: usize) -> usize {
    let mut client = Client::connect(edge.http).await;
    let mut failed = 0;
    for _ in 0..n {
        failed += usize::from(client.get(HOST, "/").await.status != 200);
    }
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_cannot_serve_is_passed_over_and_tried_out_until_it_can() {
    for status in [504, 0] {
        let edge = Edge::single().await;
        let (bad, mood) = moody("bad", status).await;
        let good = App::start("good").await;
        edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &bad), target(2, 1, &good)], &[])).await;
        let failed = ask(&edge, 30).await;
        // What is reset is sent to the other; who answers 504 is believed.
        assert_eq!(failed, if status == 0 { 0 } else { 5 }, "with {status}");
        let asked = bad.count();
        assert_eq!(asked, if status == 0 { 3 } else { 5 }, "with {status}");
        mood.store(200, Ordering::SeqCst);
        let mut rounds = 0;
        while bad.count() < asked + 20 {
            assert_eq!(ask(&edge, 10).await, 0);
            rounds += 1;
            assert!(rounds < 100_000, "it never came back");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_another_node_it_is_passed_over_all_the_same() {
    let authority = Authority::new();
    let (far, near) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let (bad, _) = moody("bad", 503).await;
    let good = App::start("good").await;
    far.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&near])).await;
    let local = vec![target(1, 1, &bad), target(2, 1, &good)];
    near.serve(1, table(vec![choice(1, 2, 1)], local, &[&far])).await;
    assert_eq!(ask(&far, 30).await, 5);
    assert_eq!(bad.count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_application_and_clients_that_leave_are_no_reason() {
    let edge = Edge::single().await;
    let (bad, mood) = moody("bad", 500).await;
    let good = App::start("good").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &bad), target(2, 1, &good)], &[])).await;
    assert_eq!(ask(&edge, 60).await, 30);
    // An answer in between ends the row.
    mood.store(503, Ordering::SeqCst);
    assert_eq!(ask(&edge, 8).await, 4);
    mood.store(200, Ordering::SeqCst);
    assert_eq!(ask(&edge, 2).await, 0);
    mood.store(503, Ordering::SeqCst);
    assert_eq!(ask(&edge, 8).await, 4);

    let edge = Edge::single().await;
    let slow = App::start("slow").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(3, 1, &slow), target(2, 1, &good)], &[])).await;
    for _ in 0..8 {
        let before = slow.count() + good.count();
        let mut client = Client::connect(edge.http).await;
        client.send(format!("GET /slow?60000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        until("it has arrived", || slow.count() + good.count() > before).await;
    }
    until("all have left", || edge.in_flight(3) + edge.in_flight(2) == 0).await;
    let before = slow.count();
    assert_eq!(ask(&edge, 20).await, 0);
    // Half, or one less where a request that ended counts a moment longer; one that is passed over gets none.
    let got = slow.count() - before;
    assert!((8..=12).contains(&got), "that a client leaves is not its fault, and it got {got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_instances_are_left_and_all_where_all_fail() {
    let edge = Edge::single().await;
    let (one, _) = moody("one", 503).await;
    let (two, mood) = moody("two", 503).await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &one), target(2, 1, &two)], &[])).await;
    assert_eq!(ask(&edge, 40).await, 40);
    assert!(one.count() > 12 && two.count() > 12, "{} and {}", one.count(), two.count());
    // Alone in its release it gets what comes for it, and is judged by that.
    mood.store(200, Ordering::SeqCst);
    let table =
        table(vec![choice(1, 1, 50), choice(2, 1, 50)], vec![target(1, 1, &one), target(2, 2, &two)], &[]);
    edge.serve(2, table).await;
    assert!(ask(&edge, 100).await.abs_diff(50) <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_belongs_to_a_release_stays_there_when_an_instance_is_passed_over() {
    let edge = Edge::single().await;
    let (bad, _) = moody("bad", 0).await;
    let (old, new) = (App::start("old").await, App::start("new").await);
    let local = vec![target(1, 1, &old), target(2, 2, &bad), target(3, 2, &new)];
    let mut table = table(vec![choice(1, 1, 50), choice(2, 1, 50)], local, &[]);
    // All clients with the cookie go to the new release.
    table.routes[0].sticky =
        Some(Sticky { cookie: "id".to_owned(), release: ReleaseId(2), share: temps_core::table::SHARES });
    edge.serve(1, table).await;
    let mut client = Client::connect(edge.http).await;
    for _ in 0..30 {
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: id=7\r\n\r\n")).await;
        assert_eq!(client.answer().await.text(), "new");
    }
    assert_eq!((bad.count(), old.count()), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_instances_of_a_node_fail_the_other_node_is_asked() {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let (bad, _) = moody("bad", 503).await;
    let good = App::start("good").await;
    let choices = || vec![choice(1, 1, 1), choice(1, 2, 1)];
    far.serve(1, table(choices(), vec![target(2, 1, &good)], &[&near])).await;
    near.serve(1, table(choices(), vec![target(1, 1, &bad)], &[&far])).await;
    assert_eq!(ask(&near, 30).await, 5);
    assert_eq!(get(near.http, HOST, "/").await.text(), "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_joins_others_begins_with_little() {
    let edge = Edge::single().await;
    let (old, new) = (App::start("old").await, App::start("new").await);
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &old)], &[])).await;
    let both = vec![target(1, 1, &old), target(2, 1, &new)];
    edge.serve(2, table(vec![choice(1, 1, 2)], both, &[])).await;
    assert_eq!(ask(&edge, 100).await, 0);
    let first = new.count();
    assert!((1..=25).contains(&first), "{first} of the first 100");
}
