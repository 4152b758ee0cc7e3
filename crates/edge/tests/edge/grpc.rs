//! gRPC from end to end: clients and applications that speak HTTP/2 without TLS, through one edge and through two.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use temps_edge::Limits;

use crate::support::http2::{app, connect, lines, piece, push, target_in_http2, text, trailers};
use crate::support::{App, Authority, Edge, Plan, choice, table, until, within};

type Log = Arc<Mutex<Vec<String>>>;

/// An application with one method of each kind.
async fn service(log: &Log) -> App {
    let log = Arc::clone(log);
    app("grpc", 100, move |request: Request<RecvStream>, respond| answer(request, respond, Arc::clone(&log)))
        .await
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, log: Log) {
    let head = || Response::builder().header("content-type", "application/grpc");
    let (parts, mut incoming) = request.into_parts();
    log.lock().unwrap().push(format!("{} {}", parts.method, parts.uri));
    log.lock().unwrap().extend(lines(&parts.headers));
    match parts.uri.path() {
        "/unary" => {
            let heard = text(&mut incoming).await;
            let after = trailers(&mut incoming).await;
            log.lock().unwrap().extend(after);
            let mut body = respond.send_response(head().body(()).unwrap(), false).unwrap();
            push(&mut body, &heard);
            body.send_trailers(status("0")).unwrap();
        }
        "/refused" => {
            let response = head().header("grpc-status", "7").body(()).unwrap();
            respond.send_response(response, true).unwrap();
        }
        "/stream" => {
            let mut body = respond.send_response(head().body(()).unwrap(), false).unwrap();
            for n in 0..3 {
                push(&mut body, &n.to_string());
                // The client answers each piece with one of its own, so none may wait for the next.
                if n < 2 {
                    piece(&mut incoming).await;
                }
            }
            body.send_trailers(status("0")).unwrap();
        }
        "/talk" => {
            // Nothing is said before the client has said something.
            let first = piece(&mut incoming).await.unwrap();
            let mut body = respond.send_response(head().body(()).unwrap(), false).unwrap();
            push(&mut body, &first);
            while let Some(said) = piece(&mut incoming).await {
                push(&mut body, &said);
            }
            body.send_trailers(status("0")).unwrap();
        }
        "/breaks" => {
            let mut body = respond.send_response(head().body(()).unwrap(), false).unwrap();
            push(&mut body, "half");
            tokio::time::sleep(Duration::from_millis(50)).await;
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        _ => {
            let mut body = respond.send_response(head().body(()).unwrap(), false).unwrap();
            let why = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
            log.lock().unwrap().push(format!("left: {}", why.unwrap()));
        }
    }
}

async fn fixture(app: &App) -> [Edge; 2] {
    let authority = Authority::new();
    // Who is silent in a conversation is not cut.
    let limits = Limits { body: Duration::from_millis(500), ..Limits::default() };
    let near = Plan { limits, ..Plan::node(1) }.start(&authority).await;
    let far = Plan { limits, ..Plan::node(2) }.start(&authority).await;
    near.serve(1, table(vec![choice(1, 1, 1)], vec![target_in_http2(1, 1, app)], &[&far])).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&near])).await;
    [near, far]
}

fn call(path: &str) -> Request<()> {
    Request::post(format!("http://a.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_each_kind() {
    let log = Log::default();
    let app = service(&log).await;
    let edges = fixture(&app).await;
    for edge in &edges {
        let mut client = connect(edge.http).await;
        log.lock().unwrap().clear();
        let (answer, mut body) = client.send_request(call("/unary"), false).unwrap();
        push(&mut body, "hello");
        body.send_trailers(HeaderMap::from_iter([(
            HeaderName::from_static("x-sum"),
            HeaderValue::from_static("7"),
        )]))
        .unwrap();
        let mut answer = within("an answer", answer).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert_eq!(text(answer.body_mut()).await, "hello");
        assert_eq!(trailers(answer.body_mut()).await, ["grpc-status: 0"]);
        let mut heard = std::mem::take(&mut *log.lock().unwrap());
        heard.retain(|line| !line.starts_with("x-request-id: "));
        heard[1..].sort();
        assert_eq!(
            heard,
            [
                "POST http://a.test/unary",
                "content-type: application/grpc",
                "te: trailers",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-host: a.test",
                "x-forwarded-port: 80",
                "x-forwarded-proto: http",
                "x-real-ip: 127.0.0.1",
                "x-sum: 7",
            ]
        );

        // Its head is all of the answer, and the client has more to say.
        let (answer, _body) = client.send_request(call("/refused"), false).unwrap();
        let mut answer = within("an answer", answer).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "7");
        assert_eq!(text(answer.body_mut()).await, "");

        let (answer, mut body) = client.send_request(call("/stream"), false).unwrap();
        let mut answer = within("an answer", answer).await.unwrap();
        for n in 0..3 {
            assert_eq!(piece(answer.body_mut()).await.unwrap(), n.to_string());
            push(&mut body, "next");
        }
        assert_eq!(piece(answer.body_mut()).await, None);
        assert_eq!(trailers(answer.body_mut()).await, ["grpc-status: 0"]);
    }
    until("all is over", || edges[0].in_flight(1) == 0).await;
    assert_eq!(edges.iter().map(|edge| edge.traffic().failed()).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_has_its_pauses() {
    let app = service(&Log::default()).await;
    for edge in fixture(&app).await {
        let mut client = connect(edge.http).await;
        let (answer, mut body) = client.send_request(call("/talk"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        push(&mut body, "one");
        let mut answer = within("an answer", answer).await.unwrap();
        assert_eq!(piece(answer.body_mut()).await.unwrap(), "one");
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        push(&mut body, "two");
        assert_eq!(piece(answer.body_mut()).await.unwrap(), "two");
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(piece(answer.body_mut()).await, None);
        assert_eq!(trailers(answer.body_mut()).await, ["grpc-status: 0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_may_break_off() {
    let log = Log::default();
    let app = service(&log).await;
    let edges = fixture(&app).await;
    for (n, edge) in edges.iter().enumerate() {
        let mut client = connect(edge.http).await;
        let (answer, _) = client.send_request(call("/breaks"), true).unwrap();
        let mut answer = within("an answer", answer).await.unwrap();
        assert_eq!(piece(answer.body_mut()).await.unwrap(), "half");
        let broken = within("its end", answer.body_mut().data()).await;
        assert!(broken.unwrap().is_err(), "half an answer is not whole");
        until("it is counted", || edges[0].counts(1).reset == n as u64 + 1).await;

        let (answer, mut body) = client.send_request(call("/wait"), false).unwrap();
        let answer = within("an answer", answer).await.unwrap();
        until("it is in flight", || edges[0].in_flight(1) == 1).await;
        body.send_reset(Reason::CANCEL);
        drop(answer);
        until("the application hears of it", || {
            log.lock().unwrap().iter().filter(|line| line.starts_with("left")).count() == n + 1
        })
        .await;
        until("it is not in flight", || edges[0].in_flight(1) == 0).await;
        // The connection goes on.
        let (answer, _) = client.send_request(call("/refused"), true).unwrap();
        assert_eq!(within("an answer", answer).await.unwrap().headers()["grpc-status"], "7");
    }
    assert_eq!(edges[0].counts(1).reset, 2);
}
