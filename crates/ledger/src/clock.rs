//! The cluster clock: it follows the leader's monotonic clock and never its wall clock.

use std::time::Instant;

use temps_core::model::Millis;

/// Counts on from the state's clock by this machine's monotonic clock, so that wrong or jumping wall
/// clocks move no deadline. Deadlines stand still while there is no leader.
#[derive(Clone, Copy, Debug)]
pub struct ClusterClock {
    base: Millis,
    since: Instant,
}

impl ClusterClock {
    /// Starts to count at `base`, the state's clock when this node began to lead.
    #[must_use]
    pub fn starting_at(base: Millis) -> Self {
        Self { base, since: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.base + Millis::try_from(self.since.elapsed().as_millis()).unwrap_or(Millis::MAX / 2)
    }
}

/// This machine's wall clock in Unix milliseconds, for display only.
#[must_use]
pub fn wall() -> Millis {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| Millis::try_from(d.as_millis()).unwrap_or(Millis::MAX))
}
