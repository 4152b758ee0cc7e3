//! A connection that remembers when it was heard last.
//!
//! What is sent into a broken link vanishes for seconds before anybody is told. Until then the connection is kept, as
//! the link may be mended; but it is no place for new requests.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection that remembers when it was heard last.
#[derive(Debug)]
pub(crate) struct Heard<T> {
    io: T,
    last: Rc<Cell<Instant>>,
}

/// When a connection was heard last.
#[derive(Debug)]
pub(crate) struct Silence(Rc<Cell<Instant>>);

impl<T> Heard<T> {
    /// It was heard just now.
    pub(crate) fn new(io: T) -> (Self, Silence) {
        let last = Rc::new(Cell::new(Instant::now()));
        (Self { io, last: Rc::clone(&last) }, Silence(last))
    }
}

impl Silence {
    /// How long it was not heard.
    pub(crate) fn lasts(&self) -> Duration {
        self.0.get().elapsed()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.last.set(Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
