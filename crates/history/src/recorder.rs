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
    pub async fn run(self: Arc<Self>, reports: watch::Receiver<EdgeReport>, shutdown: CancellationToken) {
        loop {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Counted from the clock anew each time, so that it may be set.
            let rest = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
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

    async fn on_disk(self: &Arc<Self>, write: fn(&History)) {
        let history = Arc::clone(self);
        // It fails only where the runtime ends.
        let _ = tokio::task::spawn_blocking(move || write(&history)).await;
    }
}
