//! A new table under load: nobody fails, and a drained instance is really drained.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{App, Authority, Client, Edge, HOST, Load, Plan, choice, get, table, target, until};
use temps_core::model::{EnvironmentId, ReleaseId};
use temps_core::table::Table;

/// Release 1 serves and release 2 does not, or the other way round; both on this node.
fn serving(release: u64, one: &App, two: &App) -> Table {
    let (mut first, mut second) = (target(1, 1, one), target(2, 2, two));
    first.draining = release != 1;
    second.draining = release != 2;
    table(vec![choice(release, 1, 1)], vec![first, second], &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_acknowledgement_and_an_empty_flight_no_request_arrives() {
    let edge = Edge::single().await;
    let (one, two) = (App::start("one").await, App::start("two").await);
    edge.serve(1, serving(1, &one, &two)).await;
    let load = Load::start(&[edge.http], 16, "/slow?3");
    for round in 0..20_u64 {
        let (old, new, release) = if round % 2 == 0 { (&one, &two, 2) } else { (&two, &one, 1) };
        let seen = new.count();
        edge.serve(round + 2, serving(release, &one, &two)).await;
        until("the old instance is drained", || edge.in_flight(3 - release) == 0).await;
        let drained = old.count();
        until("the new instance serves", || new.count() > seen + 20).await;
        assert_eq!(old.count(), drained, "round {round}");
        until("kept connections to it are closed", || old.open() == 0).await;
    }
    let tally = load.stop().await;
    assert_eq!(tally.failures, [""; 0]);
    assert!(tally.answers.len() == 2 && tally.total() > 200, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_in_flight_until_its_answer_has_ended() {
    let edge = Edge::single().await;
    let app = App::script("stream", |mut conversation| async move {
        conversation.head().await;
        conversation.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
        // The rest comes when the test says so, through a second connection.
        conversation.more().await;
    })
    .await;
    let two = App::start("two").await;
    edge.serve(1, serving(1, &app, &two)).await;
    let mut client = Client::connect(edge.http).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    assert_eq!(client.chunk().await.unwrap(), b"half");
    edge.serve(2, serving(2, &app, &two)).await;
    until("a report tells of it", || edge.in_flight(1) == 1).await;
    for _ in 0..5 {
        assert_eq!(get(edge.http, HOST, "/").await.text(), "two");
    }
    assert_eq!(edge.in_flight(1), 1);
    let by_release = |old: u64| {
        let releases = BTreeMap::from([(ReleaseId(1), old), (ReleaseId(2), 0)]);
        edge.report().by_release.get(&EnvironmentId(1)) == Some(&releases)
    };
    until("it is told by release", || by_release(1)).await;
    drop(client);
    until("the client left", || edge.in_flight(1) == 0).await;
    assert!(by_release(0), "known as long as it is there: {:?}", edge.report());
    assert_eq!(edge.traffic().failed(), 0, "a client may leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_client_connection_sees_the_new_release() {
    let edge = Edge::single().await;
    let (one, two) = (App::start("one").await, App::start("two").await);
    edge.serve(1, serving(1, &one, &two)).await;
    let mut client = Client::connect(edge.http).await;
    assert_eq!(client.get(HOST, "/").await.text(), "one");
    edge.serve(2, serving(2, &one, &two)).await;
    assert_eq!(client.get(HOST, "/").await.text(), "two");
    edge.serve(3, serving(1, &one, &two)).await;
    assert_eq!(client.get(HOST, "/").await.text(), "one", "admitted again as it is");
}

/// A rolling update of two instances on two nodes, with clients at three.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_over_three_nodes_fails_nobody() {
    let authority = Authority::new();
    let edges = [
        Plan::node(1).start(&authority).await,
        Plan::node(2).start(&authority).await,
        Plan::node(3).start(&authority).await,
    ];
    let everybody: Vec<&Edge> = edges.iter().collect();
    let mut old = [App::start("v0").await, App::start("v0").await];
    let mut index = 1;
    // Who serves on each node, and who only finishes.
    let publish = async |index, serving: &[(usize, u64, &App)], draining: &[(usize, u64, &App)]| {
        let choices: Vec<_> =
            serving.iter().map(|(node, release, _)| choice(*release, *node as u64, 1)).collect();
        for edge in &edges {
            let here = |(node, _, _): &&(usize, u64, &App)| *node as u64 == edge.node;
            let mut local = Vec::new();
            for (node, release, app) in serving.iter().filter(here) {
                local.push(target(release * 10 + *node as u64, *release, app));
            }
            for (node, release, app) in draining.iter().filter(here) {
                local.push(target(release * 10 + *node as u64, *release, app));
                local.last_mut().unwrap().draining = true;
            }
            let others: Vec<&Edge> =
                everybody.iter().copied().filter(|other| other.node != edge.node).collect();
            let version = edge.publish(index, table(choices.clone(), local, &others));
            until("acknowledged", || edge.report().version == version).await;
        }
    };
    publish(index, &[(1, 10, &old[0]), (2, 10, &old[1])], &[]).await;
    let addresses: Vec<_> = edges.iter().map(|edge| edge.http).collect();
    let load = Load::start(&addresses, 18, "/slow?3");
    for release in 11..15 {
        let new = [App::start(&format!("v{release}")).await, App::start(&format!("v{release}")).await];
        let before = release - 1;
        index += 1;
        publish(index, &[(1, before, &old[0]), (2, before, &old[1]), (1, release, &new[0])], &[]).await;
        for node in 0..2 {
            index += 1;
            let stays = [(1, release, &new[0]), (2, before, &old[1]), (2, release, &new[1])];
            let stays = if node == 0 { &stays[..2] } else { &stays[..] };
            let stays: Vec<_> =
                stays.iter().copied().filter(|(n, r, _)| !(node == 1 && *n == 2 && *r == before)).collect();
            let leaves = (node + 1, before, &old[node]);
            publish(index, &stays, &[leaves]).await;
            let instance = before * 10 + node as u64 + 1;
            until("it is drained", || edges[node].in_flight(instance) == 0).await;
            // It ends without any grace of its own.
            old[node].refuse().await;
            let drained = old[node].count();
            let total = load.total();
            until("the load goes on", || load.total() > total + 30).await;
            assert_eq!(old[node].count(), drained, "release {release}, node {}", node + 1);
        }
        old = new;
    }
    let tally = load.stop().await;
    assert_eq!(tally.failures, [""; 0]);
    assert!(tally.answers.len() >= 4, "{tally:?}");
    for edge in &edges {
        assert_eq!(edge.traffic().failed(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_not_acknowledged_while_another_node_still_decides() {
    let authority = Authority::new();
    let (first, second) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let (app, other) = (App::start("app").await, App::start("other").await);
    first.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&second])).await;
    second.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&first])).await;

    let mut client = Client::connect(first.http).await;
    client.send(format!("GET /slow?700 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    until("it arrives", || app.count() == 1).await;
    first.publish(2, table(vec![choice(2, 1, 1)], vec![target(2, 2, &other)], &[&second]));
    until_other(&first).await;
    assert_eq!(first.report().index, 1, "the request sent before has not heard from the other node");
    assert_eq!(client.answer().await.text(), "app");
    until("now it is acknowledged", || first.report().index == 2).await;

    // A node that never answers holds it back no longer than a moment.
    first.serve(3, table(vec![choice(1, 2, 1)], vec![], &[&second])).await;
    let before = app.count();
    client.send(format!("GET /slow?6000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    until("it arrives", || app.count() > before).await;
    let begun = std::time::Instant::now();
    first.serve(4, table(vec![choice(2, 1, 1)], vec![target(2, 2, &other)], &[&second])).await;
    let waited = begun.elapsed();
    assert!(waited > Duration::from_millis(1500) && waited < Duration::from_millis(5000), "{waited:?}");
}

/// Until the new release answers: the new table is in use.
async fn until_other(edge: &Edge) {
    let end = std::time::Instant::now() + Duration::from_millis(600);
    // Each of these that still chose the old one waits there; so ask without waiting for the answer.
    while std::time::Instant::now() < end {
        let ask = tokio::time::timeout(Duration::from_millis(50), get(edge.http, HOST, "/"));
        if ask.await.is_ok_and(|answer| answer.text() == "other") {
            return;
        }
    }
    panic!("the new table is not in use");
}
