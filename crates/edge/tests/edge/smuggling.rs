//! Requests whose length could be read in two ways.

use crate::support::{App, Client, Edge, HOST, choice, table, target, within};

/// What the application saw, and all that the client got.
async fn send(edge: &Edge, app: &App, bytes: &str) -> (Vec<String>, String) {
    let before = app.count();
    let mut client = Client::connect(edge.http).await;
    client.send(bytes).await;
    // The answer ends the connection, or the client does.
    let mut answers = String::new();
    if let Some(answer) = within("an answer", client.try_answer()).await {
        answers = format!("{} {:?}", answer.status, answer.header("connection"));
    }
    let seen = app.requests()[before..].iter().map(|head| head.raw.clone()).collect();
    (seen, answers)
}

async fn fixture() -> (Edge, App) {
    let edge = Edge::single().await;
    let app = App::start("a").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    (edge, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lengths_never_hide_a_request() {
    let (edge, app) = fixture().await;
    let lengths = [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
    ];
    for lines in lengths {
        let mut client = Client::connect(edge.http).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n\r\n0\r\n\r\nG")).await;
        client.send(format!("ET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        let text = String::from_utf8(client.rest().await).unwrap();
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "one answer, then the end: {text}");
        assert!(text.contains("connection: close"), "{text}");
    }
    for head in app.requests() {
        assert!(head.raw.starts_with("POST / "), "{}", head.raw);
        assert_eq!(head.all("content-length"), [""; 0]);
        assert_eq!(head.all("transfer-encoding"), ["chunked"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_none_is_refused() {
    let (edge, app) = fixture().await;
    let bad = [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: 0x5\r\n\r\nhello",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "X-A: a\0b\r\n\r\n",
        "X-A: a\rb\r\n\r\n",
        "Content-Length: 5, 5\r\n\r\nhello",
    ];
    for rest in bad {
        let (seen, answers) = send(&edge, &app, &format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{rest}")).await;
        assert!(answers.starts_with("400"), "{rest:?}: {answers}");
        assert!(seen.is_empty(), "{rest:?}: {seen:?}");
    }
    let (seen, answers) = send(
        &edge,
        &app,
        &format!("POST / HTTP/1.0\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    )
    .await;
    assert!(answers.starts_with("400") && seen.is_empty(), "{answers} {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_with_a_bare_line_feed_is_not_passed_on() {
    let (edge, app) = fixture().await;
    let mut client = Client::connect(edge.http).await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n5;x\nhello\r\n0\r\n\r\n\
             GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        ))
        .await;
    let text = String::from_utf8(client.rest().await).unwrap();
    assert!(!text.contains(" 200 "), "{text}");
    assert!(app.requests().iter().all(|head| head.path == "/"), "{:?}", app.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_two_lengths_hides_no_answer() {
    let edge = Edge::single().await;
    let app = App::script("both", |mut conversation| async move {
        while conversation.head().await.is_some() {
            conversation
                .say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
                .await;
        }
    })
    .await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut client = Client::connect(edge.http).await;
    for _ in 0..2 {
        let answer = client.get(HOST, "/").await;
        assert_eq!((answer.text().as_str(), answer.header("content-length")), ("hello", None));
    }
}
