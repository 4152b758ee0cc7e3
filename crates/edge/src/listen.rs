//! Listening sockets: one set for each worker, and the kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::config::{EdgeError, Listen};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The sockets of one worker.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// For clients.
    pub(crate) http: Vec<TcpListener>,
    /// For clients with TLS.
    pub(crate) https: Vec<TcpListener>,
    /// For other edges.
    pub(crate) peer: TcpListener,
}

impl Sockets {
    /// Other handles of the same sockets.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        let all = |of: &[TcpListener]| of.iter().map(TcpListener::try_clone).collect::<io::Result<_>>();
        Ok(Self { http: all(&self.http)?, https: all(&self.https)?, peer: self.peer.try_clone()? })
    }

    /// All of them: those for clients, those for clients with TLS, that for other edges.
    pub(crate) fn handles(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.http.iter().chain(&self.https).chain([&self.peer]).map(AsFd::as_fd)
    }

    /// From what [`Sockets::handles`] named, of a living edge.
    /// The last `secure` but one are for clients with TLS.
    pub(crate) fn from_handles(mut handles: Vec<OwnedFd>, secure: usize) -> Option<Self> {
        let peer = handles.pop()?.into();
        let https = handles.split_off(handles.len().checked_sub(secure)?);
        let all = |of: Vec<OwnedFd>| of.into_iter().map(TcpListener::from).collect();
        Some(Self { http: all(handles), https: all(https), peer })
    }
}

/// One set for each worker, without TLS.
pub(crate) fn bind(http: Vec<Listen>, peer: Listen, workers: usize) -> Result<Vec<Sockets>, EdgeError> {
    let peers = bind_each(peer, workers)?;
    let set = |peer| Sockets { http: Vec::new(), https: Vec::new(), peer };
    let mut sets: Vec<_> = peers.into_iter().map(set).collect();
    for listen in http {
        for (set, socket) in sets.iter_mut().zip(bind_each(listen, workers)?) {
            set.http.push(socket);
        }
    }
    Ok(sets)
}

/// Adds sockets for clients with TLS.
pub(crate) fn bind_secure(sets: &mut [Sockets], https: Vec<Listen>) -> Result<(), EdgeError> {
    for listen in https {
        let sockets = bind_each(listen, sets.len())?;
        for (set, socket) in sets.iter_mut().zip(sockets) {
            set.https.push(socket);
        }
    }
    Ok(())
}

fn bind_each(listen: Listen, workers: usize) -> Result<Vec<TcpListener>, EdgeError> {
    match listen {
        Listen::At(address) => {
            let refuse = |source| EdgeError::Bind { at: address.to_string(), source };
            let first = bind_one(address).map_err(refuse)?;
            // Port 0 became a port; the others use the same.
            let address = first.local_addr().map_err(refuse)?;
            let mut sockets = vec![first];
            while sockets.len() < workers {
                sockets.push(bind_one(address).map_err(refuse)?);
            }
            Ok(sockets)
        }
        Listen::Bound(socket) => {
            let refuse = |source| EdgeError::Bind { at: "a socket".to_owned(), source };
            socket.set_nonblocking(true).map_err(refuse)?;
            tune(SockRef::from(&socket)).map_err(refuse)?;
            (0..workers).map(|_| socket.try_clone().map_err(refuse)).collect()
        }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    tune(SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Options that accepted connections inherit: small writes are sent at once, and a silent connection whose
/// other end is gone is noticed, so that a tunnel does not stay in flight for ever.
fn tune(socket: SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_nodelay(true)
}
