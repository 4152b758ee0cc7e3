//! Whose fault it was: what is counted of a release, and what of its clients.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::{App, Authority, Client, Edge, HOST, Plan, choice, get, table, target, until};

/// An application that begins an answer and breaks off when it is told to.
async fn breaking() -> App {
    App::script("breaking", |mut conversation| async move {
        if conversation.head().await.is_some() {
            conversation.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_counts_although_another_instance_answers() {
    let edge = Edge::single().await;
    let (gone, good) = (App::start("gone").await, App::start("good").await);
    gone.refuse().await;
    let mut old = target(1, 1, &gone);
    old.release = temps_core::model::ReleaseId(2);
    let choices = vec![choice(1, 1, 1), choice(2, 1, 1)];
    edge.serve(1, table(choices, vec![old, target(2, 1, &good)], &[])).await;
    for _ in 0..10 {
        assert_eq!(get(edge.http, HOST, "/").await.status, 200);
    }
    until("it is counted", || edge.counts(1).requests == 10).await;
    let gone = edge.counts(2);
    assert!(gone.refused > 0 && gone.refused == gone.requests, "{gone:?}");
    assert_eq!(edge.counts(1).failed() + edge.traffic().failed(), 0, "no client saw it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_a_fault_once() {
    let edge = Edge::single().await;
    let app = breaking().await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut client = Client::connect(edge.http).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    client.rest().await;
    until("it is counted", || edge.counts(1).reset == 1 && edge.traffic().reset == 1).await;
    assert_eq!((edge.counts(1).requests, edge.counts(1).errors), (1, 0));
    assert_eq!(edge.traffic().by_platform(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_does_while_it_is_stopped_is_not_its_fault() {
    let authority = Authority::new();
    let (far, near) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let ends = Arc::new(Notify::new());
    let told = Arc::clone(&ends);
    let app = App::script("stopped", move |mut conversation| {
        let told = Arc::clone(&told);
        async move {
            conversation.head().await;
            conversation.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
            told.notified().await;
        }
    })
    .await;
    let forwards = |n| table(vec![choice(1, 2, n)], vec![], &[&near]);
    let serves = |draining| {
        let mut local = target(1, 1, &app);
        local.draining = draining;
        table(vec![choice(1, 2, u32::from(!draining))], vec![local], &[&far])
    };
    far.serve(1, forwards(1)).await;
    near.serve(1, serves(false)).await;
    let mut clients = [Client::connect(far.http).await, Client::connect(near.http).await];
    for client in &mut clients {
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(client.head().await.unwrap().status, 200);
    }
    near.serve(2, serves(true)).await;
    near.serve(3, table(vec![], vec![], &[&far])).await;
    ends.notify_waiters();
    until("both are counted", || far.traffic().failed() == 1 && near.traffic().failed() == 1).await;
    assert_eq!((far.traffic().cut, near.traffic().cut), (1, 1), "{:?}", far.traffic());
    assert_eq!(near.counts(1).failed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_is_no_fault_and_no_request() {
    let edge = Edge::single().await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut client = Client::connect(edge.http).await;
    client.send(format!("GET /slow?60000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    until("it is in flight", || edge.in_flight(1) == 1).await;
    drop(client);
    until("it is counted", || edge.counts(1).aborted == 1).await;
    let counts = edge.counts(1);
    assert_eq!((counts.requests, counts.failed(), counts.times.count()), (0, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_to_ask_is_the_fault_of_the_platform() {
    let edge = Edge::single().await;
    edge.serve(1, table(vec![], vec![], &[])).await;
    assert_eq!(get(edge.http, HOST, "/").await.status, 503);
    until("it is counted", || edge.traffic().shed == 1).await;
    let app = App::start("gone").await;
    app.refuse().await;
    edge.serve(2, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    assert_eq!(get(edge.http, HOST, "/").await.status, 503);
    until("it is counted", || edge.traffic().refused == 1).await;
    assert_eq!(edge.traffic().by_platform(), 2);
}
