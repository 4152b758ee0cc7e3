//! Waiting for a condition, never for a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::trouble::{Result, Trouble};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Asks `look` until it finds something.
///
/// # Errors
/// When it has not within `limit`, or the program was interrupted.
pub fn find<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if started.elapsed() > limit {
            return Err(Trouble::new(format!("waited {limit:?} in vain for {what}")));
        }
        nap(LOOK)?;
    }
}

/// Asks `look` until it is true.
///
/// # Errors
/// When it was not within `limit`, or the program was interrupted.
pub fn until(what: &str, limit: Duration, mut look: impl FnMut() -> bool) -> Result {
    find(what, limit, || look().then_some(()))
}

/// Lets time pass, where time itself is what is wanted: a load that goes on, a fault that lasts.
///
/// # Errors
/// When the program was interrupted.
pub fn nap(time: Duration) -> Result {
    let until = Instant::now() + time;
    while !is_interrupted() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
    Err(Trouble::new("interrupted"))
}

/// Whether the program was interrupted, so that nothing new should begin.
#[must_use]
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// From now on, SIGINT and SIGTERM make everything that waits fail, so that the program cleans up and
/// ends by itself.
///
/// # Errors
/// When the signals cannot be received.
pub fn fail_on_signals() -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            INTERRUPTED.store(true, Ordering::SeqCst);
        });
    });
    Ok(())
}
