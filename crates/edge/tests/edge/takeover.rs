//! One edge takes the place of another under load.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::Notify;

use temps_edge::{EdgeConfig, EdgeError};

use crate::support::{
    App, Authority, Client, Edge, HOST, Load, Plan, choice, config_in, table, target, until,
};

pub(crate) fn successor(of: &Edge) -> JoinHandle<Result<(), EdgeError>> {
    let mut config: EdgeConfig = config_in(of.directory.path().to_owned());
    config.takeover = Some(of.socket());
    std::thread::spawn(move || temps_edge::run(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_refused_and_no_request_lost() {
    let authority = Authority::new();
    let mut edge = Plan::node(1).start(&authority).await;
    let far = Plan::node(2).start(&authority).await;
    let app = App::start("app").await;
    let all = || table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[]);
    edge.serve(1, all()).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&edge])).await;
    let load = Load::start(&[edge.http, far.http], 24, "/slow?3");
    let counting = edge.report().counting;
    for round in 0..3 {
        let total = load.total();
        until("the load runs", || load.total() > total + 100).await;
        let before = edge.thread.take().unwrap();
        edge.thread = Some(successor(&edge));
        until("the edge before ends", || before.is_finished()).await;
        before.join().unwrap().unwrap();
        // Its successor hears the server that was there.
        edge.serve(round + 2, all()).await;
    }
    let total = load.total();
    until("the load runs", || load.total() > total + 100).await;
    let tally = load.stop().await;
    assert_eq!(tally.failures, [""; 0]);
    let counted = || edge.traffic().requests + far.traffic().requests;
    until("each request was counted by one of them", || counted() == tally.total() as u64).await;
    assert_eq!(edge.report().counting, counting, "each goes on counting where the one before was");
    assert_ne!(far.report().counting, counting, "the other counts by itself");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_repeated_is_sent_once_and_answered() {
    let authority = Authority::new();
    let mut edge = Plan::node(1).start(&authority).await;
    let far = Plan::node(2).start(&authority).await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&edge])).await;
    let load = Load::posting(&[edge.http, far.http], 24, "/slow?3");
    for _ in 0..3 {
        let total = load.total();
        until("the load runs", || load.total() > total + 200).await;
        let before = edge.thread.take().unwrap();
        edge.thread = Some(successor(&edge));
        until("the edge before ends", || before.is_finished()).await;
    }
    let tally = load.stop().await;
    assert_eq!(tally.failures, [""; 0]);
    assert_eq!(app.count(), tally.total());
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_edge_before_has_in_flight_still_counts() {
    let mut edge = Edge::single().await;
    let go_on = Arc::new(Notify::new());
    let one = App::script("one", {
        let go_on = Arc::clone(&go_on);
        move |mut conversation| {
            let go_on = Arc::clone(&go_on);
            async move {
                while let Some(head) = conversation.head().await {
                    if head.path == "/wait" {
                        go_on.notified().await;
                    }
                    conversation.answer("200 OK", "one").await;
                }
            }
        }
    })
    .await;
    let two = App::start("two").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &one)], &[])).await;
    let mut slow = Client::connect(edge.http).await;
    slow.send(format!("GET /wait HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let mut kept = Client::connect(edge.http).await;
    assert_eq!(kept.get(HOST, "/").await.text(), "one");
    until("it arrives", || one.count() == 2).await;

    let mut probe = Client::connect(edge.http).await;
    let before = edge.thread.take().unwrap();
    edge.thread = Some(successor(&edge));
    // An edge that was taken over from tells its clients to connect anew.
    let mut probes = 1;
    while probe.get(HOST, "/").await.header("connection") != Some("close") {
        probes += 1;
    }
    let mut draining = target(1, 1, &one);
    draining.draining = true;
    // Both edges serve the new table before it is acknowledged: a client of the old one gets the new release.
    edge.serve(2, table(vec![choice(2, 1, 1)], vec![draining, target(2, 2, &two)], &[])).await;
    assert_eq!(edge.in_flight(1), 1, "the request of the edge before");
    assert_eq!(kept.get(HOST, "/").await.text(), "two");
    assert_eq!(edge.in_flight(1), 1);
    go_on.notify_one();
    assert_eq!(slow.answer().await.text(), "one");
    until("it is over", || edge.in_flight(1) == 0).await;
    until("the edge before ends", || before.is_finished()).await;
    until("what it counted is kept", || edge.traffic().requests == probes + 3).await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_exact_while_edges_change() {
    let mut edge = Edge::single().await;
    let (one, two) = (App::start("one").await, App::start("two").await);
    let serving = |release: u64| {
        let (mut first, mut second) = (target(1, 1, &one), target(2, 2, &two));
        (first.draining, second.draining) = (release != 1, release != 2);
        table(vec![choice(release, 1, 1)], vec![first, second], &[])
    };
    edge.serve(1, serving(1)).await;
    let load = Load::start(&[edge.http], 16, "/slow?3");
    for round in 0..6_u64 {
        let (old, new, release) = if round % 2 == 0 { (&one, &two, 2) } else { (&two, &one, 1) };
        let before = edge.thread.take().unwrap();
        edge.thread = Some(successor(&edge));
        let seen = new.count();
        // Before, while or after the successor begins, as it happens.
        edge.serve(round + 2, serving(release)).await;
        until("the old instance is drained", || edge.in_flight(3 - release) == 0).await;
        let drained = old.count();
        until("the new instance serves", || new.count() > seen + 20).await;
        assert_eq!(old.count(), drained, "round {round}");
        until("the edge before ends", || before.is_finished()).await;
        assert_eq!(old.count(), drained, "round {round}, until the edge before ended");
    }
    assert_eq!(load.stop().await.failures, [""; 0]);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_breaks_off_changes_nothing() {
    use std::io::{Read, Write};
    let edge = Edge::single().await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let socket = edge.socket();
    tokio::task::spawn_blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let ask = b"\"takeover\"";
        stream.write_all(&u32::try_from(ask.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(ask).unwrap();
        let mut some = [0; 4];
        stream.read_exact(&mut some).unwrap();
    })
    .await
    .unwrap();
    edge.serve(2, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    assert_eq!(Client::connect(edge.http).await.get(HOST, "/").await.text(), "app");
}
