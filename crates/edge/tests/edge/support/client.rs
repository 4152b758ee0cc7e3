//! A client that sends exactly the bytes it is told to.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// A connection, and what was read from it too early.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// One GET on a connection of its own.
pub(crate) async fn get(at: SocketAddr, host: &str, path: &str) -> Answer {
    let mut client = Client::connect(at).await;
    client.get(host, path).await
}

impl Client {
    pub(crate) async fn connect(at: SocketAddr) -> Self {
        Self::try_connect(at).await.expect("the edge accepts")
    }

    pub(crate) async fn try_connect(at: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self::of(stream))
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// From another address of this machine.
    pub(crate) async fn connect_from(ip: &str, at: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        let stream = socket.connect(at).await.unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the edge reads");
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        self.answer().await
    }

    pub(crate) async fn post(&mut self, host: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await;
        self.answer().await
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    /// `None`: the connection ended before the answer did.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = loop {
            let answer = self.head().await?;
            if answer.status == 101 || answer.status >= 200 {
                break answer;
            }
        };
        answer.body = self.body(&mut answer).await?;
        Some(answer)
    }

    /// The next head, of an interim answer too.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        let text = within("the head of an answer", self.through(b"\r\n\r\n")).await?;
        let text = String::from_utf8(text).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, headers: pairs(lines), body: Vec::new(), trailers: Vec::new() })
    }

    async fn body(&mut self, answer: &mut Answer) -> Option<Vec<u8>> {
        if answer.status == 101 || answer.status == 204 || answer.status == 304 {
            return Some(Vec::new());
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                let chunk = self.chunk().await?;
                if chunk.is_empty() {
                    let mut trailers = Vec::new();
                    loop {
                        let line = self.through(b"\r\n").await?;
                        if line == b"\r\n" {
                            break;
                        }
                        trailers.push(String::from_utf8(line).unwrap().trim().to_owned());
                    }
                    answer.trailers = pairs(trailers.iter().map(String::as_str));
                    return Some(body);
                }
                body.extend(chunk);
            }
        }
        let length = answer.header("content-length")?.parse().ok()?;
        within("the body of an answer", self.exactly(length)).await
    }

    /// One chunk of a chunked body; empty at its end.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = within("a chunk", self.through(b"\r\n")).await?;
        let size = usize::from_str_radix(String::from_utf8(size).unwrap().trim(), 16).unwrap();
        if size == 0 {
            return Some(Vec::new());
        }
        let chunk = self.exactly(size).await?;
        self.exactly(2).await?;
        Some(chunk)
    }

    pub(crate) async fn through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            self.more().await?;
        }
    }

    pub(crate) async fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < n {
            self.more().await?;
        }
        Some(self.buffer.drain(..n).collect())
    }

    /// Everything until the connection ends.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        within("the end of a connection", async { while self.more().await.is_some() {} }).await;
        std::mem::take(&mut self.buffer)
    }

    async fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.buffer.extend(&bytes[..n]);
                Some(())
            }
        }
    }
}

fn pairs<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}
