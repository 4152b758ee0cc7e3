//! Addresses where nobody answers: packets vanish, and nothing refuses.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use temps_core::model::{Endpoint, InstanceId, ReleaseId};
use temps_core::table::Target;

use crate::support::{App, Client, Edge, HOST, Load, choice, get, table, target, until};

/// Longer than a silent address may hold up one request, on a busy machine, and shorter than a kernel tries.
const SOON: Duration = Duration::from_millis(2500);

/// A listener whose queue is full, so that further connections get no answer.
struct Silent {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Silent {
    /// `None`, told on standard error, where the kernel answers all the same.
    fn listen(test: &str) -> Option<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        for _ in 0..16 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
                Ok(stream) => queued.push(stream),
                Err(_) => return Some(Self { listener, _queued: queued }),
            }
        }
        let _ = writeln!(std::io::stderr(), "skipped: {test}: a full queue refuses nobody here");
        None
    }

    fn target(&self, instance: u64) -> Target {
        let address = self.listener.local_addr().unwrap().to_string();
        let endpoint = Endpoint { address, incarnation: "silent".to_owned() };
        Target { instance: InstanceId(instance), release: ReleaseId(1), endpoint, ..Target::default() }
    }

    /// Accepts everything that waits, and what comes for a while, and answers the bytes of all requests.
    fn wake(self, of: Duration) -> Vec<u8> {
        drop(self._queued);
        self.listener.set_nonblocking(true).unwrap();
        let end = Instant::now() + of;
        let (mut open, mut bytes) = (Vec::new(), Vec::new());
        while Instant::now() < end {
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(true).unwrap();
                open.push(stream);
            }
            for stream in &mut open {
                let mut buffer = [0; 4096];
                if let Ok(n) = std::io::Read::read(stream, &mut buffer) {
                    bytes.extend(&buffer[..n]);
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bytes
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_address_delays_one_request_a_little_and_fails_none() {
    let Some(silent) = Silent::listen("a_silent_address_delays_one_request_a_little_and_fails_none") else {
        return;
    };
    let edge = Edge::single().await;
    let lives = App::start("lives").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![silent.target(1), target(2, 1, &lives)], &[])).await;
    for _ in 0..6 {
        let since = Instant::now();
        assert_eq!(get(edge.http, HOST, "/").await.text(), "lives");
        assert_eq!(Client::connect(edge.http).await.post(HOST, "/", "hello").await.text(), "5");
        assert!(since.elapsed() < 2 * SOON, "{:?}", since.elapsed());
    }
    let load = Load::start(&[edge.http], 8, "/slow?1");
    until("the load goes on", || load.total() > 400).await;
    let tally = load.stop().await;
    assert_eq!(tally.failures, [""; 0]);
    assert_eq!(edge.traffic().failed(), 0);

    // Nobody else is there: the client is told soon.
    edge.serve(2, table(vec![choice(1, 1, 1)], vec![silent.target(1)], &[])).await;
    let since = Instant::now();
    let answer = get(edge.http, HOST, "/").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_still_connects_to_an_instance_that_ended_reaches_nobody_there() {
    let Some(silent) = Silent::listen("who_still_connects_to_an_instance_that_ended_reaches_nobody_there")
    else {
        return;
    };
    let edge = Edge::single().await;
    let lives = App::start("lives").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![silent.target(1)], &[])).await;
    let asked: Vec<_> = (0..4)
        .map(|n| {
            let at = edge.http;
            tokio::spawn(async move {
                let mut client = Client::connect(at).await;
                if n % 2 == 0 { client.get(HOST, "/").await } else { client.post(HOST, "/", "hello").await }
            })
        })
        .collect();
    until("they connect", || edge.in_flight(1) == 4).await;
    edge.serve(2, table(vec![choice(1, 1, 1)], vec![target(2, 1, &lives)], &[])).await;
    // Somebody else has the address now, and listens.
    let reached = tokio::task::spawn_blocking(move || silent.wake(Duration::from_millis(1500)));
    for asked in asked {
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(String::from_utf8_lossy(&reached.await.unwrap()), "");
    assert_eq!(lives.count(), 4);
}
