//! Whatever bytes a client sends, an application receives requests that everybody reads alike, and as many as were
//! answered.
//!
//! `TEMPS_FUZZ_SECONDS` is how long to look for others (2), `TEMPS_FUZZ_SEED` where to begin (the clock).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use temps_core::model::EnvironmentId;
use temps_core::table::{Route, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::mutate::{Dice, mutated, shrunk};
use self::reader::{Read, expects, find, read};
use crate::corpus::CASES;
use crate::support::{App, Authority, Client, Edge, Plan, choice, table, target};

mod mutate;
mod reader;

/// So many at a time, each with an application of its own; every other one is asked through another node.
const LANES: usize = 24;

/// So many of each lane are tried at least.
const LEAST: u64 = 20;

/// After so long nothing more comes.
const QUIET: Duration = Duration::from_millis(1_500);

/// What an application received: the numbers of whole requests, and what is wrong.
#[derive(Debug, Default)]
struct Received {
    count: usize,
    whole: Vec<String>,
    wrong: Vec<String>,
}

struct Lane {
    host: String,
    app: App,
    received: Arc<Mutex<Received>>,
}

impl Lane {
    async fn start(n: usize) -> Self {
        let received = Arc::<Mutex<Received>>::default();
        let log = Arc::clone(&received);
        let app = App::script(&format!("l{n}"), move |mut conversation| {
            let log = Arc::clone(&log);
            async move {
                let (mut bytes, mut part, mut asked) = (Vec::new(), [0; 16 * 1024], false);
                loop {
                    match read(&bytes) {
                        Ok(Read::Whole(length)) => {
                            drop(bytes.drain(..length));
                            asked = false;
                            let number = {
                                let mut log = log.lock().unwrap();
                                log.count += 1;
                                let number = log.count.to_string();
                                log.whole.push(number.clone());
                                number
                            };
                            // No body, so that no answer needs to know its request.
                            let answer = format!(
                                "HTTP/1.1 200 OK\r\nX-Number: {number};\r\nContent-Length: 0\r\n\r\n"
                            );
                            if conversation.say(&answer).await.is_none() {
                                return;
                            }
                            continue;
                        }
                        Ok(Read::Part(true)) if !asked && expects(&bytes) => {
                            asked = true;
                            conversation.say("HTTP/1.1 100 Continue\r\n\r\n").await;
                        }
                        Ok(Read::Part(_)) => {}
                        Err(why) => {
                            let text = String::from_utf8_lossy(&bytes).into_owned();
                            log.lock().unwrap().wrong.push(format!("{why}: {text:?}"));
                            return;
                        }
                    }
                    match conversation.stream.read(&mut part).await {
                        Ok(n @ 1..) => bytes.extend(&part[..n]),
                        Ok(_) | Err(_) => return,
                    }
                }
            }
        })
        .await;
        Self { host: format!("l{n}.test"), app, received }
    }

    /// What is wrong with what becomes of these bytes.
    async fn try_out(&self, edge: &Edge, bytes: &[u8]) -> Option<String> {
        {
            let mut received = self.received.lock().unwrap();
            received.whole.clear();
            received.wrong.clear();
        }
        let mut client = Client::connect(edge.http).await;
        let mut sent = Vec::new();
        for (n, part) in bytes.split(|byte| *byte == b'@').enumerate() {
            if n > 0 {
                sent.extend(self.host.as_bytes());
            }
            sent.extend(part);
        }
        // In most cases the connection ends by it.
        sent.extend(
            format!("GET /end HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host).as_bytes(),
        );
        let _ = client.stream.write_all(&sent).await;
        let (mut text, mut part) = (Vec::new(), [0; 16 * 1024]);
        let mut patience = QUIET;
        loop {
            match tokio::time::timeout(patience, client.stream.read(&mut part)).await {
                Ok(Ok(n @ 1..)) => text.extend(&part[..n]),
                Ok(_) => break,
                // A busy machine may need longer for what is on its way.
                Err(_) if patience == QUIET && self.verdict(&text).is_some() => patience = QUIET * 3,
                Err(_) => break,
            }
        }
        self.verdict(&text)
    }

    fn verdict(&self, text: &[u8]) -> Option<String> {
        let received = self.received.lock().unwrap();
        let mut answered = Vec::new();
        let mut rest = text;
        while let Some(at) = find(rest, b"x-number: ") {
            rest = &rest[at + 10..];
            let end = find(rest, b";").unwrap_or(0);
            answered.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        }
        if let Some(wrong) = received.wrong.first() {
            return Some(wrong.clone());
        }
        (answered != received.whole)
            .then(|| format!("received {:?}, and answered were {answered:?}", received.whole))
    }
}

async fn lanes() -> (Vec<Lane>, Edge, Edge) {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let mut lanes = Vec::new();
    for n in 0..LANES {
        lanes.push(Lane::start(n).await);
    }
    let routes = |own: u64| -> Vec<Route> {
        let route = |(n, lane): (usize, &Lane)| {
            let number = n as u64 + 1;
            Route {
                environment: EnvironmentId(number),
                hosts: vec![lane.host.clone()],
                path_prefix: "/".to_owned(),
                choices: vec![choice(number, 2, 1)],
                local: if own == 2 { vec![target(number, number, &lane.app)] } else { Vec::new() },
                ..Route::default()
            }
        };
        lanes.iter().enumerate().map(route).collect()
    };
    near.serve(1, Table { routes: routes(1), ..table(vec![], vec![], &[&far]) }).await;
    far.serve(1, Table { routes: routes(2), ..table(vec![], vec![], &[&near]) }).await;
    (lanes, near, far)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a whole number"))
}

// Who looks for long wants to know how many were tried.
#[allow(clippy::print_stdout)]
#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_hide_a_request() {
    let seconds = setting("TEMPS_FUZZ_SECONDS").unwrap_or(2);
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let seed = setting("TEMPS_FUZZ_SEED").unwrap_or_else(|| u64::try_from(clock() % 1_000_000_000).unwrap());
    let seeds: Vec<&[u8]> = CASES.iter().map(|case| case.sent).collect();
    let (lanes, near, far) = lanes().await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let tried = futures_util::future::join_all(lanes.iter().enumerate().map(async |(n, lane)| {
        let edge = if n % 2 == 0 { &near } else { &far };
        let mut dice = Dice::new(seed.wrapping_mul(1_000) + n as u64);
        let (mut tried, mut received) = (0_u64, 0_usize);
        // However busy the machine is, some of each.
        while Instant::now() < until || tried < LEAST {
            let bytes = mutated(&mut dice, &seeds);
            tried += 1;
            received += lane.received.lock().unwrap().whole.len();
            if let Some(wrong) = lane.try_out(edge, &bytes).await {
                println!("{wrong}\n  {}", bytes.escape_ascii());
                let least =
                    shrunk(bytes.clone(), async |less| lane.try_out(edge, less).await.is_some()).await;
                panic!(
                    "with TEMPS_FUZZ_SEED={seed}, in lane {n} after {tried}:\n  {wrong}\n  {}\n  of {}",
                    least.escape_ascii(),
                    bytes.escape_ascii()
                );
            }
        }
        (tried, received)
    }))
    .await;
    let (tried, received) = tried.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{tried} tried, {received} requests received, seed {seed}");
    assert!(received as u64 > tried / 20, "{received} requests of {tried} were received");
}

#[test]
fn the_reader_is_strict() {
    let whole = |head: &str| {
        format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: b\r\nx-forwarded-proto: http\r\nx-forwarded-host: a\r\nx-forwarded-port: 80\r\nx-real-ip: b\r\nx-request-id: c\r\n{head}"
        )
    };
    assert!(matches!(read(whole("\r\n").as_bytes()), Ok(Read::Whole(_))));
    assert!(matches!(read(whole("content-length: 2\r\n\r\nx").as_bytes()), Ok(Read::Part(true))));
    assert!(matches!(
        read(whole("transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n").as_bytes()),
        Ok(Read::Whole(_))
    ));
    for wrong in [
        "host: b\r\n\r\n",
        "content-length: 02\r\n\r\nab",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        "transfer-encoding: gzip, chunked\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n0\r\nhost: b\r\n\r\n",
        "x-forwarded-for: c\r\n\r\n",
        "temps-release: 1\r\n\r\n",
        "keep-alive: 1\r\n\r\n",
        "connection: close\r\n\r\n",
        "te: gzip\r\n\r\n",
        "a: b\rc\r\n\r\n",
        "a: b\nc: d\r\n\r\n",
        " a: b\r\n\r\n",
    ] {
        assert!(read(whole(wrong).as_bytes()).is_err(), "{wrong:?}");
    }
}
