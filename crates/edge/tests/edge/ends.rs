//! How exchanges end: tunnels one half at a time, answers without a body, uploads that nobody reads yet, and HTTP/2
//! when the edge stops.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GO_AWAY, HEADERS, PING, RESET, SETTINGS, frame,
};
use crate::support::{App, Authority, Client, Edge, HOST, Plan, choice, table, target, until, within};
use crate::takeover::successor;

async fn near_and_far(app: &App) -> [Edge; 2] {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    near.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, app)], &[&far])).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&near])).await;
    [near, far]
}

/// The frame with which a WebSocket ends: 1001, going away.
const GOING_AWAY: &[u8] = b"\x88\x02\x03\xe9";

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_ends_one_half_after_the_other() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let app = App::script("ws", move |mut conversation| {
        let log = Arc::clone(&log);
        async move {
            conversation.head().await;
            conversation.say("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
            conversation.stream.write_all(GOING_AWAY).await.unwrap();
            conversation.stream.shutdown().await.unwrap();
            // It has said everything, and hears the rest.
            let after = conversation.exactly(GOING_AWAY.len() + 5).await;
            log.lock().unwrap().push(after);
            while conversation.more().await.is_some() {}
        }
    })
    .await;
    for (n, edge) in near_and_far(&app).await.iter().enumerate() {
        let mut client = Client::connect(edge.http).await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            ))
            .await;
        assert_eq!(client.head().await.unwrap().status, 101);
        assert_eq!(client.rest().await, GOING_AWAY);
        client.send(GOING_AWAY).await;
        client.send("after").await;
        until("the application hears it", || heard.lock().unwrap().len() == n + 1).await;
        assert_eq!(heard.lock().unwrap()[n].as_deref(), Some(&b"\x88\x02\x03\xe9after"[..]));
        assert_eq!(app.open(), 1, "the other half is open");
        client.stream.shutdown().await.unwrap();
        until("both are closed", || app.open() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_may_tell_its_length() {
    let app = App::script("none", |mut conversation| async move {
        while let Some(head) = conversation.head().await {
            let status = if head.method == "HEAD" { "200" } else { &head.path[1..] };
            let answer = format!(
                "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n"
            );
            conversation.say(&answer).await;
        }
    })
    .await;
    for edge in near_and_far(&app).await {
        let mut client = Client::connect(edge.http).await;
        for _ in 0..2 {
            // What came after the head would be taken for the next answer.
            assert_eq!(client.get(HOST, "/304").await.status, 304);
            assert_eq!(client.get(HOST, "/204").await.status, 204);
            client.send(format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
            let head = client.head().await.unwrap();
            assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_does_not_read_is_not_gathered() {
    let read = Arc::new(Notify::new());
    let go_on = Arc::clone(&read);
    let app = App::script("later", move |mut conversation| {
        let go_on = Arc::clone(&go_on);
        async move {
            // It keeps its connection: on one that it closes just then, a request with a body fails.
            while let Some(head) = conversation.head().await {
                go_on.notified().await;
                let body = conversation.body(&head).await.unwrap();
                conversation.answer("200 OK", &body.len().to_string()).await;
            }
        }
    })
    .await;
    const ALL: usize = 100_000_000;
    for edge in near_and_far(&app).await {
        let mut client = Client::connect(edge.http).await;
        client.send(format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {ALL}\r\n\r\n")).await;
        let part = [b'x'; 100_000];
        let mut sent = 0;
        // What the kernel keeps for each connection on the way, and little more.
        while let Ok(wrote) =
            tokio::time::timeout(Duration::from_millis(500), client.stream.write(&part)).await
        {
            sent += wrote.unwrap();
            assert!(sent < ALL / 2, "somebody gathers it, or it was answered");
        }
        read.notify_one();
        while sent < ALL {
            let n = part.len().min(ALL - sent);
            within("sending", client.stream.write_all(&part[..n])).await.unwrap();
            sent += n;
        }
        assert_eq!(client.answer().await.text(), ALL.to_string());
    }
}

/// What a client of HTTP/2 sees when its edge ends: the last request taken, as it was told first and then, and which
/// were answered or refused.
async fn goodbye(client: &mut Frames) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let slow = b"\x82\x86\x04\x09/slow?900\x41\x06a.test";
    let (mut told, mut answered, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(next) = within("a frame", client.next()).await {
        match next.kind {
            GO_AWAY => {
                assert_eq!(next.code(4), 0);
                told.push(next.code(0));
                if told.len() == 1 {
                    // This one crosses the first goodbye on its way.
                    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 101, slow)).await.unwrap();
                }
            }
            PING if next.flags == 0 => client.send(&frame(PING, 1, 0, &next.payload)).await.unwrap(),
            SETTINGS if next.flags == 0 => client.send(&frame(SETTINGS, 1, 0, &[])).await.unwrap(),
            DATA if next.flags & END_STREAM != 0 => answered.push(next.stream),
            RESET => refused.push(next.stream),
            _ => {}
        }
    }
    answered.sort_unstable();
    (told, answered, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http2_was_told_to_be_taken_is_answered() {
    for takeover in [false, true] {
        let mut edge = Edge::single().await;
        let app = App::start("app").await;
        edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
        let mut client = Frames::connect(edge.http).await;
        let slow = b"\x82\x86\x04\x09/slow?900\x41\x06a.test";
        for stream in [1, 3, 5, 7, 9] {
            client.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, slow)).await.unwrap();
        }
        until("all arrive", || app.count() == 5).await;
        let before = edge.thread.take().unwrap();
        if takeover {
            edge.thread = Some(successor(&edge));
        } else {
            let link = edge.link.take().unwrap();
            tokio::spawn(link.stop(Duration::from_secs(5)));
        }
        let (told, answered, refused) = goodbye(&mut client).await;
        assert_eq!(told[0], i32::MAX as u32, "the first goodbye promises nothing");
        assert_eq!(told.len(), 2, "{told:?}");
        let last = told[1];
        assert!(last == 9 || last == 101, "{last}");
        let taken: Vec<u32> = [1, 3, 5, 7, 9, 101].into_iter().filter(|stream| *stream <= last).collect();
        assert_eq!(answered, taken, "takeover: {takeover}, refused {refused:?}");
        until("the edge ends", || before.is_finished()).await;
        before.join().unwrap().unwrap();
    }
}
