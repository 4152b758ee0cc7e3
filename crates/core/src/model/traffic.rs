//! What edges count of requests. All counters only grow while an edge lives; health checks are in none of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::evidence::Share;
use super::id::{Millis, ReleaseId};

/// What clients of one environment got at one edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Requests that were answered.
    pub requests: u64,
    /// Answers of the application with a status of 500 or above.
    pub app_errors: u64,
    /// Answered by the edge, because no instance took the connection.
    pub refused: u64,
    /// The application broke off before or within its answer.
    pub reset: u64,
    /// The same of an instance that was being stopped: its drain timeout had passed.
    pub cut: u64,
    /// Answered by the edge, because there was no instance to ask.
    pub shed: u64,
}

impl Traffic {
    /// What did not come from the application, and was to.
    #[must_use]
    pub fn failed(self) -> u64 {
        self.reset.saturating_add(self.by_platform())
    }

    /// What failed though the application did nothing wrong: the number that must be 0.
    #[must_use]
    pub fn by_platform(self) -> u64 {
        self.refused.saturating_add(self.cut).saturating_add(self.shed)
    }

    /// What was counted after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    /// Counts `other` in.
    pub fn add(&mut self, other: Self) {
        *self = self.with(other, u64::saturating_add);
    }

    fn with(self, other: Self, op: fn(u64, u64) -> u64) -> Self {
        Self {
            requests: op(self.requests, other.requests),
            app_errors: op(self.app_errors, other.app_errors),
            refused: op(self.refused, other.refused),
            reset: op(self.reset, other.reset),
            cut: op(self.cut, other.cut),
            shed: op(self.shed, other.shed),
        }
    }
}

/// Upper bounds of the classes of [`Times`] in milliseconds; what takes longer is in one class more.
pub const CLASSES: [Millis; 27] = [
    1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000,
    7_000, 10_000, 15_000, 30_000, 60_000,
];

/// The class of a time: an index into [`CLASSES`], or one beyond.
#[must_use]
pub fn class_of(time: Millis) -> u8 {
    u8::try_from(CLASSES.partition_point(|bound| *bound < time)).unwrap_or(u8::MAX)
}

/// How long answers took to begin: how many by class. Classes with none are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Times(pub BTreeMap<u8, u64>);

impl Times {
    /// All of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Those that took longer than the upper bound of a class.
    #[must_use]
    pub fn beyond(&self, class: u8) -> u64 {
        self.0.iter().filter(|(c, _)| **c > class).fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// The time within which so many thousandths of the answers began: the upper bound of a class, the last
    /// one for what took even longer. `None` where nothing was counted.
    #[must_use]
    pub fn within(&self, thousandths: u64) -> Option<Millis> {
        let count = self.count();
        let rank = u128::from(count) * u128::from(thousandths);
        let mut below: u128 = 0;
        for (class, n) in &self.0 {
            below += u128::from(*n) * 1_000;
            if below >= rank.max(1) {
                return CLASSES.get(usize::from(*class)).or(CLASSES.last()).copied();
            }
        }
        None
    }
}

/// What instances of one release on one node did with the requests that reached them. A request that was sent
/// to two of them is counted twice. What happens between two edges, or to a client, is nobody's fault here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Requests that were answered, or failed at the instance.
    pub requests: u64,
    /// Answers with a status of 500 or above.
    pub errors: u64,
    /// The instance did not take the connection.
    pub refused: u64,
    /// The instance broke off before or within its answer, while it was to serve.
    pub reset: u64,
    /// Clients that left before an answer began; they are in no other number but `times`.
    pub aborted: u64,
    /// How long answers took to begin. For who left, how long it had waited.
    pub times: Times,
}

impl Counts {
    /// Faults of the release.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.saturating_add(self.refused).saturating_add(self.reset)
    }

    /// Faults of all requests.
    #[must_use]
    pub fn failing(&self) -> Share {
        Share { count: self.failed(), of: self.requests }
    }

    /// What was counted after `before`.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        before.map_or_else(|| self.clone(), |before| self.with(before, u64::saturating_sub))
    }

    /// Counts `other` in.
    pub fn add(&mut self, other: &Self) {
        *self = self.with(other, u64::saturating_add);
    }

    fn with(&self, other: &Self, op: fn(u64, u64) -> u64) -> Self {
        let mut times = self.times.clone();
        for (class, n) in &other.times.0 {
            let own = times.0.entry(*class).or_default();
            *own = op(*own, *n);
        }
        times.0.retain(|_, n| *n > 0);
        Self {
            requests: op(self.requests, other.requests),
            errors: op(self.errors, other.errors),
            refused: op(self.refused, other.refused),
            reset: op(self.reset, other.reset),
            aborted: op(self.aborted, other.aborted),
            times,
        }
    }
}

/// Everything that one edge counts of one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// What clients got from this edge, whichever node answered.
    pub traffic: Traffic,
    /// What instances of this node did, by release, whichever edge the clients had asked.
    pub releases: BTreeMap<ReleaseId, Counts>,
}

impl Measured {
    /// What was counted after `before`.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before else { return self.clone() };
        let counts = self.releases.iter().map(|(id, counts)| (*id, counts.since(before.releases.get(id))));
        let counts = counts.filter(|(_, counts)| *counts != Counts::default());
        Self { traffic: self.traffic.since(before.traffic), releases: counts.collect() }
    }

    /// Counts `other` in.
    pub fn add(&mut self, other: &Self) {
        self.traffic.add(other.traffic);
        for (id, counts) in &other.releases {
            self.releases.entry(*id).or_default().add(counts);
        }
    }

    /// Of these releases alone.
    #[must_use]
    pub fn of(&self, releases: &BTreeSet<ReleaseId>) -> Self {
        let counts = self.releases.iter().filter(|(id, _)| releases.contains(id));
        Self { traffic: self.traffic, releases: counts.map(|(id, counts)| (*id, counts.clone())).collect() }
    }

    /// Whether it cannot be a later count of what `earlier` counted: the edge has started anew.
    #[must_use]
    pub fn is_anew(&self, earlier: &Self) -> bool {
        let fewer = |(id, old): (&ReleaseId, &Counts)| {
            self.releases.get(id).is_some_and(|new| new.requests < old.requests)
        };
        self.traffic.requests < earlier.traffic.requests || earlier.releases.iter().any(fewer)
    }
}

/// What was counted in the time before a deployment began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// How long that time was.
    pub millis: Millis,
    /// What was counted in it.
    pub measured: Measured,
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, Counts, Times, class_of};

    #[test]
    fn a_time_is_in_the_first_class_that_holds_it() {
        for (time, class) in
            [(0, 0), (1, 0), (2, 1), (4, 3), (100, 11), (101, 12), (60_000, 26), (60_001, 27)]
        {
            assert_eq!(class_of(time), class, "{time} ms");
        }
        assert!(CLASSES.is_sorted());
    }

    #[test]
    fn percentiles_are_upper_bounds_of_classes() {
        let times = Times([(class_of(10), 90), (class_of(300), 9), (class_of(70_000), 1)].into());
        assert_eq!([500, 900, 950, 990, 999].map(|n| times.within(n).unwrap()), [10, 10, 300, 300, 60_000]);
        assert_eq!(times.beyond(class_of(10)), 10);
        assert_eq!(Times::default().within(500), None);
        assert_eq!(Times([(3, u64::MAX), (4, u64::MAX)].into()).within(999), Some(CLASSES[3]));
    }

    #[test]
    fn what_was_counted_since() {
        let counts =
            |requests, class, n| Counts { requests, times: Times([(class, n)].into()), ..Counts::default() };
        let mut later = counts(10, 1, 10);
        later.add(&counts(5, 2, 5));
        assert_eq!(later.since(Some(&counts(10, 1, 10))), counts(5, 2, 5));
        assert_eq!(later.since(None), later);
    }
}
