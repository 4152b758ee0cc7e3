//! How an instance stands with the edge of its node: in full use, passed over after failures in a row, or on its way
//! to full use.
//!
//! One that fails time after time is out for a while, which doubles each time it fails again. Then one request tries
//! it out. After an answer it gets a share that grows over [`RAMP`], as an instance does that has just joined others.
//! What an instance did is known here; whether there are others that can serve in its place is for who picks.
//! The caller gives the time, in milliseconds since the edge started.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// So much weight of failures in a row is too much.
const ENOUGH: u32 = 15;

/// For how long an instance is out at first, and at most.
const FIRST_OUT: u64 = 1_000;
const LONGEST_OUT: u64 = 30_000;

/// Whoever tries an instance out has an answer by then, or another tries: longer than connecting is tried.
const TRIAL: u64 = 2_500;

/// How long a share grows from the least to the whole.
const RAMP: u64 = 5_000;

/// A whole share, and the least.
pub(crate) const WHOLE: u32 = 1_000;
const LEAST: u64 = 100;

/// How an instance failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It took no connection, or broke off before it answered. Three in a row are too many.
    Connection,
    /// It answered 502, 503 or 504: it says itself that it cannot. Five in a row are too many. A 500 is no such sign:
    /// an error of the application's code comes from all of its instances alike.
    Gateway,
}

impl Failure {
    fn weight(self) -> u32 {
        match self {
            Failure::Connection => ENOUGH / 3,
            Failure::Gateway => ENOUGH / 5,
        }
    }
}

/// How much an instance is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// With this share of what others get, of [`WHOLE`].
    Share(u32),
    /// One request may try it out.
    Due,
    /// It is passed over.
    Out,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// A [`Place`]; 0 in full use, so that the good case costs one load.
    place: AtomicU64,
    /// Weight of failures in a row; not 0 while it is out.
    failures: AtomicU32,
    /// How often it went out since it was last in full use.
    times: AtomicU32,
}

#[derive(Clone, Copy)]
enum Place {
    Full,
    /// Until then.
    Out(u64),
    /// Somebody tries it out, and has until then.
    Tried(u64),
    /// Since then.
    Growing(u64),
}

impl Place {
    fn of(word: u64) -> Self {
        match (word & 3, word >> 2) {
            (1, at) => Place::Out(at),
            (2, at) => Place::Tried(at),
            (3, at) => Place::Growing(at),
            _ => Place::Full,
        }
    }

    fn word(self) -> u64 {
        match self {
            Place::Full => 0,
            Place::Out(at) => at << 2 | 1,
            Place::Tried(at) => at << 2 | 2,
            Place::Growing(at) => at << 2 | 3,
        }
    }
}

impl Standing {
    /// Of an instance that joins others.
    pub(crate) fn growing(now: u64) -> Self {
        Self { place: AtomicU64::new(Place::Growing(now).word()), ..Self::default() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.place.load(Ordering::Relaxed) == 0
    }

    /// Whether somebody tries it out, or has to.
    pub(crate) fn is_tried(&self) -> bool {
        matches!(Place::of(self.place.load(Ordering::Relaxed)), Place::Tried(_))
    }

    pub(crate) fn of(&self, now: u64) -> Use {
        let word = self.place.load(Ordering::Relaxed);
        match Place::of(word) {
            Place::Full => Use::Share(WHOLE),
            Place::Out(until) | Place::Tried(until) => {
                if now < until {
                    Use::Out
                } else {
                    Use::Due
                }
            }
            Place::Growing(since) => {
                let age = now.saturating_sub(since);
                if age >= RAMP {
                    if self.move_on(word, Place::Full) {
                        self.times.store(0, Ordering::Relaxed);
                    }
                    return Use::Share(WHOLE);
                }
                let grown = u64::from(WHOLE) * age / RAMP;
                Use::Share(u32::try_from(grown.max(LEAST)).unwrap_or(WHOLE))
            }
        }
    }

    /// Whether the caller is the one who tries it out.
    pub(crate) fn try_out(&self, now: u64) -> bool {
        let word = self.place.load(Ordering::Relaxed);
        let due = matches!(Place::of(word), Place::Out(until) | Place::Tried(until) if now >= until);
        let mine = due && self.move_on(word, Place::Tried(now + TRIAL));
        if mine {
            self.failures.store(ENOUGH, Ordering::Relaxed);
        }
        mine
    }

    /// It answered. `true`: it was out, and is on its way back.
    pub(crate) fn answered(&self, now: impl FnOnce() -> u64) -> bool {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let word = self.place.load(Ordering::Relaxed);
        let back = match Place::of(word) {
            // That was sent before it went out, or as nobody else was left.
            Place::Out(_) => return false,
            Place::Tried(_) => self.move_on(word, Place::Growing(now())),
            Place::Full | Place::Growing(_) => false,
        };
        self.failures.store(0, Ordering::Relaxed);
        back
    }

    /// It failed. `Some`: it is out from now on, for so many milliseconds.
    pub(crate) fn failed(&self, failure: Failure, now: u64) -> Option<u64> {
        if let Use::Share(_) = self.of(now) {
            let weight = failure.weight();
            if self.failures.fetch_add(weight, Ordering::Relaxed) + weight < ENOUGH {
                return None;
            }
        }
        let word = self.place.load(Ordering::Relaxed);
        if let Place::Out(_) = Place::of(word) {
            return None;
        }
        let times = self.times.load(Ordering::Relaxed);
        let millis = (FIRST_OUT << times.min(10)).min(LONGEST_OUT);
        let out = self.move_on(word, Place::Out(now + millis));
        out.then(|| {
            self.times.store(times + 1, Ordering::Relaxed);
            millis
        })
    }

    /// Of several workers that see the same, one moves it.
    fn move_on(&self, from: u64, to: Place) -> bool {
        self.place.compare_exchange(from, to.word(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Standing, Use, WHOLE};

    fn fail(standing: &Standing, failure: Failure, n: usize, now: u64) -> Option<u64> {
        assert!((1..n).all(|_| standing.failed(failure, now).is_none()));
        standing.failed(failure, now)
    }

    #[test]
    fn so_many_failures_in_a_row_are_too_many() {
        for (failure, n) in [(Failure::Connection, 3), (Failure::Gateway, 5)] {
            let standing = Standing::default();
            assert_eq!(fail(&standing, failure, n - 1, 0), None);
            assert!(!standing.answered(|| 0));
            assert_eq!(fail(&standing, failure, n - 1, 0), None, "an answer in between");
            assert_eq!(standing.of(0), Use::Share(WHOLE));
            assert_eq!(standing.failed(failure, 10), Some(1_000));
            assert_eq!(standing.of(1_009), Use::Out);
            assert_eq!(standing.failed(failure, 20), None, "it was sent before");
            assert!(!standing.answered(|| 30), "so was this");
            assert_eq!(standing.of(1_009), Use::Out);
        }
    }

    #[test]
    fn one_request_tries_it_out_and_each_failure_doubles_the_time() {
        let standing = Standing::default();
        let mut out = fail(&standing, Failure::Connection, 3, 0).unwrap();
        let mut now = 0;
        for expected in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(out, expected);
            now += out;
            assert_eq!(standing.of(now - 1), Use::Out);
            assert_eq!(standing.of(now), Use::Due);
            assert!(standing.try_out(now));
            assert!(!standing.try_out(now), "one is enough");
            out = standing.failed(Failure::Gateway, now).unwrap();
        }
        now += out;
        assert!(standing.try_out(now));
        assert!(!standing.try_out(now + 2_499));
        assert!(standing.try_out(now + 2_500), "of the one before nothing was heard");
    }

    #[test]
    fn after_an_answer_its_share_grows_and_what_was_is_forgotten() {
        let standing = Standing::default();
        fail(&standing, Failure::Connection, 3, 0);
        assert!(standing.try_out(1_000));
        assert!(standing.answered(|| 1_100));
        let shares = [1_100, 1_600, 2_600, 3_600, 6_099].map(|now| standing.of(now));
        assert_eq!(shares, [100, 100, 300, 500, 999].map(Use::Share));
        // Soon again is longer; after full use it is as the first time.
        assert_eq!(fail(&standing, Failure::Connection, 3, 6_099), Some(2_000));
        assert!(standing.try_out(9_000) && standing.answered(|| 9_000));
        assert_eq!(standing.of(14_000), Use::Share(WHOLE));
        assert!(standing.is_full());
        assert_eq!(fail(&standing, Failure::Connection, 3, 14_000), Some(1_000));
    }
}
