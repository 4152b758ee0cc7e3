//! Applications: a listener, a log of every request it received, and a script.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running application.
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    heads: Mutex<Vec<(Instant, Head)>>,
    connections: AtomicUsize,
    /// Open connections.
    open: AtomicUsize,
}

/// The head of a request, and its raw text.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) raw: String,
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Head {
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.raw
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(n, _)| n.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    pub(crate) fn one(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }
}

/// One connection that the application accepted.
pub(crate) struct Conversation {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    log: Arc<Log>,
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.log.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl App {
    /// Runs a script for each connection.
    pub(crate) async fn script<F, S>(name: &str, script: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Conversation) -> F + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let shared = Arc::clone(&log);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let log = Arc::clone(&shared);
                tokio::spawn(script(Conversation { stream, buffer: Vec::new(), log }));
            }
        });
        Self { name: name.to_owned(), address, log, task }
    }

    /// An ordinary application: see [`Conversation::serve`].
    pub(crate) async fn start(name: &str) -> Self {
        let own = name.to_owned();
        Self::script(name, move |mut conversation| {
            let own = own.clone();
            async move { while conversation.serve(&own).await.is_some() {} }
        })
        .await
    }

    pub(crate) fn requests(&self) -> Vec<Head> {
        self.log.heads.lock().unwrap().iter().map(|(_, head)| head.clone()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.log.heads.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.log.open.load(Ordering::SeqCst)
    }

    /// Accepts no more.
    pub(crate) async fn refuse(&self) {
        self.task.abort();
        super::until("the application is gone", || self.task.is_finished()).await;
    }
}

impl Conversation {
    /// The head of the next request, logged; `None` at the end.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        let at = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let raw = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
        self.buffer.drain(..at);
        let mut words = raw.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let head = Head { raw, method, path };
        self.log.heads.lock().unwrap().push((Instant::now(), head.clone()));
        Some(head)
    }

    /// The whole body.
    pub(crate) async fn body(&mut self, head: &Head) -> Option<Vec<u8>> {
        if head.one("transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                if size == 0 {
                    while self.line().await? != "\r\n" {}
                    return Some(body);
                }
                body.extend(self.exactly(size).await?);
                self.exactly(2).await?;
            }
        }
        let length = head.one("content-length").map_or(0, |n| n.parse().unwrap());
        self.exactly(length).await
    }

    pub(crate) async fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < n {
            self.more().await?;
        }
        Some(self.buffer.drain(..n).collect())
    }

    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                return Some(String::from_utf8(self.buffer.drain(..at + 2).collect()).unwrap());
            }
            self.more().await?;
        }
    }

    pub(crate) async fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.buffer.extend(&bytes[..n]);
                Some(())
            }
        }
    }

    pub(crate) async fn say(&mut self, text: &str) -> Option<()> {
        self.stream.write_all(text.as_bytes()).await.ok()
    }

    pub(crate) async fn answer(&mut self, status: &str, body: &str) -> Option<()> {
        let length = body.len();
        self.say(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")).await
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        socket_linger(&self.stream);
    }

    /// `/slow?MS` answers after a while, `/echo` becomes a tunnel that echoes, `/head` answers the raw head, `/fail` a
    /// 500; a body comes back as its length; everything else is the name of the application.
    pub(crate) async fn serve(&mut self, name: &str) -> Option<()> {
        let head = self.head().await?;
        if let Some(protocol) = head.one("upgrade") {
            self.say(&format!(
                "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\nhello {name}\n"
            ))
            .await?;
            loop {
                let early = std::mem::take(&mut self.buffer);
                self.stream.write_all(&early).await.ok()?;
                self.more().await?;
            }
        }
        let body = self.body(&head).await?;
        if let Some(ms) = head.path.strip_prefix("/slow?") {
            tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
        }
        match head.path.as_str() {
            "/head" => self.answer("200 OK", &head.raw).await,
            "/fail" => self.answer("500 Oops", "").await,
            _ if head.method == "HEAD" => self.say("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await,
            _ if !body.is_empty() => self.answer("200 OK", &body.len().to_string()).await,
            _ => self.answer("200 OK", name).await,
        }
    }
}

fn socket_linger(stream: &TcpStream) {
    // Closing with no time to linger sends a reset.
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}
