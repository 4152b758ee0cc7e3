//! What applications are told about the client.

use crate::support::{App, Authority, Client, Edge, HOST, Head, Plan, choice, table, target};

const LIES: &str = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\nx-forwarded-for: 10.0.0.3\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /p\r\n\
    X-Real-IP: 10.0.0.4\r\nForwarded: for=1.1.1.1\r\nX_Forwarded_For: 9.9.9.9\r\nX-Forwarded_For: 9.9.9.8\r\n\
    Connection: X-Forwarded-For, X-Forwarded-Port, X-Real-IP, X-Secret\r\nX-Secret: 1\r\nAccept: */*\r\n\
    Temps-Environment: 7\r\nTemps-Release: 7\r\nTemps-Host: evil.test\r\n";

async fn told(mut client: Client, app: &App) -> Head {
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}:81\r\n{LIES}\r\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    app.requests().pop().unwrap()
}

fn assert_lines(head: &Head, lines: &[(&str, &str)]) {
    for (name, value) in lines {
        assert_eq!(head.all(name), [*value], "{name} in {}", head.raw);
    }
    let lower = head.raw.to_lowercase();
    for lie in ["9.9.9", "secret", "temps-", "connection:"] {
        assert!(!lower.contains(lie), "{lie} in {}", head.raw);
    }
}

fn assert_truth(head: &Head, peer: &str) {
    assert_lines(
        head,
        &[
            ("x-forwarded-for", peer),
            ("x-real-ip", peer),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.test:81"),
            ("x-forwarded-port", "81"),
            ("host", "a.test:81"),
            ("accept", "*/*"),
        ],
    );
    let lower = head.raw.to_lowercase();
    for lie in ["10.0.0", "1.1.1.1", "https", "evil", "prefix", "forwarded:"] {
        assert!(!lower.contains(lie), "{lie} in {}", head.raw);
    }
}

/// What the proxy at 127.0.0.2 says is no lie.
fn assert_believed(head: &Head) {
    assert_lines(
        head,
        &[
            ("x-forwarded-for", "10.0.0.1, 10.0.0.2, 10.0.0.3, 127.0.0.2"),
            ("x-real-ip", "10.0.0.3"),
            ("forwarded", "for=1.1.1.1, for=127.0.0.2;proto=http"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-prefix", "/p"),
            ("host", "a.test:81"),
        ],
    );
}

fn lines(head: &Head) -> Vec<String> {
    let mut lines: Vec<_> = head.raw.split("\r\n").map(str::to_owned).collect();
    lines.retain(|line| !line.to_lowercase().starts_with("x-request-id"));
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_edge_says_who_the_client_is() {
    let edge = Edge::single().await;
    let app = App::start("a").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    assert_truth(&told(Client::connect(edge.http).await, &app).await, "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_and_the_same_is_told_through_a_second_node() {
    let authority = Authority::new();
    let plan = |node| Plan { trusted: vec!["127.0.0.2/32".parse().unwrap()], ..Plan::node(node) };
    let (first, second) = (plan(1).start(&authority).await, plan(2).start(&authority).await);
    let app = App::start("a").await;
    first.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&second])).await;
    second.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&first])).await;
    let mut all = Vec::new();
    for edge in [&first, &second] {
        let stranger = told(Client::connect(edge.http).await, &app).await;
        assert_truth(&stranger, "127.0.0.1");
        let proxy = told(Client::connect_from("127.0.0.2", edge.http).await, &app).await;
        assert_believed(&proxy);
        all.push((lines(&stranger), lines(&proxy)));
    }
    assert_eq!(all[0], all[1]);
}
