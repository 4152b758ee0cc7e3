//! HTTP/2 as raw frames, for what no library would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A GET of `/` at the host of most tests, without TLS.
pub(crate) const GET: &[u8] = b"\x82\x86\x84\x41\x06a.test";

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it is read.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code at this place of the payload.
    pub(crate) fn code(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The first frame, if all of it is there.
pub(crate) fn split(bytes: &mut Vec<u8>) -> Option<Frame> {
    let head = bytes.first_chunk::<9>()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    if bytes.len() < 9 + length {
        return None;
    }
    let bytes: Vec<u8> = bytes.drain(..9 + length).collect();
    Some(Frame {
        kind: bytes[3],
        flags: bytes[4],
        stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
        payload: bytes[9..].to_vec(),
    })
}

/// A connection of HTTP/2 of which each frame is written by hand.
pub(crate) struct Frames {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Frames {
    /// A client, its greeting sent.
    pub(crate) async fn connect(at: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// `Err`: the other side has ended the connection.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("sending", self.stream.write_all(bytes)).await
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = split(&mut self.buffer) {
                return Some(frame);
            }
            let mut part = [0; 16 * 1024];
            match self.stream.read(&mut part).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.buffer.extend(&part[..read]),
            }
        }
    }

    /// The next frame of this kind, whatever comes before it.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = within("a frame", self.next()).await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}
