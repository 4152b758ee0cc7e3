//! Whose counters are recorded, and their numbers in a fixed order.

use temps_core::model::{CLASSES, Counts, EnvironmentId, ReleaseId, Times, Traffic};

/// Whose counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// What clients of an environment got from this node's edge.
    Environment(EnvironmentId),
    /// What instances of a release of an environment did on this node.
    Release(EnvironmentId, ReleaseId),
}

/// Numbers of [`Traffic`].
const TRAFFIC: usize = 6;
/// Numbers of [`Counts`] before its times, and all of them.
const PLAIN: usize = 5;
const COUNTS: usize = PLAIN + CLASSES.len() + 1;

impl Series {
    /// The environment that it belongs to.
    #[must_use]
    pub fn environment(self) -> EnvironmentId {
        match self {
            Self::Environment(environment) | Self::Release(environment, _) => environment,
        }
    }

    /// How many numbers it has.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Environment(_) => TRAFFIC,
            Self::Release(..) => COUNTS,
        }
    }

    /// How its file is called.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Environment(environment) => environment.to_string(),
            Self::Release(_, release) => release.to_string(),
        }
    }

    /// By which a checksum tells its bytes from those of another series.
    pub(crate) fn mark(self) -> [u8; 17] {
        let (kind, release) = match self {
            Self::Environment(_) => (1, 0),
            Self::Release(_, release) => (2, release.0),
        };
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

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = own.saturating_add(*other));
    }

    /// What was counted after `before`; nothing where some number is smaller, which a counter that goes on never is.
    pub(crate) fn since(&self, before: &Self) -> Option<Self> {
        let less = self.0.iter().zip(&before.0).map(|(own, before)| own.checked_sub(*before));
        less.collect::<Option<_>>().map(Self)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let n = |place: usize| self.0.get(place).copied().unwrap_or_default();
        Traffic { requests: n(0), app_errors: n(1), refused: n(2), reset: n(3), cut: n(4), shed: n(5) }
    }

    pub(crate) fn counts(&self) -> Counts {
        let n = |place: usize| self.0.get(place).copied().unwrap_or_default();
        let times = (0_u8..).zip(self.0.iter().skip(PLAIN).copied()).filter(|(_, n)| *n > 0);
        Counts {
            requests: n(0),
            errors: n(1),
            refused: n(2),
            reset: n(3),
            aborted: n(4),
            times: Times(times.collect()),
        }
    }
}

impl From<&Traffic> for Numbers {
    fn from(traffic: &Traffic) -> Self {
        let Traffic { requests, app_errors, refused, reset, cut, shed } = *traffic;
        Self([requests, app_errors, refused, reset, cut, shed].into())
    }
}

impl From<&Counts> for Numbers {
    fn from(counts: &Counts) -> Self {
        let Counts { requests, errors, refused, reset, aborted, times } = counts;
        let mut numbers = Self::zero(COUNTS);
        numbers.0[..PLAIN].copy_from_slice(&[*requests, *errors, *refused, *reset, *aborted]);
        for (class, n) in &times.0 {
            // A class beyond the last one would come from another version; it counts as the last.
            let place = PLAIN + usize::from(*class).min(CLASSES.len());
            numbers.0[place] = numbers.0[place].saturating_add(*n);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::{Numbers, Series};
    use temps_core::model::{Counts, EnvironmentId, ReleaseId, Times, Traffic};

    #[test]
    fn numbers_are_what_was_counted() {
        let traffic = Traffic { requests: 1, app_errors: 2, refused: 3, reset: 4, cut: 5, shed: 6 };
        assert_eq!(Numbers::from(&traffic).traffic(), traffic);
        let times = Times([(0, 7), (27, 8)].into());
        let counts = Counts { requests: 1, errors: 2, refused: 3, reset: 4, aborted: 5, times };
        let numbers = Numbers::from(&counts);
        assert_eq!(numbers.counts(), counts);
        assert_eq!(numbers.since(&numbers).unwrap().counts(), Counts::default());
        assert_eq!(Numbers::from(&Counts::default()).since(&numbers), None);
        let (one, two) = (EnvironmentId(1), Series::Release(EnvironmentId(1), ReleaseId(2)));
        assert_eq!((Series::Environment(one).width(), two.width()), (6, 33));
        assert_eq!((Series::Environment(one).name(), two.name()), ("e1".to_owned(), "r2".to_owned()));
    }
}
