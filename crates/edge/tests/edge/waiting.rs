//! Requests for which nobody is ready.

use std::time::Duration;

use temps_core::model::EnvironmentId;
use temps_core::table::{Route, Table};
use temps_edge::Limits;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{App, Authority, Client, Edge, HOST, Plan, choice, get, table, target, until, within};

/// So many requests of one environment wait at one worker.
const MOST: usize = 512;

async fn patient(workers: usize, node: u64, authority: &Authority, wait: Duration) -> Edge {
    let limits = Limits { wait, ..Limits::default() };
    Plan { workers, limits, ..Plan::node(node) }.start(authority).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_an_instance() {
    let edge = patient(1, 1, &Authority::new(), Duration::from_secs(20)).await;
    let (gone, next) = (App::start("gone").await, App::start("next").await);
    gone.refuse().await;
    // Nobody is known, and then only one that refuses.
    edge.serve(1, table(vec![], vec![], &[])).await;
    let (mut reader, mut writer) = (Client::connect(edge.http).await, Client::connect(edge.http).await);
    reader.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    writer.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello")).await;
    edge.serve(2, table(vec![choice(1, 1, 1)], vec![target(1, 1, &gone)], &[])).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    edge.serve(3, table(vec![choice(2, 1, 1)], vec![target(2, 2, &next)], &[])).await;
    let (read, written) = (reader.answer().await, writer.answer().await);
    assert_eq!((read.status, read.text().as_str()), (200, "next"));
    assert_eq!((written.status, written.text().as_str()), (200, "5"));
    assert_eq!(next.count(), 2, "each was sent once");
    assert_eq!(edge.traffic().shed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_node_waits_where_it_came_in() {
    let authority = Authority::new();
    let near = patient(1, 1, &authority, Duration::from_secs(20)).await;
    let far = Plan::node(2).start(&authority).await;
    let app = App::start("far").await;
    far.serve(1, table(vec![], vec![], &[&near])).await;
    // This table is older or newer than that of the other node.
    near.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&far])).await;
    let mut client = Client::connect(near.http).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    far.serve(2, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&near])).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "5"));
    assert_eq!(app.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever() {
    let wait = Duration::from_millis(700);
    let edge = patient(1, 1, &Authority::new(), wait).await;
    edge.serve(1, table(vec![], vec![], &[])).await;
    let begun = Instant::now();
    let answer = get(edge.http, HOST, "/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let took = begun.elapsed();
    assert!(took >= wait && took < wait + Duration::from_secs(5), "{took:?}");
    until("it is counted", || edge.traffic().shed == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_wait_than_there_is_room_for() {
    let edge = patient(1, 1, &Authority::new(), Duration::from_secs(60)).await;
    let app = App::start("a").await;
    edge.serve(1, table(vec![], vec![], &[])).await;
    let at = edge.http;
    let ask = || async move { get(at, HOST, "/").await.status };
    let mut asking = JoinSet::new();
    let all: Vec<_> = (0..=MOST).map(|_| asking.spawn(ask())).collect();
    let first = within("one has no room", asking.join_next()).await.unwrap().unwrap();
    assert_eq!((first, asking.len()), (503, MOST));
    // A client that leaves makes room, once that is noticed.
    all.iter().find(|one| !one.is_finished()).unwrap().abort();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let late = asking.spawn(ask());
        tokio::time::sleep(Duration::from_millis(200)).await;
        if !late.is_finished() {
            break;
        }
        assert!(Instant::now() < end, "it keeps its place");
    }
    edge.serve(2, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut answered = 0;
    while let Some(ended) = within("an answer", asking.join_next()).await {
        answered += usize::from(ended.is_ok_and(|status| status == 200));
    }
    assert_eq!(answered, MOST);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_environment_has_room_of_its_own() {
    let edge = patient(1, 1, &Authority::new(), Duration::from_secs(60)).await;
    let app = App::start("a").await;
    let both = |of_other: Table| {
        let mut both = table(vec![], vec![], &[]);
        let own = of_other.routes.into_iter();
        both.routes.extend(own.map(|route| Route {
            environment: EnvironmentId(2),
            hosts: vec!["other.test".to_owned()],
            ..route
        }));
        both
    };
    edge.serve(1, both(table(vec![], vec![], &[]))).await;
    let at = edge.http;
    let mut asking = JoinSet::new();
    (0..=MOST).for_each(|_| drop(asking.spawn(async move { get(at, HOST, "/").await.status })));
    assert_eq!(within("one has no room", asking.join_next()).await.unwrap().unwrap(), 503);
    let mut other = Client::connect(at).await;
    other.send("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    edge.serve(2, both(table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[]))).await;
    assert_eq!(other.answer().await.text(), "a");
    assert_eq!((asking.len(), asking.try_join_next().is_none()), (MOST, true), "the others still wait");
}
