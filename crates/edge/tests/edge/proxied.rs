//! Load balancers that say in the PROXY protocol who the client is.

use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use temps_edge::Limits;

use crate::support::{App, Authority, Client, Edge, HOST, Plan, choice, table, target, within};

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The balancer is at 127.0.0.2.
async fn start() -> (Edge, App) {
    let limits = Limits { head: Duration::from_millis(500), ..Limits::default() };
    let plan = Plan { limits, ..Plan::node(1) };
    let plan = Plan { trusted: vec!["192.0.2.8".parse().unwrap()], ..plan };
    let plan = Plan { proxy_protocol: vec!["127.0.0.2/31".parse().unwrap()], ..plan };
    let edge = plan.start(&Authority::new()).await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    (edge, app)
}

async fn balancer(edge: &Edge) -> Client {
    Client::connect_from("127.0.0.2", edge.http).await
}

fn binary(command: u8, source: [u8; 4]) -> Vec<u8> {
    [BINARY, &[command, 0x11, 0, 15], &source, &[198, 51, 100, 1, 0x9c, 0x40, 0, 80], &[4, 0, 0]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_who_the_balancer_says() {
    let (edge, app) = start().await;
    let ask = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n").into_bytes();
    for (header, told) in [
        (LINE.as_bytes().to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.2"),
        (binary(0x21, [192, 0, 2, 7]), "192.0.2.7"),
        (binary(0x20, [192, 0, 2, 7]), "127.0.0.2"),
        // A proxy that is trusted, behind the balancer.
        (binary(0x21, [192, 0, 2, 8]), "10.0.0.1, 192.0.2.8"),
    ] {
        // With the request, and in two parts wherever it is cut.
        for cut in [0, 5, header.len() - 1, header.len(), header.len() + 2] {
            let mut client = balancer(&edge).await;
            let all = [&header[..], &ask[..]].concat();
            client.send(&all[..cut]).await;
            tokio::task::yield_now().await;
            client.send(&all[cut..]).await;
            assert_eq!(client.answer().await.text(), "app");
            assert_eq!(app.requests().pop().unwrap().all("x-forwarded-for"), [told]);
            // A later request of this connection has none of its own.
            client.send(&ask).await;
            assert_eq!(client.answer().await.text(), "app");
            assert_eq!(app.requests().pop().unwrap().all("x-forwarded-for"), [told]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_may_follow_it() {
    let (edge, app) = start().await;
    let mut client = balancer(&edge).await;
    client.send(LINE).await;
    let io = TokioIo::new(client.stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a.test/").body(Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(within("an answer", sender.send_request(request)).await.unwrap().status(), 200);
    assert_eq!(app.requests().pop().unwrap().all("x-forwarded-for"), ["192.0.2.7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_does_not_say_so_is_not_heard() {
    let (edge, app) = start().await;
    let ask = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for header in ["", "proxy UNKNOWN\r\n", "PROXY TCP4 192.0.2.7\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = balancer(&edge).await;
        client.send(format!("{header}{ask}")).await;
        assert_eq!(String::from_utf8_lossy(&client.rest().await), "", "{header}");
    }
    // As long as it may take for a head.
    for part in ["", "PROXY TC", LINE] {
        let mut client = balancer(&edge).await;
        client.send(part).await;
        assert!(client.rest().await.is_empty(), "{part}");
    }
    assert_eq!(app.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_say_so() {
    let (edge, app) = start().await;
    let mut client = Client::connect(edge.http).await;
    client.send(format!("{LINE}GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 400);
    let mut client = Client::connect(edge.http).await;
    client
        .send([&binary(0x21, [192, 0, 2, 7])[..], b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat())
        .await;
    assert_eq!(client.answer().await.status, 400);
    assert_eq!(app.count(), 0);
}
