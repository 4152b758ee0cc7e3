//! Clients that are slow, silent or long-winded.

use std::time::{Duration, Instant};

use temps_edge::Limits;
use tokio::io::AsyncWriteExt;

use crate::support::{App, Authority, Client, HOST, Plan, choice, get, table, target, until};

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_drip_and_silent_connections_end() {
    let limits = Limits { head: Duration::from_secs(1), idle: Duration::from_secs(3), ..Limits::default() };
    let edge = Plan { limits, ..Plan::node(1) }.start(&Authority::new()).await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;

    let begun = Instant::now();
    let dripping = tokio::spawn({
        let mut client = Client::connect(edge.http).await;
        async move {
            for byte in format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {}", "x".repeat(1000)).bytes() {
                if client.stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let mut silent = Client::connect(edge.http).await;
    // The second head of a kept connection is timed like the first, but not from the end of the first answer.
    let mut kept = Client::connect(edge.http).await;
    kept.get(HOST, "/").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(kept.get(HOST, "/").await.text(), "app", "idle is not slow");
    let mut half = Client::connect(edge.http).await;
    half.get(HOST, "/").await;
    half.send("GET / HT").await;
    assert!(silent.rest().await.is_empty());
    assert!(half.rest().await.is_empty());
    dripping.await.unwrap();
    let slowest = begun.elapsed();
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert!(kept.rest().await.is_empty(), "idle for too long");
    assert!(begun.elapsed() >= Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_heads_pass_and_huge_ones_are_refused() {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let cookies = App::script("cookies", |mut conversation| async move {
        while conversation.head().await.is_some() {
            let cookie = format!("Set-Cookie: c={}\r\n", "x".repeat(1000)).repeat(60);
            conversation.say(&format!("HTTP/1.1 200 OK\r\n{cookie}Content-Length: 0\r\n\r\n")).await;
        }
    })
    .await;
    near.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &cookies)], &[&far])).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&near])).await;
    for edge in [&near, &far] {
        let ask = async |lines: String| {
            let mut client = Client::connect(edge.http).await;
            // The edge may answer before it has read everything.
            let _ = client
                .stream
                .write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n").as_bytes())
                .await;
            client.answer().await
        };
        for size in [16, 31, 64] {
            let answer = ask(format!("Cookie: {}\r\n", "x".repeat(size * 1024))).await;
            assert_eq!(answer.status, 200, "{size} KiB: {}", answer.text());
            let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
            assert_eq!(cookies.count(), 60);
        }
        let many = |n: usize| (0..n).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
        assert_eq!(ask(many(90)).await.status, 200);
        assert_eq!(ask(many(300)).await.status, 431);
    }
    let before = cookies.count();
    let mut client = Client::connect(near.http).await;
    let huge = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let _ = client.stream.write_all(huge.as_bytes()).await;
    // Closing with unread bytes may destroy the answer; what matters is that it ends here.
    if let Some(answer) = client.try_answer().await {
        assert_eq!(answer.status, 431);
    }
    assert_eq!(cookies.count(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_costs_idle_ones_alone() {
    let limits = Limits { connections: 20, ..Limits::default() };
    let edge = Plan { limits, workers: 1, ..Plan::node(1) }.start(&Authority::new()).await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut idle = Client::connect(edge.http).await;
    idle.get(HOST, "/").await;
    let mut busy = Client::connect(edge.http).await;
    busy.send(format!("GET /slow?4000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    until("it is under way", || edge.in_flight(1) == 1).await;
    // They say nothing, and are more than there is room for.
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(Client::connect(edge.http).await);
    }
    for _ in 0..5 {
        assert_eq!(get(edge.http, HOST, "/").await.text(), "app", "a newcomer");
    }
    assert!(idle.rest().await.is_empty(), "it was idle the longest");
    assert!(silent[0].rest().await.is_empty());
    assert_eq!(busy.answer().await.text(), "app", "it was in use");
    drop(silent);

    let mut all = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(edge.http).await;
        client.send(format!("GET /slow?2000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        all.push(client);
    }
    until("all are under way", || edge.in_flight(1) >= 19).await;
    let mut one_too_many = Client::connect(edge.http).await;
    assert!(one_too_many.rest().await.is_empty(), "there is no room");
    let mut answered = 0;
    for client in &mut all {
        answered += usize::from(client.try_answer().await.is_some_and(|answer| answer.status == 200));
    }
    assert!(answered >= 19, "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_nobody_elses_failure() {
    let edge = Plan::node(1).start(&Authority::new()).await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    for n in 1..=5 {
        let mut client = Client::connect(edge.http).await;
        client.send(format!("GET /slow?60000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        until("it arrives", || app.count() == n).await;
        until("it is in flight", || edge.in_flight(1) == 1).await;
        drop(client);
        until("it is not in flight", || edge.in_flight(1) == 0).await;
    }
    assert_eq!(get(edge.http, HOST, "/fail").await.status, 500);
    until("one answer", || edge.traffic().requests == 1).await;
    let traffic = edge.traffic();
    assert_eq!((traffic.failed(), traffic.app_errors), (0, 1));
}
