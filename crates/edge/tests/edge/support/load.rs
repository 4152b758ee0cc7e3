//! Clients that never retry, half of them on fresh connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Client, HOST};

/// What clients got, by body or failure.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answers: BTreeMap<String, usize>,
    pub(crate) failures: Vec<String>,
}

impl Tally {
    pub(crate) fn total(&self) -> usize {
        self.answers.values().sum()
    }

    fn note(&mut self, result: Result<String, String>, fresh: bool) {
        match result {
            Ok(body) => *self.answers.entry(body).or_default() += 1,
            Err(error) => self.failures.push(format!("{error} (fresh: {fresh})")),
        }
    }
}

/// A running load.
pub(crate) struct Load {
    end: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Clients of these edges, each with a GET every few milliseconds.
    pub(crate) fn start(edges: &[SocketAddr], clients: usize, path: &'static str) -> Self {
        Self::with(edges, clients, format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
    }

    /// The same with requests that must not be repeated.
    pub(crate) fn posting(edges: &[SocketAddr], clients: usize, path: &'static str) -> Self {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\n");
        Self::with(edges, clients, head + "hello")
    }

    fn with(edges: &[SocketAddr], clients: usize, request: String) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let clients = (0..clients)
            .map(|n| {
                let (end, tally) = (Arc::clone(&end), Arc::clone(&tally));
                let at = edges[n % edges.len()];
                let request = request.clone();
                let fresh = (n / edges.len()).is_multiple_of(2);
                tokio::spawn(async move {
                    let mut client = None;
                    while !end.load(Ordering::SeqCst) {
                        let result = one(at, &mut client, &request).await;
                        if result.is_err() {
                            client = None;
                        }
                        tally.lock().unwrap().note(result, fresh);
                        if fresh {
                            client = None;
                        }
                        tokio::time::sleep(Duration::from_millis(4)).await;
                    }
                })
            })
            .collect();
        Self { end, tally, clients }
    }

    /// How many answers carried this body so far.
    pub(crate) fn seen(&self, body: &str) -> usize {
        self.tally.lock().unwrap().answers.get(body).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> usize {
        self.tally.lock().unwrap().total()
    }

    pub(crate) async fn stop(self) -> Tally {
        self.end.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        std::mem::take(&mut self.tally.lock().unwrap())
    }
}

async fn one(at: SocketAddr, kept: &mut Option<Client>, request: &str) -> Result<String, String> {
    let mut client = match kept.take() {
        Some(client) => client,
        None => Client::try_connect(at).await.map_err(|error| format!("connect: {error}"))?,
    };
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes())
        .await
        .map_err(|error| format!("send: {error}"))?;
    let answer = client.try_answer().await.ok_or("no answer")?;
    if answer.status != 200 {
        return Err(format!("status {}: {}", answer.status, answer.text()));
    }
    if answer.header("connection") != Some("close") {
        *kept = Some(client);
    }
    Ok(answer.text())
}
