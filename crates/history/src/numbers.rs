//! Whose counters and gauges are recorded, and their numbers in a fixed order.

use temps_core::history::{InFlight, Numbered};
use temps_core::model::{Counts, EnvironmentId, ReleaseId, Traffic};

/// Whose counters or gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// What clients of an environment got from this node's edge.
    Environment(EnvironmentId),
    /// What instances of a release of an environment did on this node.
    Release(EnvironmentId, ReleaseId),
    /// How many requests and streams are in flight at instances of a release of an environment on this node. Where
    /// it has no instance here, nothing is known of that.
    InFlight(EnvironmentId, ReleaseId),
}

/// How numbers of one step become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Counters.
    Sum,
    /// Gauges.
    Greatest,
}

impl Series {
    /// The environment that it belongs to.
    #[must_use]
    pub fn environment(self) -> EnvironmentId {
        match self {
            Self::Environment(environment)
            | Self::Release(environment, _)
            | Self::InFlight(environment, _) => environment,
        }
    }

    /// How many numbers it has.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Environment(_) => Traffic::WIDTH,
            Self::Release(..) => Counts::WIDTH,
            Self::InFlight(..) => InFlight::WIDTH,
        }
    }

    pub(crate) const fn merge(self) -> Merge {
        match self {
            Self::Environment(_) | Self::Release(..) => Merge::Sum,
            Self::InFlight(..) => Merge::Greatest,
        }
    }

    /// How its file is called.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Environment(environment) => environment.to_string(),
            Self::Release(_, release) => release.to_string(),
            Self::InFlight(_, release) => format!("{release}-in-flight"),
        }
    }

    /// Its kind as a number, and its release; 0 where it has none.
    pub(crate) const fn key(self) -> (u8, u64) {
        match self {
            Self::Environment(_) => (1, 0),
            Self::Release(_, release) => (2, release.0),
            Self::InFlight(_, release) => (3, release.0),
        }
    }

    /// By which a checksum tells its bytes from those of another series.
    pub(crate) fn mark(self) -> [u8; 17] {
        let (kind, release) = self.key();
        let mut mark = [kind; 17];
        mark[1..9].copy_from_slice(&self.environment().0.to_le_bytes());
        mark[9..].copy_from_slice(&release.to_le_bytes());
        mark
    }
}

/// Numbers of one series in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers(pub(crate) Box<[u64]>);

impl Numbers {
    pub(crate) fn zero(width: usize) -> Self {
        Self(vec![0; width].into())
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|n| *n == 0)
    }

    pub(crate) fn merge(&mut self, other: &Self, merge: Merge) {
        let of = |own: u64, other: u64| match merge {
            Merge::Sum => own.saturating_add(other),
            Merge::Greatest => own.max(other),
        };
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = of(*own, *other));
    }

    /// What was counted after `before`; nothing where some number is smaller, which a counter that goes on never is.
    pub(crate) fn since(&self, before: &Self) -> Option<Self> {
        let less = self.0.iter().zip(&before.0).map(|(own, before)| own.checked_sub(*before));
        less.collect::<Option<_>>().map(Self)
    }

    pub(crate) fn of<T: Numbered>(counted: &T) -> Self {
        Self(counted.numbers().into())
    }

    pub(crate) fn to<T: Numbered>(&self) -> T {
        T::of_numbers(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Numbers, Series};
    use temps_core::model::{Counts, EnvironmentId, ReleaseId};

    #[test]
    fn a_difference_is_one_of_counters_that_go_on() {
        let earlier = Numbers::of(&Counts { requests: 5, errors: 1, ..Counts::default() });
        let later = Numbers::of(&Counts { requests: 9, errors: 1, ..Counts::default() });
        let since = Counts { requests: 4, ..Counts::default() };
        assert_eq!(later.since(&earlier).unwrap().to::<Counts>(), since);
        assert_eq!(earlier.since(&later), None);
    }

    #[test]
    fn series_are_told_apart() {
        let (e1, r2) = (EnvironmentId(1), Series::Release(EnvironmentId(1), ReleaseId(2)));
        assert_eq!((Series::Environment(e1).width(), r2.width()), (6, 33));
        assert_eq!((Series::Environment(e1).name(), r2.name()), ("e1".to_owned(), "r2".to_owned()));
        assert_ne!(Series::Environment(e1).mark(), r2.mark());
        let gauge = Series::InFlight(e1, ReleaseId(2));
        assert_eq!((gauge.width(), gauge.name()), (1, "r2-in-flight".to_owned()));
        assert_ne!(gauge.mark(), r2.mark());
    }
}
