//! Where senders are not led, by URLs, names or answers, and how little a bad answer costs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use temps_core::model::{MailSecurity, Receiver};
use temps_ledger::Ledger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::receivers::Hook;
use super::{ChannelSecret, World, hook_secret};
use crate::notify::address::Names;

/// What a receiver does after the beginning of its answer.
#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    /// It says nothing more and stays.
    Stay,
    /// It says this for ever.
    Repeat(&'static str),
    /// It says this for ever, a little at a time.
    Trickle(&'static str),
}

/// A receiver that answers each request with exactly these bytes.
struct Raw {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// So many bytes went out, in all.
    said: Arc<AtomicUsize>,
}

impl Raw {
    async fn start(answer: &'static str, then: Then) -> Self {
        // All addresses of this machine.
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let raw = Self { address, connections: Arc::default(), said: Arc::default() };
        let (connections, said) = (Arc::clone(&raw.connections), Arc::clone(&raw.said));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                // It ends when the sender has had enough.
                tokio::spawn(say(stream, answer, then, Arc::clone(&said)));
            }
        });
        raw
    }
}

async fn say(mut stream: TcpStream, answer: &str, then: Then, said: Arc<AtomicUsize>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(answer.as_bytes()).await?;
    loop {
        let (more, pause) = match then {
            Then::Close => return Ok(()),
            Then::Stay => return std::future::pending().await,
            Then::Repeat(more) => (more.repeat(1_000), Duration::ZERO),
            Then::Trickle(more) => (more.to_owned(), Duration::from_millis(50)),
        };
        said.fetch_add(stream.write(more.as_bytes()).await?, Ordering::SeqCst);
        tokio::time::sleep(pause).await;
    }
}

/// Whatever a receiver answers, the sender ends, has read little, and tells what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_cost_little_however_bad() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    const DELIVERED: &str = "";
    const LATE: &str = "it did not answer in time";
    // What is between sender and receiver in sockets, and what is read of a head.
    const SAID_MAX: usize = 16 << 20;
    let rows = [
        ("nothing", "", Then::Close, "broke off"),
        ("silence", "", Then::Stay, LATE),
        ("no HTTP", "220 mail.example.com ESMTP\r\n", Then::Stay, "broke off"),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-le", Then::Close, "broke off"),
        ("a head that never ends", OK, Then::Trickle("a: b\r\n"), LATE),
        ("headers without end", OK, Then::Repeat("a: b\r\n"), "broke off"),
        ("a header without end", "HTTP/1.1 200 OK\r\na: ", Then::Repeat("a"), "broke off"),
        ("interim answers without end", "", Then::Repeat("HTTP/1.1 103 Early Hints\r\n\r\n"), "broke off"),
        ("a body cut", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut", Then::Close, DELIVERED),
        ("a body that stands still", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", Then::Stay, DELIVERED),
        ("a body that trickles", "HTTP/1.1 200 OK\r\n\r\n", Then::Trickle("a"), DELIVERED),
        ("a body without end", "HTTP/1.1 200 OK\r\n\r\n", Then::Repeat("a"), DELIVERED),
        (
            "a refusal cut",
            "HTTP/1.1 410 Gone\r\ncontent-length: 100\r\n\r\nmoved away",
            Then::Close,
            "it answered 410 Gone: moved away",
        ),
        (
            "a refusal that stands still",
            "HTTP/1.1 410 Gone\r\ncontent-length: 100\r\n\r\nmoved away",
            Then::Stay,
            "it answered 410 Gone: moved away",
        ),
        (
            "a refusal without end",
            "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n",
            Then::Repeat("1\r\na\r\n"),
            "it answered 500 Internal Server Error: aaaa",
        ),
        ("another protocol", "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", Then::Stay, "it answered 101"),
    ];
    let world = World::new().await;
    let mut receivers = Vec::new();
    for (name, answer, then, _) in rows {
        let receiver = Raw::start(answer, then).await;
        world.add_hook(name, &format!("http://{}/", receiver.address)).await;
        receivers.push(receiver);
    }
    let mut notifier = world.notifier();
    notifier.patience = Duration::from_secs(3);
    let running = tokio::spawn(notifier.run(CancellationToken::new()));
    world.happen(1).await;
    for ((name, _, _, expected), receiver) in rows.into_iter().zip(receivers) {
        let channel = world.until(name, |channel| channel.sent > 0 || channel.last_failure.is_some()).await;
        match channel.last_failure {
            None => assert_eq!(expected, DELIVERED, "{name} counts as delivered"),
            Some(failure) => {
                assert!(expected != DELIVERED && failure.why.contains(expected), "{name}: {failure:?}");
                assert!(failure.why.len() < 200, "{name}: {failure:?}");
            }
        }
        let said = receiver.said.load(Ordering::SeqCst);
        assert!(said < SAID_MAX, "{name}: {said} bytes were taken");
    }
    running.abort();
}

#[tokio::test]
async fn a_receiver_is_left_alone_as_long_as_it_asks() {
    let rows = [
        ("too many", "HTTP/1.1 429 Too Many Requests\r\nretry-after: 120\r\n\r\n", 80..=150),
        ("unavailable", "HTTP/1.1 503 Service Unavailable\r\nretry-after: 120\r\n\r\n", 80..=150),
        // Nobody is left alone for ever.
        ("for ever", "HTTP/1.1 503 Service Unavailable\r\nretry-after: 99999999\r\n\r\n", 400..=750),
        // Where nothing is asked that counts, it is the usual second or few.
        ("another status", "HTTP/1.1 500 Internal Server Error\r\nretry-after: 120\r\n\r\n", 0..=10),
        ("no number", "HTTP/1.1 503 Service Unavailable\r\nretry-after: soon\r\n\r\n", 0..=10),
        ("negative", "HTTP/1.1 503 Service Unavailable\r\nretry-after: -9\r\n\r\n", 0..=10),
        ("huge", "HTTP/1.1 503 Service Unavailable\r\nretry-after: 99999999999999999999\r\n\r\n", 0..=10),
    ];
    let world = World::new().await;
    for (name, answer, _) in &rows {
        let receiver = Raw::start(answer, Then::Close).await;
        world.add_hook(name, &format!("http://{}/", receiver.address)).await;
    }
    let running = world.start();
    world.happen(1).await;
    for (name, _, around) in rows {
        let channel = world.until(name, |channel| channel.failing > 0).await;
        let wait = channel.retry_at.saturating_sub(world.ledger.state().clock) / 1_000;
        assert!(around.contains(&wait), "{name}: {wait} s");
    }
    running.abort();
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let (world, other) = (World::new().await, Hook::start(|_| (200, "")).await);
    let mut hooks = Vec::new();
    for status in [300, 301, 302, 303, 304, 307, 308] {
        for to in [format!("http://{}/", other.address), format!("//{}/", other.address), "/there".to_owned()]
        {
            let hook = Hook::start(move |_| (status, "")).await;
            hook.leads_to(&to);
            let name = format!("{status} {to}");
            world.add_hook(&name, &format!("http://{}/here", hook.address)).await;
            hooks.push((name, hook));
        }
    }
    let running = world.start();
    world.happen(1).await;
    for (name, hook) in hooks {
        let why = world.failure(&name).await;
        assert!(why.contains("redirects are not followed"), "{name}: {why}");
        assert!(hook.seen().iter().all(|seen| seen.target == "/here"), "{name}");
    }
    assert_eq!(other.connections(), 0, "nobody came");
    running.abort();
}

#[tokio::test]
async fn no_way_of_writing_a_private_address_leads_there() {
    let (world, inside) = (World::new().await, Raw::start("HTTP/1.1 200 OK\r\n\r\n", Then::Close).await);
    let port = inside.address.port();
    let hosts = [
        // Those of this machine, where somebody does listen.
        "127.0.0.1",
        "127.0.0.2",
        "127.1",
        "0x7f000001",
        "017700000001",
        "0.0.0.0",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::1]",
        "[::]",
        // Those of networks.
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::10.0.0.1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ];
    let receiver = || Receiver::Webhook { host: "x".to_owned() };
    for host in hosts {
        let secret = hook_secret(&format!("https://{host}:{port}/"));
        world.add_with(host, receiver(), secret, false, None).await;
    }
    let running = world.start();
    world.happen(1).await;
    for host in hosts {
        let why = world.failure(host).await;
        assert!(why.contains("no public address") || why.contains("has no address"), "{host}: {why}");
    }
    assert_eq!(inside.connections.load(Ordering::SeqCst), 0, "nobody came");
    // Such a way does lead there where that is allowed.
    world.add_hook("allowed", &format!("http://0.0.0.0:{port}/")).await;
    world.happen(1).await;
    world.until("allowed", |channel| channel.sent > 0).await;
    running.abort();
}

/// Name servers of an enemy: each question gets the next answer, and the last one for ever.
struct Shifty {
    answers: Vec<Vec<SocketAddr>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Names for Shifty {
    async fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        Ok(self.answers[number].clone())
    }
}

/// Tells both kinds of receivers by such a name, and returns the failure of each.
async fn told_by_name(answers: Vec<SocketAddr>, port: u16) -> [String; 2] {
    let world = World::new().await;
    let url = format!("https://hooks.example.com:{port}/");
    let receiver = Receiver::Webhook { host: "x".to_owned() };
    world.add_with("hook", receiver, hook_secret(&url), false, None).await;
    let receiver = Receiver::Email {
        host: "mail.example.com".to_owned(),
        port,
        security: MailSecurity::None,
        user: None,
        from: "a@example.com".to_owned(),
        to: vec!["b@example.com".to_owned()],
    };
    world.add_with("mail", receiver, ChannelSecret::default(), false, None).await;
    let mut notifier = world.notifier();
    notifier.names = Arc::new(Shifty { answers: vec![answers], asked: AtomicUsize::new(0) });
    let running = tokio::spawn(notifier.run(CancellationToken::new()));
    world.happen(1).await;
    let failures = [world.failure("hook").await, world.failure("mail").await];
    running.abort();
    failures
}

#[tokio::test]
async fn a_name_with_a_private_address_among_others_leads_nowhere() {
    let inside = Raw::start("HTTP/1.1 200 OK\r\n\r\n", Then::Close).await;
    let port = inside.address.port();
    // More than are tried, all of them of an operator of name servers; nobody gets there, as one is private.
    let public = ["1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001", "1.1.1.2"];
    for private in
        ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254", "fd00::1", "100.64.0.1"]
    {
        for place in [0, 1, public.len()] {
            let mut answers = public.to_vec();
            answers.insert(place, private);
            let answers = answers.into_iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect();
            for why in told_by_name(answers, port).await {
                assert!(why.contains(&format!("leads to {private}, which is no public address")), "{why}");
            }
        }
    }
    assert_eq!(inside.connections.load(Ordering::SeqCst), 0, "nobody came");
}

/// A name that leads elsewhere between the look at its address and the connection is not asked again.
#[tokio::test]
async fn the_address_that_was_looked_at_is_the_one_that_is_connected_to() {
    let world = World::new().await;
    let (first, second) = (Hook::start(|_| (200, "")).await, Hook::start(|_| (200, "")).await);
    world.add_hook("hook", "http://hooks.example.com:81/").await;
    let names = Arc::new(Shifty {
        answers: vec![vec![first.address], vec![second.address]],
        asked: AtomicUsize::new(0),
    });
    let mut notifier = world.notifier();
    notifier.names = names.clone();
    let running = tokio::spawn(notifier.run(CancellationToken::new()));
    world.happen(1).await;
    world.until("hook", |channel| channel.sent == 1).await;
    assert_eq!((names.asked.load(Ordering::SeqCst), first.seen().len(), second.connections()), (1, 1, 0));
    // Each notice asks anew, so one that moved is found.
    world.happen(1).await;
    world.until("hook", |channel| channel.sent == 2).await;
    assert_eq!(second.seen()[0].headers["host"], "hooks.example.com:81");
    running.abort();
}
