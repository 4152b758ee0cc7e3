//! The log of requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use temps_edge::{EdgeConfig, EdgeError};
use tokio::io::AsyncWriteExt;

use crate::support::{
    App, Authority, Client, Edge, HOST, Load, Plan, choice, config_in, get, table, target, until,
};

/// What is logged so far.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn next(path: &Path, n: usize) -> Value {
    until("it is logged", || lines(path).len() >= n).await;
    let all = lines(path);
    assert_eq!(all.len(), n, "{all:?}");
    all[n - 1].clone()
}

fn log_in(directory: &Arc<TempDir>) -> PathBuf {
    directory.path().join("access.log")
}

fn plan(node: u64) -> (Plan, PathBuf) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let path = log_in(&directory);
    (Plan { directory: Some(directory), access_log: Some(path.clone()), ..Plan::node(node) }, path)
}

async fn single() -> (Edge, PathBuf) {
    let (plan, path) = plan(1);
    (plan.start(&Authority::new()).await, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_tells_what_a_client_asked_and_who_answered() {
    let authority = Authority::new();
    let ((far, far_log), (near, near_log)) = (plan(1), plan(2));
    let far = Plan { trusted: vec!["127.0.0.2".parse().unwrap()], ..far }.start(&authority).await;
    let near = near.start(&authority).await;
    let app = App::start("app").await;
    far.serve(1, table(vec![choice(7, 2, 1)], vec![], &[&near])).await;
    near.serve(1, table(vec![choice(7, 2, 1)], vec![target(5, 7, &app)], &[&far])).await;
    let head =
        "Host: A.test:80\r\nX-Forwarded-For: 192.0.2.7\r\nX-Request-Id: {\"1\"}\r\nContent-Length: 6\r\n";
    for (edge, path, client, id) in
        [(&far, &far_log, "192.0.2.7", Some("{\"1\"}")), (&near, &near_log, "127.0.0.2", None)]
    {
        let mut balancer = Client::connect_from("127.0.0.2", edge.http).await;
        let mut asked = format!("POST /p\"%0a\\?token=CANARY HTTP/1.1\r\n{head}User-Agent: \"").into_bytes();
        asked.extend(b"\\n\x80\t{}\r\n\r\nCANARY");
        balancer.send(asked).await;
        let answer = balancer.answer().await;
        assert_eq!(answer.text(), "6");
        let mut line = next(path, 1).await;
        assert_eq!(line["request_id"], answer.header("x-request-id").unwrap());
        assert!(id.is_none_or(|id| line["request_id"] == id));
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
        let (first, all) = (line["first_byte_ms"].as_f64().unwrap(), line["duration_ms"].as_f64().unwrap());
        assert!(0.0 < first && first <= all && all < 20_000.0, "{first} {all}");
        for vague in ["time", "request_id", "first_byte_ms", "duration_ms"] {
            line.as_object_mut().unwrap().remove(vague);
        }
        let expected = json!({
            "client": client, "method": "POST", "host": "A.test:80", "path": "/p\"%0a\\", "status": 200,
            "bytes_in": 6, "bytes_out": 1, "environment": 1, "release": 7, "instance": 5, "node": 2,
            "protocol": "HTTP/1.1", "user_agent": "\"\\n\u{fffd}\t{}", "retries": 0, "error": null,
        });
        assert_eq!(line, expected);
        assert!(!std::fs::read_to_string(path).unwrap().contains("CANARY"));
    }
    // Both were asked once by a client; what one asked the other is not told again.
    assert_eq!((lines(&far_log).len(), lines(&near_log).len()), (1, 1));
    let logged = app.requests().iter().filter(|head| head.raw.to_lowercase().contains("temps-")).count();
    assert_eq!(logged, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_with_its_reason() {
    let authority = Authority::new();
    let ((near, near_log), (far, far_log)) = (plan(1), plan(2));
    let (near, far) = (near.start(&authority).await, far.start(&authority).await);
    let app = App::script("app", |mut conversation| async move {
        while let Some(head) = conversation.head().await {
            match head.path.as_str() {
                "/half" => {
                    conversation.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
                    return;
                }
                "/hang" => while conversation.more().await.is_some() {},
                _ => return conversation.reset(),
            }
        }
    })
    .await;
    near.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[&far])).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&near])).await;
    for (edge, log) in [(&near, &near_log), (&far, &far_log)] {
        let is = |line: &Value, status: Value, bytes: u64, instance: Value, error: &str| {
            let why = line["error"].as_str().unwrap();
            assert!(why.contains(error), "{line}");
            assert_eq!((&line["status"], &line["bytes_out"]), (&status, &json!(bytes)), "{line}");
            assert_eq!(line["instance"], instance, "{line}");
        };
        let answer = get(edge.http, "b.test", "/").await;
        let line = next(log, 1).await;
        is(&line, json!(404), answer.body.len() as u64, Value::Null, "no application is served at b.test");
        assert_eq!((&line["environment"], &line["node"]), (&Value::Null, &Value::Null));
        let mut client = Client::connect(edge.http).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\n\r\nx")).await;
        let answer = client.answer().await;
        let line = next(log, 2).await;
        is(&line, json!(502), answer.body.len() as u64, Value::Null, "broke off before it answered");
        assert_eq!(line["environment"], 1);
        let mut client = Client::connect(edge.http).await;
        client.send(format!("GET /half HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        client.rest().await;
        is(&next(log, 3).await, json!(200), 4, json!(1), "the answer broke off");
        let mut client = Client::connect(edge.http).await;
        let before = app.count();
        client.send(format!("GET /hang HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        until("it arrives", || app.count() > before).await;
        drop(client);
        is(&next(log, 4).await, Value::Null, 0, Value::Null, "the client left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_told() {
    let (edge, log) = single().await;
    let (gone, app) = (App::start("gone").await, App::start("app").await);
    gone.refuse().await;
    let targets = vec![target(1, 1, &gone), target(2, 1, &app)];
    edge.serve(1, table(vec![choice(1, 1, 2)], targets, &[])).await;
    let mut n = 0;
    loop {
        assert_eq!(get(edge.http, HOST, "/").await.text(), "app");
        n += 1;
        let line = next(&log, n).await;
        assert_eq!(line["instance"], 2);
        if line["retries"] == 1 {
            break;
        }
        assert_eq!(line["retries"], 0, "{line}");
        assert!(n < 20, "the one that is gone was never tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_told_when_it_ends() {
    let (edge, log) = single().await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut client = Client::connect(edge.http).await;
    client
        .send(format!("GET /echo HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"))
        .await;
    assert_eq!(client.answer().await.status, 101);
    client.send("12345").await;
    assert_eq!(client.exactly(15).await.unwrap(), b"hello app\n12345");
    // A later request is told first.
    get(edge.http, HOST, "/").await;
    assert_eq!(next(&log, 1).await["status"], 200);
    client.stream.shutdown().await.unwrap();
    drop(client);
    let line = next(&log, 2).await;
    assert_eq!(
        (&line["status"], &line["bytes_in"], &line["bytes_out"]),
        (&json!(101), &json!(5), &json!(15))
    );
    assert_eq!(line["instance"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_moved_away_goes_on_under_its_name() {
    let (edge, log) = single().await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut client = Client::connect(edge.http).await;
    client.get(HOST, "/one").await;
    next(&log, 1).await;
    let moved = log.with_extension("1");
    std::fs::rename(&log, &moved).unwrap();
    client.get(HOST, "/two").await;
    assert_eq!(next(&log, 1).await["path"], "/two");
    assert_eq!(lines(&moved).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_takes_over_goes_on_in_the_same_file() {
    let (mut edge, log) = single().await;
    let app = App::start("app").await;
    let serving = || table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[]);
    edge.serve(1, serving()).await;
    let load = Load::start(&[edge.http], 8, "/slow?1");
    until("the load runs", || load.total() > 50).await;
    let mut config: EdgeConfig = config_in(edge.directory.path().to_owned());
    config.takeover = Some(edge.socket());
    config.access_log = Some(log.clone());
    let heir: std::thread::JoinHandle<Result<(), EdgeError>> =
        std::thread::spawn(move || temps_edge::run(config));
    let before = edge.thread.replace(heir).unwrap();
    until("the edge before ends", || before.is_finished()).await;
    before.join().unwrap().unwrap();
    edge.serve(2, serving()).await;
    let total = load.total();
    until("the load runs", || load.total() > total + 50).await;
    let tally = load.stop().await;
    assert_eq!(tally.failures, [""; 0]);
    // Everything is written when an edge has ended.
    edge.stop().await;
    let answered = lines(&log).iter().filter(|line| line["status"] == 200 && line["error"].is_null()).count();
    assert_eq!(answered, tally.total());
}
