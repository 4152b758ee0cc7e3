//! Which application a request is for.

use temps_core::model::EnvironmentId;
use temps_core::table::Route;

use crate::support::{App, Client, Edge, choice, get, table, target};

async fn two_applications() -> (Edge, App, App) {
    let edge = Edge::single().await;
    let (a, b) = (App::start("a").await, App::start("b").await);
    let mut both = table(vec![choice(1, 1, 1)], vec![target(1, 1, &a)], &[]);
    both.routes.push(Route {
        environment: EnvironmentId(2),
        hosts: vec!["b.test".to_owned()],
        path_prefix: "/".to_owned(),
        sticky: None,
        maintenance: None,
        choices: vec![choice(2, 1, 1)],
        local: vec![target(2, 2, &b)],
    });
    edge.serve(1, both).await;
    (edge, a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_the_same_however_it_is_written() {
    let (edge, a, _b) = two_applications().await;
    for host in ["a.test", "A.TEST", "a.test:8080", "a.test.", "a.test.:80"] {
        let answer = get(edge.http, host, "/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "a"), "{host}");
        assert_eq!(a.requests().pop().unwrap().all("host"), [host], "applications get what the client wrote");
    }
    for host in ["[::1]:80", "unknown.test", "127.0.0.1"] {
        assert_eq!(get(edge.http, host, "/").await.status, 404, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_none_is_refused() {
    let (edge, a, b) = two_applications().await;
    let lines = [
        "Host: a.test,b.test",
        "Host: a.test b",
        "Host: ",
        "X-None: 1",
        "Host: a.test\r\nHost: b.test",
        "Host: a.test\r\nHost: a.test",
        "Host: a.test:x",
        "Host: user@a.test",
        "Host: a..test",
    ];
    for line in lines {
        let mut client = Client::connect(edge.http).await;
        client.send(format!("GET / HTTP/1.1\r\n{line}\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 400, "{line}: {}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"), "{line}");
    }
    let mut client = Client::connect(edge.http).await;
    client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 405);
    assert_eq!(a.count() + b.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_of_a_request_wins_over_its_host() {
    let (edge, _a, b) = two_applications().await;
    let mut client = Client::connect(edge.http).await;
    client.send("GET http://b.test/x?y=1 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "b");
    let head = b.requests().pop().unwrap();
    assert_eq!((head.path.as_str(), head.all("host")), ("/x?y=1", vec!["b.test".to_owned()]));
}
