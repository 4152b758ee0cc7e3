//! What tells whether a release does worse than the one before it: replicated, so that every leader and every
//! node decides the same.
//!
//! Each second of the new release adds its failures to a score and takes away as many as would be allowed in so
//! many requests; the score is never below 0. It is a sum that cannot creep up by looking often: requests that
//! fail as rarely as before take away more than they add. See `judging.rs` for what is allowed.

use serde::{Deserialize, Serialize};

use super::id::Millis;

/// So long is what is looked at as one: the time between two reports of an edge.
const SECOND: Millis = 1_000;
/// After so long all nodes have reported a second.
const LATE: Millis = 2_000;
/// Failures beyond what is allowed that are a breach, in thousandths of a request.
const BREACH: u64 = 10_000;
/// The most that one second adds to a score: what lasts less than three seconds is no breach.
const MOST: u64 = 4_000;
/// The highest score: so far it has to fall when the cause turns out to be a shared one.
const FULL: u64 = 20_000;
/// All requests, in the unit of rates.
pub const MILLION: u64 = 1_000_000;

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Those that count.
    pub count: u64,
    /// All.
    pub of: u64,
}

impl Share {
    /// Counts `other` in.
    pub fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.of = self.of.saturating_add(other.of);
    }

    /// In millionths; 0 of 0 is 0.
    #[must_use]
    pub fn rate(self) -> u64 {
        let rate = u128::from(self.count) * u128::from(MILLION) / u128::from(self.of.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// Whether at least half as large a part as of `other`.
    fn is_like(self, other: Self) -> bool {
        let (own, others) = (u128::from(self.count), u128::from(other.count));
        self.of > 0 && own * u128::from(other.of) * 2 >= others * u128::from(self.of)
    }
}

/// What is compared of two releases in the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The new release.
    pub new: Share,
    /// The release before.
    pub old: Share,
}

impl Pair {
    fn add(&mut self, other: Self) {
        self.new.add(other.new);
        self.old.add(other.old);
    }
}

/// What was seen in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// When it began, on the cluster clock.
    pub at: Millis,
    /// Requests that failed.
    pub failing: Pair,
    /// Answers that took too long.
    pub slow: Pair,
}

/// How much more often than allowed something happened to the new release, and what was seen while it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// In thousandths of a request.
    pub points: u64,
    /// Since when there are points, on the cluster clock.
    pub since: Millis,
    /// What was seen since then.
    pub seen: Pair,
}

impl Score {
    fn add(&mut self, at: Millis, pair: Pair, allowed: u64) {
        let given = u128::from(self.points) + u128::from(pair.new.count) * 1_000;
        let taken = u128::from(pair.new.of) * u128::from(allowed) / 1_000;
        let points = u64::try_from(given.saturating_sub(taken)).unwrap_or(u64::MAX);
        if self.points == 0 {
            *self = Score { since: at, ..Score::default() };
        }
        self.points = points.min(self.points.saturating_add(MOST)).min(FULL);
        self.seen.add(pair);
    }

    /// Whether the new release failed more often than the limit, in millionths, for long enough, and the one before
    /// not about as often at the same time.
    #[must_use]
    pub fn is_breach(&self, limit: u64) -> bool {
        // What is known of the release before may have changed since the points were given.
        let Pair { new, old } = self.seen;
        self.points >= BREACH && new.rate() > limit && !old.is_like(new)
    }
}

/// What is known of a deployment's release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Seconds that not all nodes have reported yet, oldest first.
    pub seconds: Vec<Second>,
    /// Of failed requests.
    pub failing: Score,
    /// Of slow answers.
    pub slow: Score,
}

/// How often something may happen to the new release, in millionths; `None`: as often as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Requests that fail.
    pub failing: Option<u64>,
    /// Answers that take too long.
    pub slow: Option<u64>,
}

impl Evidence {
    /// Notes what one node saw just now.
    pub(crate) fn note(&mut self, now: Millis, failing: Pair, slow: Pair) {
        let at = now - now % SECOND;
        if self.seconds.last().is_none_or(|last| last.at < at) {
            self.seconds.push(Second { at, ..Second::default() });
        }
        if let Some(last) = self.seconds.last_mut() {
            last.failing.add(failing);
            last.slow.add(slow);
        }
    }

    /// Adds the seconds that all nodes have reported to the scores.
    pub(crate) fn settle(&mut self, now: Millis, allowed: Allowed) {
        let known = self.seconds.iter().take_while(|second| is_known(second, now)).count();
        for second in self.seconds.drain(..known) {
            for (score, pair, allowed) in [
                (&mut self.failing, second.failing, allowed.failing),
                (&mut self.slow, second.slow, allowed.slow),
            ] {
                match allowed {
                    Some(allowed) => score.add(second.at, pair, allowed),
                    None => *score = Score::default(),
                }
            }
        }
    }

    /// When the next second is known, if any is waited for.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        self.seconds.first().map(|second| second.at.saturating_add(SECOND + LATE))
    }
}

fn is_known(second: &Second, now: Millis) -> bool {
    now >= second.at.saturating_add(SECOND + LATE)
}
