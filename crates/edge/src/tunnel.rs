//! A connection whose protocol changed: bytes both ways, until both ends are done.

use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tracing::debug;

use crate::instance::Lease;
use crate::pool::Carrier;
use crate::record::Record;
use crate::watched::{Watch, Watched};
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
                let mut client = Watched { io: client, watch: Counted::default() };
                let copied = copy_bidirectional(&mut client, &mut upstream).await;
                if let Err(error) = &copied {
                    debug!(%error, "a tunnel broke off");
                }
                if let Some(record) = &held.record {
                    record.note(|line| {
                        (line.bytes_in, line.bytes_out) = (client.watch.read, client.watch.written);
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

/// Bytes of a connection, so that they are known however it ends.
#[derive(Default)]
struct Counted {
    read: u64,
    written: u64,
}

impl Watch for Counted {
    fn read(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
    }

    fn wrote(&mut self, n: usize) {
        self.written += n as u64;
    }
}
