//! A link between two edges on which everything vanishes for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::model::NodeId;
use temps_core::table::Peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{App, Authority, Client, HOST, Plan, choice, get, table, target, until};

/// A link through which bytes go while it is whole. Whoever connects meanwhile gets no answer.
struct Cable {
    at: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
}

impl Cable {
    async fn to(far: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let whole = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&whole);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(far).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_in, far_out, state.subscribe()));
                tokio::spawn(carry(far_in, near_out, state.subscribe()));
            }
        });
        Self { at, whole }
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut whole: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        if whole.wait_for(|whole| *whole).await.is_err() || to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_link_gets_no_further_requests_and_keeps_those_it_has() {
    let authority = Authority::new();
    let client = Plan { workers: 1, ..Plan::node(1) }.start(&authority).await;
    let (cut, other) = (Plan::node(2).start(&authority).await, Plan::node(3).start(&authority).await);
    let (one, two) = (App::start("one").await, App::start("two").await);
    let cable = Cable::to(cut.peer).await;
    cut.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &one)], &[&client])).await;
    other.serve(1, table(vec![choice(1, 3, 1)], vec![target(2, 1, &two)], &[&client])).await;
    let mut routes = table(vec![choice(1, 2, 1), choice(1, 3, 1)], vec![], &[&cut, &other]);
    routes.peers.insert(NodeId(2), Peer { address: cable.at.to_string() });
    client.serve(1, routes).await;
    for _ in 0..4 {
        assert_eq!(get(client.http, HOST, "/").await.status, 200);
    }

    cable.whole.send_replace(false);
    let at = client.http;
    let waiting: Vec<_> = (0..4)
        .map(|_| tokio::spawn(async move { Client::connect(at).await.post(HOST, "/", "hello").await.status }))
        .collect();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let reached = one.count();
    for _ in 0..6 {
        let since = Instant::now();
        let answer = Client::connect(client.http).await.post(HOST, "/", "hello").await;
        assert_eq!((answer.status, answer.text()), (200, "5".to_owned()));
        assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    }
    assert_eq!(one.count(), reached, "somebody got through");

    cable.whole.send_replace(true);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 200, "what was on its way is answered");
    }
    let before = one.count();
    for _ in 0..40 {
        assert_eq!(get(client.http, HOST, "/").await.status, 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("the link is used again", || one.count() > before).await;
    assert_eq!(client.traffic().failed(), 0);
}
