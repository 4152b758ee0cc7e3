//! A connection whose protocol changed: bytes both ways, until both ends are done.

use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tracing::debug;

use crate::instance::Lease;
use crate::pool::Carrier;
use crate::worker::Worker;

/// What lasts as long as a tunnel.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) carrier: Option<Carrier>,
    /// A tunnel is in flight at its instance.
    pub(crate) lease: Option<Lease>,
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
                let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                if let Err(error) = copy_bidirectional(&mut client, &mut upstream).await {
                    debug!(%error, "a tunnel broke off");
                }
            }
            Err(error) => debug!(%error, "a change of protocol broke off"),
        }
        let Held { carrier, lease } = held;
        drop((carrier, lease, open));
    });
    if let Some(line) = line {
        line.carried_by(tunnel.abort_handle());
    }
}
