//! Applications that speak HTTP/2: how many connections they get, and what becomes of requests when one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, PREFACE, RESET, SETTINGS, frame, split,
};
use crate::support::http2::{app, say, target_in_http2, text};
use crate::support::{App, Authority, Client, Edge, HOST, Plan, choice, get, table, target, until, within};

/// What it answers: `/slow?MS` after a while, a body as its length, and everything else with its name.
async fn ordinary(name: &'static str, most: u32) -> (App, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = app(name, most, move |mut request, respond| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let body = text(request.body_mut()).await;
            if let Some(ms) = request.uri().path_and_query().unwrap().as_str().strip_prefix("/slow?") {
                tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
            }
            say(respond, &if body.is_empty() { name.to_owned() } else { body.len().to_string() });
        }
    })
    .await;
    (app, count)
}

/// One worker, so that connections can be counted.
async fn single(app: &App) -> Edge {
    let edge = Plan { workers: 1, ..Plan::node(1) }.start(&Authority::new()).await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target_in_http2(1, 1, app)], &[])).await;
    edge
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_few_connections() {
    let (app, _) = ordinary("two", 10).await;
    let edge = single(&app).await;
    let at = edge.http;
    let mut asking = JoinSet::new();
    for _ in 0..60 {
        asking.spawn(async move { get(at, HOST, "/slow?700").await.text() });
    }
    until("all are under way", || edge.in_flight(1) == 60).await;
    assert_eq!(app.connections(), 6, "each carries as many as the application takes");
    while let Some(answer) = within("an answer", asking.join_next()).await {
        assert_eq!(answer.unwrap(), "two");
    }
    let mut client = Client::connect(at).await;
    for _ in 0..20 {
        assert_eq!(client.get(HOST, "/").await.text(), "two");
    }
    assert_eq!(app.connections(), 6);
    assert_eq!(edge.traffic().failed(), 0);
    // It is withdrawn, and nothing is left of it.
    edge.serve(2, table(vec![], vec![], &[])).await;
    until("its connections are closed", || app.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_http1_notice_nothing() {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let (app, _) = ordinary("two", 100).await;
    near.serve(1, table(vec![choice(1, 1, 1)], vec![target_in_http2(1, 1, &app)], &[&far])).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&near])).await;
    for edge in [&near, &far] {
        let mut client = Client::connect(edge.http).await;
        assert_eq!(client.get(HOST, "/").await.text(), "two");
        assert_eq!(client.post(HOST, "/", "hello").await.text(), "5");
        client
            .send(format!(
                "PUT / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
            ))
            .await;
        assert_eq!(client.head().await.unwrap().status, 100);
        client.send("3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "3");
        let large = "x".repeat(2_000_000);
        assert_eq!(client.post(HOST, "/", &large).await.text(), "2000000");

        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 501);
        assert!(answer.text().contains("HTTP/2"), "{}", answer.text());
    }
    until("nothing is in flight", || near.in_flight(1) == 0).await;
    assert_eq!(near.counts(1).failed(), 0, "no release is to blame for what a client wants");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_http2_gets_no_request() {
    let app = App::start("one").await;
    let edge = single(&app).await;
    let answer = Client::connect(edge.http).await.post(HOST, "/", "hello").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("does not speak HTTP/2"), "{}", answer.text());
    assert!(app.requests().iter().all(|head| head.method == "PRI"), "{:?}", app.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_in_flight_until_they_end() {
    let ((old, _), (new, _)) = (ordinary("old", 100).await, ordinary("new", 100).await);
    let edge = single(&old).await;
    let at = edge.http;
    let mut asking = JoinSet::new();
    for _ in 0..5 {
        asking.spawn(async move { get(at, HOST, "/slow?800").await.text() });
    }
    until("all are under way", || edge.in_flight(1) == 5).await;
    let mut draining = target_in_http2(1, 1, &old);
    draining.draining = true;
    edge.serve(2, table(vec![choice(2, 1, 1)], vec![draining, target_in_http2(2, 2, &new)], &[])).await;
    assert_eq!(get(at, HOST, "/").await.text(), "new");
    assert_eq!(edge.in_flight(1), 5);
    while let Some(answer) = within("an answer", asking.join_next()).await {
        assert_eq!(answer.unwrap(), "old");
    }
    until("it is drained", || edge.in_flight(1) == 0 && old.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_instance_that_ended_goes_elsewhere() {
    let ((gone, counted), (next, _)) = (ordinary("gone", 100).await, ordinary("next", 100).await);
    let edge = single(&gone).await;
    let mut reader = Client::connect(edge.http).await;
    reader.send(format!("GET /slow?60000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    until("it is under way", || counted.load(Ordering::SeqCst) == 1).await;
    let begun = Instant::now();
    edge.serve(2, table(vec![choice(2, 1, 1)], vec![target_in_http2(2, 2, &next)], &[])).await;
    until("its connection is cut", || gone.open() == 0).await;
    // The next one answers slowly, too: it has the request.
    until("it is under way there", || edge.in_flight(2) == 1 && edge.in_flight(1) == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// A script of frames: what arrived as `kind stream`, and when a whole request came, what to send.
async fn frames(
    script: impl Fn(usize, u32) -> Step + Clone + Send + Sync + 'static,
) -> (App, Arc<AtomicUsize>) {
    let (connections, processed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&processed);
    let app = App::script("frames", move |mut conversation| {
        let (script, counted) = (script.clone(), Arc::clone(&counted));
        let connection = connections.fetch_add(1, Ordering::SeqCst);
        async move {
            let stream = &mut conversation.stream;
            let mut preface = [0; PREFACE.len()];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            let (mut bytes, mut part) = (Vec::new(), [0; 64 * 1024]);
            loop {
                let Ok(n @ 1..) = stream.read(&mut part).await else { return };
                bytes.extend(&part[..n]);
                while let Some(next) = split(&mut bytes) {
                    if next.kind == SETTINGS && next.flags == 0 {
                        stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.unwrap();
                    }
                    let whole = matches!(next.kind, HEADERS | DATA) && next.flags & END_STREAM != 0;
                    if !whole {
                        continue;
                    }
                    let step = script(connection, next.stream);
                    counted.fetch_add(usize::from(step.processes), Ordering::SeqCst);
                    stream.write_all(&step.says).await.unwrap();
                    if step.ends {
                        return;
                    }
                }
            }
        }
    })
    .await;
    (app, processed)
}

/// What an application does with a request.
struct Step {
    processes: bool,
    says: Vec<u8>,
    ends: bool,
}

impl Step {
    fn answers(stream: u32) -> Self {
        let mut says = frame(HEADERS, END_HEADERS, stream, b"\x88");
        says.extend(frame(DATA, END_STREAM, stream, b"done"));
        Self { processes: true, says, ends: false }
    }
}

fn go_away(last: u32) -> Vec<u8> {
    frame(GO_AWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_processed_goes_on_another_connection() {
    // The first connection takes one request, and lets the next ones wait until it says that they came too late.
    let refusals: [fn(u32) -> Vec<u8>; 2] =
        [|_| go_away(1), |stream| frame(RESET, 0, stream, &7_u32.to_be_bytes())];
    for refusal in refusals {
        let (app, processed) = frames(move |connection, stream| match (connection, stream) {
            (0, 3) => Step { processes: false, says: refusal(stream), ends: false },
            _ => Step::answers(stream),
        })
        .await;
        let edge = single(&app).await;
        let mut client = Client::connect(edge.http).await;
        for n in 1..=3 {
            let answer = client.post(HOST, "/", "hello").await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "done"), "POST {n}");
        }
        assert_eq!(processed.load(Ordering::SeqCst), 3, "each once");
        assert_eq!(edge.traffic().failed(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_processed_is_not_sent_again() {
    // It says that it took the request, or says nothing, and ends.
    let ends: [fn() -> Vec<u8>; 3] = [|| go_away(3), || go_away(i32::MAX as u32), Vec::new];
    for end in ends {
        let (app, processed) = frames(move |connection, stream| match (connection, stream) {
            (0, 3) => Step { processes: true, says: end(), ends: true },
            _ => Step::answers(stream),
        })
        .await;
        let edge = single(&app).await;
        let mut client = Client::connect(edge.http).await;
        assert_eq!(client.post(HOST, "/", "hello").await.status, 200);
        assert_eq!(client.post(HOST, "/", "hello").await.status, 502);
        assert_eq!(processed.load(Ordering::SeqCst), 2);
        assert_eq!(client.get(HOST, "/").await.text(), "done", "on another connection");
    }
    // A GET may be sent twice.
    let (app, processed) = frames(|connection, stream| match (connection, stream) {
        (0, 3) => Step { processes: true, says: Vec::new(), ends: true },
        _ => Step::answers(stream),
    })
    .await;
    let edge = single(&app).await;
    let mut client = Client::connect(edge.http).await;
    for _ in 0..2 {
        assert_eq!(client.get(HOST, "/").await.text(), "done");
    }
    assert_eq!(processed.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_belongs_to_the_instance() {
    let ((two, _), one) = (ordinary("two", 100).await, App::start("one").await);
    let edge = Edge::single().await;
    let all = vec![target_in_http2(1, 1, &two), target(2, 1, &one)];
    edge.serve(1, table(vec![choice(1, 1, 1)], all, &[])).await;
    let mut heard = Vec::new();
    for _ in 0..8 {
        heard.push(get(edge.http, HOST, "/").await.text());
    }
    assert!(heard.iter().any(|name| name == "one") && heard.iter().any(|name| name == "two"), "{heard:?}");
}
