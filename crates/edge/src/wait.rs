//! Requests for which nobody is ready: they wait a little, as an application that restarts is soon back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::worker::Worker;

/// So many requests of one environment may wait at one worker; each keeps its head and its connection.
const MOST: usize = 512;

/// How often it is looked again where no new table comes: an instance that refused connections may take them by now.
const LOOK: Duration = Duration::from_millis(100);

/// How many wait.
pub(crate) type Queue = Rc<Cell<usize>>;

/// One request's place among those that wait, until this is dropped; it has none before it waits.
#[derive(Debug, Default)]
pub(crate) struct Wait(Option<Place>);

#[derive(Debug)]
struct Place {
    queue: Queue,
    until: Instant,
}

impl Wait {
    /// Waits until somebody may be ready. `false`: it has waited long enough, or too many do.
    pub(crate) async fn once_more(&mut self, worker: &Worker, queue: &Queue) -> bool {
        let now = Instant::now();
        let until = match &self.0 {
            Some(place) => place.until,
            None if queue.get() >= MOST => return false,
            None => now + worker.limits.wait,
        };
        if now >= until {
            return false;
        }
        if self.0.is_none() {
            queue.set(queue.get() + 1);
            self.0 = Some(Place { queue: Rc::clone(queue), until });
        }
        // Both say the same: look again.
        let _ = timeout_at(until.min(now + LOOK), worker.changed.notified()).await;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.set(self.queue.get() - 1);
    }
}
