//! Bodies that take their time, in both directions, and connections that change their protocol.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::support::{App, Authority, Client, Edge, HOST, Plan, choice, table, target, until, within};

/// Node 1 runs the application, node 2 forwards to it.
async fn near_and_far(app: &App) -> [Edge; 2] {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    near.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, app)], &[&far])).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&near])).await;
    [near, far]
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_when_they_happen() {
    let app = App::script("events", |mut conversation| async move {
        while conversation.head().await.is_some() {
            conversation
                .say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=UTF-8\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            for n in 0..3 {
                conversation.say(&format!("9\r\ndata: {n}\n\n\r\n")).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            conversation.say("0\r\n\r\n").await;
        }
    })
    .await;
    for edge in near_and_far(&app).await {
        let mut client = Client::connect(edge.http).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        let head = client.head().await.unwrap();
        let begun = Instant::now();
        assert_eq!(head.header("content-type"), Some("text/event-stream;charset=UTF-8"));
        assert_eq!(head.header("content-length"), None);
        for n in 0..3_u32 {
            assert_eq!(client.chunk().await.unwrap(), format!("data: {n}\n\n").into_bytes());
            let at = begun.elapsed();
            // Each arrives before the next is sent: nothing waits for more.
            assert!(at < Duration::from_millis(300) * (n + 2), "event {n} after {at:?}");
            assert!(at > Duration::from_millis(100) * (n + 1), "event {n} after {at:?}");
        }
        assert!(client.chunk().await.unwrap().is_empty());
        client.through(b"\r\n").await.unwrap();
        assert_eq!(client.get(HOST, "/").await.status, 200, "the connection can be used again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_trailers_pass_unchanged() {
    let app = App::script("trailers", |mut conversation| async move {
        while let Some(head) = conversation.head().await {
            let body = conversation.body(&head).await.unwrap();
            conversation
                .say(&format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{:x}\r\n{}\r\n0\r\nX-Sum: 7\r\n\r\n",
                    body.len().to_string().len(),
                    body.len()
                ))
                .await;
        }
    })
    .await;
    for edge in near_and_far(&app).await {
        let mut client = Client::connect(edge.http).await;
        for size in [1, 70_000, 2_000_000] {
            client
                .send(format!(
                    "PUT / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
                ))
                .await;
            for part in "x".repeat(size).as_bytes().chunks(50_000) {
                client.send(format!("{:x}\r\n", part.len())).await;
                client.send(part).await;
                client.send("\r\n").await;
            }
            client.send("0\r\n\r\n").await;
            let answer = client.answer().await;
            assert_eq!(answer.text(), size.to_string());
            assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
        }
        // A GET with a body, a HEAD with a length.
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.text(), "3");
    }
    let length = App::start("length").await;
    for edge in near_and_far(&length).await {
        let mut client = Client::connect(edge.http).await;
        client.send(format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(client.head().await.unwrap().header("content-length"), Some("7"));
        assert_eq!(client.get(HOST, "/").await.text(), "length");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_before_it_sends() {
    let app = App::script("asked", |mut conversation| async move {
        while let Some(head) = conversation.head().await {
            match head.path.as_str() {
                "/refuse" => {
                    conversation.answer("401 No", "no").await;
                    return;
                }
                "/ask" => {
                    conversation.say("HTTP/1.1 100 Continue\r\n\r\n").await;
                }
                // It does not know the question, and simply reads.
                _ => {}
            }
            conversation.say("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n").await;
            let body = conversation.body(&head).await.unwrap();
            conversation.answer("200 OK", &body.len().to_string()).await;
        }
    })
    .await;
    for edge in near_and_far(&app).await {
        for path in ["/ask", "/ignore"] {
            let mut client = Client::connect(edge.http).await;
            let put = format!(
                "PUT {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            );
            client.send(put).await;
            assert_eq!(client.head().await.unwrap().status, 100, "{path}");
            client.send("hello").await;
            assert_eq!(client.answer().await.text(), "5", "{path}");
        }
    }
    let near = &near_and_far(&app).await[0];
    let mut client = Client::connect(near.http).await;
    let put =
        format!("PUT /refuse HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    client.send(put).await;
    let refusal = client.answer().await;
    assert_eq!(
        (refusal.status, refusal.header("connection")),
        (401, Some("close")),
        "before any of the body"
    );
    assert!(client.rest().await.is_empty());
    until("nothing is in flight", || near.in_flight(1) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let app = App::script("early", |mut conversation| async move {
        while conversation.head().await.is_some() {
            conversation.answer("413 Too Large", "too large").await;
            // It reads on for a while, as servers do.
            while conversation.more().await.is_some() {}
        }
    })
    .await;
    for edge in near_and_far(&app).await {
        let mut client = Client::connect(edge.http).await;
        let size = 20_000_000;
        client.send(format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n")).await;
        // This client sends everything before it reads anything.
        within("sending", client.send(vec![b'x'; size])).await;
        assert_eq!(client.answer().await.text(), "too large");
        until("nothing is in flight", || edge.in_flight(1) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_progress_is_in_flight() {
    let app = App::start("app").await;
    let [near, far] = near_and_far(&app).await;
    for edge in [&near, &far] {
        let mut client = Client::connect(edge.http).await;
        client.send(format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nhello")).await;
        until("it is in flight where the instance is", || near.in_flight(1) == 1).await;
        client.send("world").await;
        assert_eq!(client.answer().await.text(), "10");
        until("it is over", || near.in_flight(1) == 0).await;
    }
}

/// Opens a tunnel, with something said too early.
async fn tunnel(edge: &Edge, name: &str) -> Client {
    let mut client = Client::connect(edge.http).await;
    client
        .send(format!(
            "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly\n"
        ))
        .await;
    let head = client.head().await.unwrap();
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")));
    assert_eq!(client.through(b"\n").await.unwrap(), format!("hello {name}\n").into_bytes());
    assert_eq!(client.through(b"\n").await.unwrap(), b"early\n");
    client
}

async fn echo(client: &mut Client, text: &str) {
    client.send(format!("{text}\n")).await;
    let heard = within("an echo", client.through(b"\n")).await;
    assert_eq!(heard.unwrap(), format!("{text}\n").into_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_live_through_changes_of_tables() {
    let (one, two) = (App::start("one").await, App::start("two").await);
    let [near, far] = near_and_far(&one).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(tunnel(&near, "one").await);
        open.push(tunnel(&far, "one").await);
    }
    until("all are in flight", || near.in_flight(1) == 20).await;
    for index in 2..8 {
        let mut old = target(1, 1, &one);
        old.draining = true;
        near.serve(index, table(vec![choice(2, 1, 1)], vec![old, target(2, 2, &two)], &[&far])).await;
        far.serve(index, table(vec![choice(2, 1, 1)], vec![], &[&near])).await;
        for client in &mut open {
            echo(client, &format!("still here {index}")).await;
        }
    }
    for edge in [&near, &far] {
        open.push(tunnel(edge, "two").await);
    }
    assert_eq!(near.in_flight(1), 20);
    // A client that has said everything may still hear the rest.
    let mut last = open.swap_remove(0);
    last.send("bye\n").await;
    last.stream.shutdown().await.unwrap();
    assert_eq!(last.rest().await, b"bye\n");
    drop(open);
    until("all are over", || near.in_flight(1) == 0 && near.in_flight(2) == 0).await;
    assert_eq!(near.traffic().failed() + far.traffic().failed(), 0);
}
