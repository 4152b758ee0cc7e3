//! Raw requests, and exactly what an application then receives: through its own node's edge, and through another's.
//!
//! After each request follows another, `GET /next`. What of it is part of the first, and what is a request, is what
//! attackers play with.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use temps_core::model::EnvironmentId;
use temps_core::table::{Route, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{App, Authority, Client, Edge, Plan, choice, table, target};

mod cases;

pub(crate) use self::cases::CASES;

/// A raw request; `@` stands for the name of its host. What the application receives, and what the client gets.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) sent: &'static [u8],
    /// Method, path, how the length of the body is told, and the body; for each request.
    pub(crate) received: &'static [&'static str],
    /// The status of each answer, and `end` where the connection then ends.
    pub(crate) answered: &'static str,
}

/// An application that logs whole requests.
struct Witness {
    app: App,
    received: Arc<Mutex<Vec<String>>>,
}

impl Witness {
    async fn start(n: usize) -> Self {
        let received: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&received);
        let app = App::script(&format!("w{n}"), move |mut conversation| {
            let log = Arc::clone(&log);
            async move {
                while let Some(head) = conversation.head().await {
                    let mut line = format!("{} {}", head.method, head.path);
                    // No body, and a body of no bytes, are the same.
                    for length in head.all("content-length").iter().filter(|length| *length != "0") {
                        line.push_str(&format!(" length={length}"));
                    }
                    for coding in head.all("transfer-encoding") {
                        line.push_str(&format!(" {coding}"));
                    }
                    // What never comes to its end is no request.
                    let Some(body) = conversation.body(&head).await else { return };
                    if !body.is_empty() {
                        line.push_str(&format!(" {:?}", String::from_utf8_lossy(&body)));
                    }
                    log.lock().unwrap().push(line);
                    let answer = if head.method == "HEAD" {
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
                    } else {
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                    };
                    if conversation.say(answer).await.is_none() {
                        return;
                    }
                }
            }
        })
        .await;
        Self { app, received }
    }
}

fn host(n: usize) -> String {
    format!("c{n}.test")
}

/// One application for each case, all on this node.
fn routes(witnesses: &[Witness], on: u64, own: u64) -> Vec<Route> {
    let route = |(n, witness): (usize, &Witness)| {
        let number = n as u64 + 1;
        Route {
            environment: EnvironmentId(number),
            hosts: vec![host(n)],
            path_prefix: "/".to_owned(),
            choices: vec![choice(number, on, 1)],
            local: if on == own { vec![target(number, number, &witness.app)] } else { Vec::new() },
            ..Route::default()
        }
    };
    witnesses.iter().enumerate().map(route).collect()
}

/// What the client gets for a case, and `end` where the connection ended.
async fn ask(edge: &Edge, n: usize, case: &Case) -> String {
    let mut bytes = Vec::new();
    for (i, part) in case.sent.split(|byte| *byte == b'@').enumerate() {
        if i > 0 {
            bytes.extend(host(n).as_bytes());
        }
        bytes.extend(part);
    }
    bytes.extend(format!("GET /next HTTP/1.1\r\nHost: {}\r\n\r\n", host(n)).as_bytes());
    let mut client = Client::connect(edge.http).await;
    // The end of it may be refused before it is sent.
    let _ = client.stream.write_all(&bytes).await;
    let (mut text, mut part, mut end) = (Vec::new(), [0; 4096], false);
    while let Ok(read) = tokio::time::timeout(QUIET, client.stream.read(&mut part)).await {
        match read {
            Ok(1..) => text.extend(&part[..read.unwrap()]),
            Ok(0) | Err(_) => {
                end = true;
                break;
            }
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let status = |line: &str| line.strip_prefix("HTTP/1.").map(|rest| rest[2..5].to_owned());
    let mut got: Vec<String> =
        text.split("\r\n").filter_map(|line| status(line.trim_start_matches("ok"))).collect();
    got.extend(end.then(|| "end".to_owned()));
    got.join(" ")
}

/// After so long nothing more comes.
const QUIET: Duration = Duration::from_millis(1_500);

async fn through(entry: &Edge, witnesses: &[Witness], way: &str) -> Vec<String> {
    let all = CASES.iter().enumerate().map(|(n, case)| ask(entry, n, case));
    let answered = futures_util::future::join_all(all).await;
    let mut wrong = Vec::new();
    for ((case, answered), witness) in CASES.iter().zip(answered).zip(witnesses) {
        let received = std::mem::take(&mut *witness.received.lock().unwrap());
        if received != case.received || answered != case.answered {
            wrong.push(format!(
                "{way}: {}\n    received {received:?}\n    not      {:?}\n    answered {answered:?}, not {:?}",
                case.what, case.received, case.answered
            ));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_what_it_seems() {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let mut witnesses = Vec::new();
    for n in 0..CASES.len() {
        witnesses.push(Witness::start(n).await);
    }
    let table =
        |on, own, other| Table { routes: routes(&witnesses, on, own), ..table(vec![], vec![], &[other]) };
    near.serve(1, table(2, 1, &far)).await;
    far.serve(1, table(2, 2, &near)).await;
    let mut wrong = through(&far, &witnesses, "own edge").await;
    wrong.extend(through(&near, &witnesses, "other edge").await);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len() * 2, wrong.join("\n"));
    assert!(CASES.len() >= 80, "{} cases", CASES.len());
}
