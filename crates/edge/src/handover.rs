//! Handing the listening sockets of a living edge to the one that takes its place.
//!
//! The very same sockets are passed on, so that connections which wait to be accepted lose nothing. The
//! edge that takes over becomes the server of the one before: it feeds it tables and adds up its reports
//! until it has finished.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use temps_core::table::{EdgeReport, Table};
use tokio::io::Interest;

use crate::config::EdgeError;
use crate::frame::{LONGEST, ToEdge, Wire};
use crate::listen::Sockets;

/// The most handles that the kernel passes in one message.
const MOST: usize = 253;

/// How long the living edge may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is handed over.
#[derive(Debug)]
pub(crate) struct Estate {
    /// Keeps others from serving the same directory.
    pub(crate) lock: File,
    /// Where the server connects.
    pub(crate) control: UnixListener,
    pub(crate) sockets: Vec<Sockets>,
}

/// What the handles are, in order: lock, control, then those of each worker.
#[derive(Debug, Serialize, Deserialize)]
struct Inventory {
    workers: usize,
    /// Of each worker.
    sockets: usize,
    /// How many of those are for clients with TLS.
    #[serde(default)]
    secure: usize,
}

impl Estate {
    /// Sends it over a connection on the edge's socket.
    pub(crate) async fn give(&self, wire: &Wire) -> io::Result<()> {
        let mut handles: Vec<BorrowedFd<'_>> = vec![self.lock.as_fd(), self.control.as_fd()];
        handles.extend(self.sockets.iter().flat_map(Sockets::handles));
        if handles.len() > MOST {
            return Err(io::Error::other("too many workers to hand over"));
        }
        let inventory = Inventory {
            workers: self.sockets.len(),
            sockets: self.sockets.first().map_or(0, |set| set.handles().count()),
            secure: self.sockets.first().map_or(0, |set| set.https.len()),
        };
        let json = serde_json::to_vec(&inventory)?;
        let length = u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes();
        let stream = wire.get_ref();
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                ancillary.push(SendAncillaryMessage::ScmRights(&handles));
                let parts = [IoSlice::new(&length), IoSlice::new(&json)];
                Ok(rustix::net::sendmsg(stream, &parts, &mut ancillary, SendFlags::empty())?)
            })
            .await?;
        // A message this short fits into an empty socket buffer.
        if sent == length.len() + json.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// A living edge whose listeners were received; it goes on until it is told that they are in use.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(crate) stream: UnixStream,
    /// What it serves.
    pub(crate) table: Option<Table>,
}

/// Receives the listeners of the edge behind `socket`.
pub(crate) fn take(socket: &Path) -> Result<(Estate, Predecessor), EdgeError> {
    take_from(socket).map_err(|error| EdgeError::Takeover { path: socket.to_owned(), why: error.to_string() })
}

fn take_from(socket: &Path) -> io::Result<(Estate, Predecessor)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write_frame(&mut stream, &ToEdge::Takeover)?;
    let (inventory, handles) = receive_handles(&mut stream)?;
    let estate =
        sort(&inventory, handles).ok_or_else(|| io::Error::other("it handed over something else"))?;
    let table = match serde_json::from_slice(&read_frame(&mut stream)?)? {
        ToEdge::Table(table) => Some(*table),
        _ => None,
    };
    Ok((estate, Predecessor { stream, table }))
}

impl Predecessor {
    /// Tells it to accept no more, and waits until it does: its first report says so. Where it does not, both
    /// would accept, and so this one must end.
    pub(crate) fn taken(&mut self) -> io::Result<EdgeReport> {
        write_frame(&mut self.stream, &ToEdge::Taken)?;
        Ok(serde_json::from_slice(&read_frame(&mut self.stream)?)?)
    }
}

fn receive_handles(stream: &mut UnixStream) -> io::Result<(Inventory, Vec<OwnedFd>)> {
    let mut handles = Vec::new();
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut length)];
    let received = rustix::net::recvmsg(&*stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            handles.extend(passed);
        }
    }
    stream.read_exact(&mut length[received.bytes..])?;
    let inventory = serde_json::from_slice(&read_rest(stream, length)?)?;
    Ok((inventory, handles))
}

fn sort(inventory: &Inventory, handles: Vec<OwnedFd>) -> Option<Estate> {
    if inventory.workers == 0 || handles.len() != 2 + inventory.workers.checked_mul(inventory.sockets)? {
        return None;
    }
    let mut handles = handles.into_iter();
    let lock = File::from(handles.next()?);
    let control = UnixListener::from(handles.next()?);
    let set = |_| Sockets::from_handles(handles.by_ref().take(inventory.sockets).collect(), inventory.secure);
    let sockets = (0..inventory.workers).map(set).collect::<Option<Vec<_>>>()?;
    Some(Estate { lock, control, sockets })
}

fn write_frame<T: Serialize>(stream: &mut UnixStream, message: &T) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let mut frame = u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    frame.extend(json);
    stream.write_all(&frame)
}

fn read_frame(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    read_rest(stream, length)
}

fn read_rest(stream: &mut UnixStream, length: [u8; 4]) -> io::Result<Vec<u8>> {
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::other("a frame is too long"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}
