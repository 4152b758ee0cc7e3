//! A connection whose protocol changed: bytes both ways, until both ends are done.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tracing::debug;

use crate::instance::Lease;
use crate::pool::Carrier;
use crate::record::Record;
use crate::worker::Worker;

/// What lasts as long as a tunnel.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) carrier: Option<Carrier>,
    /// A tunnel is in flight at its instance.
    pub(crate) lease: Option<Lease>,
    /// Its line in the log is written at its end.
    pub(crate) record: Option<Rc<Record>>,
}

/// Joins both connections once each has changed its protocol. What either sent early is not lost: it
/// was read with the head, and comes first.
pub(crate) fn open(worker: &Rc<Worker>, client: OnUpgrade, upstream: OnUpgrade, held: Held) {
    let open = worker.open_tunnel();
    let line = held.carrier.as_ref().map(|carrier| Rc::clone(&carrier.line));
    let tunnel = tokio::task::spawn_local(async move {
        let ends = async { tokio::try_join!(client, upstream) };
        match ends.await {
            Ok((client, upstream)) => {
                let (client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                let mut client = Counted { io: client, read: 0, written: 0 };
                let copied = copy_bidirectional(&mut client, &mut upstream).await;
                if let Err(error) = &copied {
                    debug!(%error, "a tunnel broke off");
                }
                if let Some(record) = &held.record {
                    record.note(|line| {
                        (line.bytes_in, line.bytes_out) = (client.read, client.written);
                        line.error =
                            copied.err().map(|error| format!("the tunnel broke off: {error}").into());
                    });
                }
            }
            Err(error) => debug!(%error, "a change of protocol broke off"),
        }
        let Held { carrier, lease, record } = held;
        drop((carrier, lease, record, open));
    });
    if let Some(line) = line {
        line.carried_by(tunnel.abort_handle());
    }
}

/// A connection whose bytes are counted, so that they are known however it ends.
struct Counted<T> {
    io: T,
    read: u64,
    written: u64,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.read += (buf.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.written += n as u64;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
