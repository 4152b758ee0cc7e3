//! What records each second.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use temps_core::table::EdgeReport;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::history::History;

/// Seconds between two times that files are written: so much is lost at most where this process is killed. What the
/// system itself has not yet written, mostly of half a minute, is lost with the machine.
const WRITE: u64 = 5;

impl History {
    /// Records what the edge reports at the end of each second of the clock, until `shutdown`; then everything is
    /// written.
    ///
    /// An edge reports several times a second; of what is in flight each report counts.
    pub async fn run(self: Arc<Self>, mut reports: watch::Receiver<EdgeReport>, shutdown: CancellationToken) {
        loop {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Counted from the clock anew each time, so that it may be set.
            let rest = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.watch(&mut reports) => {}
                () = shutdown.cancelled() => break,
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            self.record(&reports.borrow(), now);
            // Of what was never written nobody could say later when it began.
            if now.is_multiple_of(WRITE) || self.has_unwritten() {
                self.on_disk(History::flush).await;
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.record(&reports.borrow(), now);
        self.on_disk(History::close).await;
    }

    /// Sees each report, for as long as nobody gives this up.
    async fn watch(&self, reports: &mut watch::Receiver<EdgeReport>) {
        while reports.changed().await.is_ok() {
            self.see(&reports.borrow_and_update());
        }
        // Whoever passes reports on has ended: there will be no other.
        std::future::pending().await
    }

    async fn on_disk(self: &Arc<Self>, write: fn(&History)) {
        let history = Arc::clone(self);
        // It fails only where the runtime ends.
        let _ = tokio::task::spawn_blocking(move || write(&history)).await;
    }
}
