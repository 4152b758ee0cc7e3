//! What is sent again, and what never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{App, Client, Edge, HOST, choice, get, table, target, until};

/// Answers the first request of a connection and resets it at the first byte of the second.
async fn flaky(name: &str) -> App {
    App::script(name, |mut conversation| async move {
        if conversation.head().await.is_some() {
            conversation.answer("200 OK", "flaky").await;
            if conversation.more().await.is_some() {
                conversation.reset();
            }
        }
    })
    .await
}

/// Counts each POST once it was received whole, and then resets instead of answering.
async fn counting(counter: &Arc<AtomicUsize>) -> App {
    let counter = Arc::clone(counter);
    App::script("counting", move |mut conversation| {
        let counter = Arc::clone(&counter);
        async move {
            while let Some(head) = conversation.head().await {
                if conversation.body(&head).await.is_none() {
                    return;
                }
                if head.method == "POST" {
                    counter.fetch_add(1, Ordering::SeqCst);
                    return conversation.reset();
                }
                conversation.answer("200 OK", "fine").await;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_breaks_just_then_fails_no_get() {
    let edge = Edge::single().await;
    let (bad, good) = (flaky("flaky").await, App::start("good").await);
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &bad), target(2, 1, &good)], &[])).await;
    let mut client = Client::connect(edge.http).await;
    for round in 0..1000 {
        let answer = client.get(HOST, "/").await;
        assert_eq!(answer.status, 200, "request {round}: {}", answer.text());
    }
    // Each first request of a connection is answered; each second one was sent once more at most.
    let attempts = bad.connections() * 2 + good.count();
    assert!(bad.connections() > 100, "the bad instance was in use: {}", bad.connections());
    assert!(attempts <= 2 * 1000, "{attempts} attempts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_never_sent_twice() {
    let edge = Edge::single().await;
    let counter = Arc::new(AtomicUsize::new(0));
    let (one, two) = (counting(&counter).await, counting(&counter).await);
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &one), target(2, 1, &two)], &[])).await;
    let mut client = Client::connect(edge.http).await;
    for round in 0..50 {
        // On a fresh connection to the application, and on one that was used a moment ago.
        if round % 2 == 0 {
            for _ in 0..4 {
                assert_eq!(client.get(HOST, "/").await.status, 200);
            }
        }
        let body = if round % 3 == 0 { "x=1" } else { "" };
        let answer = client.post(HOST, "/count", body).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert!(answer.text().contains(HOST), "{}", answer.text());
        assert_eq!(counter.load(Ordering::SeqCst), round + 1);
    }
    until("the failures are counted", || edge.traffic().failed() == 50).await;
    assert_eq!(edge.traffic().app_errors, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_may_move_when_nobody_listens() {
    let edge = Edge::single().await;
    let (gone, good) = (App::start("gone").await, App::start("good").await);
    gone.refuse().await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &gone), target(2, 1, &good)], &[])).await;
    for n in 1..=20 {
        let answer = Client::connect(edge.http).await.post(HOST, "/count", "x=1").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "3"));
        assert_eq!(good.count(), n);
    }
    assert_eq!(edge.traffic().failed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_lost_on_a_fresh_connection_goes_to_another_instance_once() {
    let edge = Edge::single().await;
    let deaf = App::script("deaf", |mut conversation| async move {
        conversation.head().await;
        conversation.reset();
    })
    .await;
    let good = App::start("good").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &deaf), target(2, 1, &good)], &[])).await;
    for _ in 0..20 {
        assert_eq!(get(edge.http, HOST, "/").await.text(), "good");
    }
    assert!(deaf.count() > 0);
    edge.serve(2, table(vec![choice(1, 1, 1)], vec![target(1, 1, &deaf)], &[])).await;
    let before = deaf.count();
    assert_eq!(get(edge.http, HOST, "/").await.status, 502);
    assert_eq!(deaf.count(), before + 1, "there is no other instance to go to");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_neither_hidden_nor_repeated() {
    let edge = Edge::single().await;
    let app = App::script("breaking", |mut conversation| async move {
        if conversation.head().await.is_some() {
            conversation.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        }
    })
    .await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut client = Client::connect(edge.http).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let text = String::from_utf8(client.rest().await).unwrap();
    assert!(text.ends_with("\r\n\r\nhalf"), "{text}");
    assert_eq!(app.count(), 1);
    until("it is counted", || edge.traffic().failed() == 1 && edge.traffic().requests == 1).await;
    until("nothing is in flight", || edge.in_flight(1) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_applications_are_kept() {
    let edge = Edge::single().await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let at = edge.http;
            tokio::spawn(async move {
                let mut client = Client::connect(at).await;
                for round in 0..100 {
                    assert_eq!(client.get(HOST, "/").await.status, 200);
                    if round % 10 == 0 {
                        assert_eq!(client.post(HOST, "/", "x").await.status, 200);
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert!(app.connections() <= 8, "{} connections for 8 clients", app.connections());
}
