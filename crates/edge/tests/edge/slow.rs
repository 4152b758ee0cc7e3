//! Clients that stop in the middle, and many that are slow.

use std::time::{Duration, Instant};

use temps_edge::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{App, Authority, Client, Edge, HOST, Plan, choice, get, table, target, until, within};

/// Node 1 runs the application, node 2 forwards to it; both with these limits.
async fn near_and_far(limits: Limits, app: &App) -> [Edge; 2] {
    let authority = Authority::new();
    let near = Plan { limits, ..Plan::node(1) }.start(&authority).await;
    let far = Plan { limits, ..Plan::node(2) }.start(&authority).await;
    near.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, app)], &[&far])).await;
    far.serve(1, table(vec![choice(1, 1, 1)], vec![], &[&near])).await;
    [near, far]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_slow_but_must_move() {
    let app = App::start("app").await;
    let limits = Limits { body: Duration::from_secs(1), ..Limits::default() };
    let [near, far] = near_and_far(limits, &app).await;
    let lines = ["Content-Length: 6\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\n"];
    let all = [&near, &far].into_iter().flat_map(|edge| lines.map(|lines| (edge, lines)));
    futures_util::future::join_all(all.map(async |(edge, lines)| {
        let put = format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\n{lines}");
        let mut slow = Client::connect(edge.http).await;
        slow.send(format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 6\r\n\r\n")).await;
        let mut stopped = Client::connect(edge.http).await;
        stopped.send(format!("{put}h")).await;
        let begun = Instant::now();
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            slow.send("x").await;
        }
        assert_eq!(slow.answer().await.text(), "6", "it moved");
        let answer = stopped.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{lines:?}");
        assert!(stopped.rest().await.is_empty());
        assert!(begun.elapsed() < Duration::from_secs(10));
    }))
    .await;
    until("nothing is in flight", || near.in_flight(1) == 0).await;
    assert_eq!(near.counts(1).failed() + near.traffic().failed() + far.traffic().failed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_because_nothing_happens_is_not_cut() {
    let app = App::script("quiet", |mut conversation| async move {
        while let Some(head) = conversation.head().await {
            if head.path == "/events" {
                conversation.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
                tokio::time::sleep(Duration::from_millis(2_500)).await;
                conversation.say("1\r\nb\r\n0\r\n\r\n").await;
            } else if head.one("upgrade").is_some() {
                conversation.say("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
                while let Some(line) = conversation.line().await {
                    conversation.say(&line).await;
                }
            } else {
                // It thinks about the first half for longer than a client may.
                let first = conversation.exactly(5).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2_500)).await;
                let second = conversation.exactly(900_000).await.unwrap();
                conversation.answer("200 OK", &(first.len() + second.len()).to_string()).await;
            }
        }
    })
    .await;
    let limits = Limits { body: Duration::from_secs(1), ..Limits::default() };
    for edge in near_and_far(limits, &app).await {
        let mut events = Client::connect(edge.http).await;
        events.send(format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        let mut tunnel = Client::connect(edge.http).await;
        tunnel
            .send(format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\none\r\n"
            ))
            .await;
        assert_eq!(tunnel.head().await.unwrap().status, 101);
        assert_eq!(tunnel.through(b"\r\n").await.unwrap(), b"one\r\n");
        let mut upload = Client::connect(edge.http).await;
        let body = "x".repeat(900_005);
        let put = format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 900005\r\n\r\n{body}");
        // All of it is on its way; that it is not read is the application's affair.
        upload.send(put).await;
        assert_eq!(events.answer().await.text(), "ab");
        tunnel.send("two\r\n").await;
        assert_eq!(within("an echo", tunnel.through(b"\r\n")).await.unwrap(), b"two\r\n");
        assert_eq!(upload.answer().await.text(), "900005");
    }
}

/// A client that the other side cannot send much to before it reads.
async fn narrow(edge: &Edge) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = socket.connect(edge.http).await.unwrap();
    let mut client = Client::of(stream);
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_must_be_read_however_slowly() {
    let app = App::script("endless", |mut conversation| async move {
        conversation.head().await;
        conversation.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let part = "x".repeat(64 * 1024);
        while conversation.say(&part).await.is_some() {}
    })
    .await;
    let limits = Limits { body: Duration::from_secs(2), ..Limits::default() };
    let [near, far] = near_and_far(limits, &app).await;
    let mut slow = narrow(&near).await;
    let deaf = [narrow(&near).await, narrow(&far).await];
    until("all are under way", || near.in_flight(1) == 3).await;
    // It takes longer than the others may be deaf.
    for _ in 0..50 {
        assert!(within("some of it", slow.exactly(8 * 1024)).await.is_some());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("those that do not read are cut", || near.in_flight(1) == 1).await;
    assert!(slow.exactly(1024 * 1024).await.is_some(), "it is still served");
    drop((slow, deaf));
    until("nothing is in flight", || near.in_flight(1) == 0).await;
    assert_eq!(near.traffic().failed() + far.traffic().failed(), 0);
}

/// From one of the many addresses of this machine.
async fn from(n: u8, edge: &Edge) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, n], 0))).unwrap();
    Client::of(socket.connect(edge.http).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_its_share_of_connections() {
    let app = App::start("app").await;
    let limits = Limits { per_address: 3, ..Limits::default() };
    let edge = Plan { limits, ..Plan::node(1) }.start(&Authority::new()).await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let mut tunnel = from(1, &edge).await;
    tunnel.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")).await;
    assert_eq!(tunnel.head().await.unwrap().status, 101);
    let mut open = [from(1, &edge).await, from(1, &edge).await];
    for client in &mut open {
        assert_eq!(client.get(HOST, "/").await.text(), "app");
    }
    let mut one_too_many = from(1, &edge).await;
    let _ = one_too_many.stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
    assert!(one_too_many.try_answer().await.is_none(), "one too many");
    assert_eq!(from(2, &edge).await.get(HOST, "/").await.text(), "app", "another address");
    assert_eq!(open[0].get(HOST, "/").await.text(), "app", "those that it has are left alone");
    drop(tunnel);
    until("the tunnel is closed", || edge.in_flight(1) == 0).await;
    // The edge's end of it goes away a little later.
    let mut again = loop {
        let mut client = from(1, &edge).await;
        let _ = client.stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
        if client.try_answer().await.is_some() {
            break client;
        }
    };
    assert_eq!(again.get(HOST, "/").await.text(), "app", "there is room again");
}

/// The slowest but one in a hundred of so many requests, each on a connection of its own.
async fn p99(edge: &Edge) -> Duration {
    let mut times = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        assert_eq!(within("an answer", get(edge.http, HOST, "/")).await.text(), "app");
        times.push(begun.elapsed());
    }
    times.sort();
    times[times.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_that_drip_slow_nobody_down() {
    let app = App::start("app").await;
    let limits = Limits { per_address: 10_000, ..Limits::default() };
    let edge = Plan { limits, ..Plan::node(1) }.start(&Authority::new()).await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let alone = p99(&edge).await;
    let mut dripping: Vec<TcpStream> = Vec::new();
    for _ in 0..2_000 {
        let mut stream = TcpStream::connect(edge.http).await.unwrap();
        stream.write_all(b"G").await.unwrap();
        dripping.push(stream);
    }
    let drip = tokio::spawn(async move {
        let head = format!("ET / HTTP/1.1\r\nHost: {HOST}\r\nX: {}", "x".repeat(100));
        for byte in head.bytes() {
            // Each of them once a second or so, spread over it.
            for stream in dripping.chunks_mut(100) {
                for stream in stream {
                    let _ = stream.write_all(&[byte]).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let beside = p99(&edge).await;
    drip.abort();
    // Twice as slow, or what a busy machine does to anybody.
    assert!(beside < (alone * 2).max(Duration::from_millis(100)), "{alone:?}, then {beside:?}");
}
