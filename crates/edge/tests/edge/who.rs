//! What applications are told about the client.

use crate::support::{App, Authority, Client, Edge, HOST, Head, Plan, choice, table, target};

const LIES: &str = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\nx-forwarded-for: 10.0.0.3\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /p\r\n\
    X-Real-IP: 10.0.0.4\r\nForwarded: for=1.1.1.1\r\nX_Forwarded_For: 9.9.9.9\r\nX-Forwarded_For: 9.9.9.8\r\n\
    Connection: X-Forwarded-For, X-Secret\r\nX-Secret: 1\r\nAccept: */*\r\n\
    Temps-Environment: 7\r\nTemps-Release: 7\r\nTemps-Host: evil.test\r\n";

async fn told(at: &Edge, app: &App) -> Head {
    let mut client = Client::connect(at.http).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}:80\r\n{LIES}\r\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    app.requests().pop().unwrap()
}

fn assert_truth(head: &Head) {
    let one = |name: &str, value: &str| assert_eq!(head.all(name), [value], "{name} in {}", head.raw);
    one("x-forwarded-for", "127.0.0.1");
    one("x-forwarded-proto", "http");
    one("x-forwarded-host", "a.test:80");
    one("host", "a.test:80");
    one("accept", "*/*");
    let lower = head.raw.to_lowercase();
    for lie in ["10.0.0", "9.9.9", "1.1.1.1", "https", "evil", "prefix", "port:", "secret", "temps-"] {
        assert!(!lower.contains(lie), "{lie} in {}", head.raw);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_edge_says_who_the_client_is() {
    let edge = Edge::single().await;
    let app = App::start("a").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    assert_truth(&told(&edge, &app).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_told_through_a_second_node() {
    let authority = Authority::new();
    let (first, second) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let app = App::start("a").await;
    first.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&second])).await;
    second.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&first])).await;
    let far = told(&first, &app).await;
    assert_truth(&far);
    let near = told(&second, &app).await;
    let lines = |head: &Head| {
        let mut lines: Vec<_> = head.raw.split("\r\n").map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&far), lines(&near));
}
