use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Answer;
use temps_core::model::{Health, Protocol};

async fn check(address: SocketAddr, host: &str, health: &Health) -> Answer {
    super::check(address, host, health, Protocol::Http1).await
}

fn health() -> Health {
    Health { path: "/up".to_owned(), timeout: 300, ..Health::default() }
}

/// A server that reads one request head, answers the bytes and closes; gives the head.
async fn server(answer: &'static [u8]) -> (SocketAddr, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        stream.write_all(answer).await.expect("written");
        let _ = tell.send(String::from_utf8(head).expect("ASCII"));
    });
    (address, told)
}

async fn answer_to(bytes: &'static [u8]) -> Answer {
    let (address, _told) = server(bytes).await;
    check(address, "a.test", &health()).await
}

#[tokio::test]
async fn only_the_expected_status_passes() {
    let good = answer_to(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(good, Answer { passed: true, text: "answered 200".to_owned() });
    for (bytes, text) in [
        (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], "answered 204, expected 200"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "answered 304, expected 200"),
        (b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "answered 401, expected 200"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", "answered 500, expected 200"),
        (
            b"HTTP/1.1 302 Found\r\nlocation: http://other.test/ok\r\ncontent-length: 0\r\n\r\n",
            "answered 302 to http://other.test/ok, expected 200",
        ),
    ] {
        assert_eq!(answer_to(bytes).await, Answer { passed: false, text: text.to_owned() });
    }
}

#[tokio::test]
async fn a_check_looks_like_traffic_of_the_application() {
    let (address, told) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(check(address, "a.test", &health()).await.passed);
    let head = told.await.expect("a request").to_ascii_lowercase();
    assert!(head.starts_with("get /up http/1.1\r\n"), "{head}");
    for line in ["host: a.test\r\n", "user-agent: temps-health/", "x-forwarded-proto: http\r\n"] {
        assert!(head.contains(line), "{head}");
    }
}

#[tokio::test]
async fn every_kind_of_silence_has_its_own_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    // Nobody accepts: the kernel connects, and nothing answers.
    assert_eq!(check(address, "a.test", &health()).await.text, "no answer within 300ms");
    drop(listener);
    assert_eq!(
        check(address, "a.test", &health()).await.text,
        format!("connection refused on port {}", address.port())
    );

    let text = answer_to(b"SSH-2.0-x\r\n").await.text;
    assert!(text.starts_with("not HTTP: "), "{text}");
    assert_eq!(answer_to(b"").await.text, "the connection was closed without an answer");
    let text = check(address, "a\nb", &health()).await.text;
    assert!(text.starts_with("the check cannot be made"), "{text}");
}

#[tokio::test]
async fn an_endless_body_does_not_hold_up_the_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
        stream.write_all(head).await.expect("written");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    assert!(check(address, "a.test", &health()).await.passed);
}

/// What wants TLS, and answers `plain` to anything else.
async fn tls_server(plain: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut record = [0; 50];
            if stream.read_exact(&mut record).await.is_err() {
                continue;
            }
            // A refusal, as of a server that knows none of the ciphers.
            let answer = if record.starts_with(&[22, 3]) { b"\x15\x03\x03\x00\x02\x02\x28" } else { plain };
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

#[tokio::test]
async fn what_speaks_only_tls_is_told_so() {
    let closes = tls_server(b"").await;
    let port = closes.port();
    let text = check(closes, "a.test", &health()).await.text;
    assert_eq!(text, format!("not HTTP: port {port} speaks TLS, and has to speak plain HTTP"));

    let warns = tls_server(b"\x15\x03\x01\x00\x02\x02\x46").await;
    let text = check(warns, "a.test", &health()).await.text;
    assert!(text.ends_with("speaks TLS, and has to speak plain HTTP"), "{text}");

    let explains = tls_server(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let port = explains.port();
    let text = check(explains, "a.test", &health()).await.text;
    let expected = format!("answered 400, expected 200: port {port} speaks TLS, and has to speak plain HTTP");
    assert_eq!(text, expected);
}

#[tokio::test]
async fn what_answers_elsewhere_than_on_this_machine_is_asked_there() {
    let listener = TcpListener::bind("127.0.0.77:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    assert!(check(address, "a.test", &health()).await.passed);
}

#[tokio::test]
async fn an_application_that_speaks_http2_alone_is_asked_in_it() {
    use hyper::server::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let answer = |request: hyper::Request<hyper::body::Incoming>| async move {
        let asked = (request.uri().path(), request.uri().host(), request.method().as_str());
        let status = if asked == ("/up", Some("a.test"), "GET") { 200 } else { 404 };
        hyper::Response::builder().status(status).body(http_body_util::Empty::<&[u8]>::new())
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let asked = super::check(address, "a.test", &health(), Protocol::Http2).await;
    assert_eq!(asked, Answer { passed: true, text: "answered 200".to_owned() });
    assert!(!check(address, "a.test", &health()).await.passed, "it does not speak HTTP/1.1");
    let (one, _told) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(!super::check(one, "a.test", &health(), Protocol::Http2).await.passed);
}
