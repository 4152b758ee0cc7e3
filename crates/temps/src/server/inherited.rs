//! Sockets that a service manager holds open, so that no connection is refused while nobody serves
//! (systemd's socket activation). The server passes those of the edge on in the same way.

use std::net::TcpListener;

use anyhow::{Context, Result, bail};
use listenfd::ListenFd;

/// The names of `FileDescriptorName=` that are known.
const HTTP: &str = "http";
const HTTPS: &str = "https";

/// Takes what was passed on; nothing where nobody did. Called before there are other threads.
pub(crate) fn take() -> Result<Vec<(String, TcpListener)>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    let names: Vec<&str> = names.split(':').collect();
    let mut sockets = Vec::new();
    for number in 0..passed.len() {
        let name = names.get(number).copied().unwrap_or_default();
        if name != HTTP && name != HTTPS {
            bail!(
                "socket {number} is named {name:?}; write FileDescriptorName={HTTP} or FileDescriptorName={HTTPS} in its unit"
            );
        }
        let socket = passed.take_tcp_listener(number).with_context(|| format!("the socket {name:?}"))?;
        let socket = socket.with_context(|| format!("the socket {name:?} was not passed on"))?;
        sockets.push((name.to_owned(), socket));
    }
    Ok(sockets)
}

/// Those without and those with TLS.
pub(crate) fn split(sockets: Vec<(String, TcpListener)>) -> (Vec<TcpListener>, Vec<TcpListener>) {
    let (http, https): (Vec<_>, Vec<_>) = sockets.into_iter().partition(|(name, _)| name == HTTP);
    let all = |of: Vec<(String, TcpListener)>| of.into_iter().map(|(_, socket)| socket).collect();
    (all(http), all(https))
}
