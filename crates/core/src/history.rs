//! What edges counted over time: the words for it, and how what several nodes recorded becomes one answer.
//!
//! Times are Unix seconds of the nodes' own clocks. What is not known is left out, and never a zero.

use std::collections::BTreeMap;

use crate::model::{CLASSES, Counts, NodeId, ReleaseId, Times, Traffic};

/// How finely a node recorded, and for how long it keeps that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Each second, for two hours: a deployment that took an hour is told by the second for another.
    Second,
    /// Ten seconds, for a day.
    TenSeconds,
    /// Five minutes, for 30 days.
    FiveMinutes,
}

impl Step {
    /// All of them, the finest first.
    pub const ALL: [Self; 3] = [Self::Second, Self::TenSeconds, Self::FiveMinutes];

    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::TenSeconds => 10,
            Self::FiveMinutes => 300,
        }
    }

    /// How many of it are kept.
    #[must_use]
    pub const fn kept(self) -> u64 {
        match self {
            Self::Second => 7_200,
            Self::TenSeconds => 8_640,
            Self::FiveMinutes => 8_640,
        }
    }

    /// So many seconds back it is kept.
    #[must_use]
    pub const fn reach(self) -> u64 {
        self.seconds() * self.kept()
    }

    /// The one of that length.
    #[must_use]
    pub fn of_seconds(seconds: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.seconds() == seconds)
    }

    /// The finest that still has what was recorded `age` seconds ago and is not finer than `least` seconds; the
    /// coarsest where none has.
    #[must_use]
    pub fn finest(age: u64, least: u64) -> Self {
        let fits = |step: &Self| age <= step.reach() && step.seconds() >= least;
        Self::ALL.into_iter().find(fits).unwrap_or(Self::FiveMinutes)
    }
}

/// A time of which something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first second.
    pub from: u64,
    /// The second behind its last one.
    pub to: u64,
    /// How finely.
    pub step: Step,
}

/// What was counted in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point<T> {
    /// Its first second: a multiple of the step.
    pub at: u64,
    /// Of how many seconds this is what was counted. Fewer than the step where it is not over, or something in it
    /// is not known; more where nobody looked before, and what was counted then is in here.
    pub seconds: u64,
    /// What was counted.
    pub counted: T,
}

/// What one node recorded of one environment. Steps of which it knows nothing are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// What clients got from its edge.
    pub traffic: Vec<Point<Traffic>>,
    /// What its instances did.
    pub releases: BTreeMap<ReleaseId, Vec<Point<Counts>>>,
    /// How many were in flight at its instances; steps in which it had none of a release are left out there.
    pub in_flight: BTreeMap<ReleaseId, Vec<Point<InFlight>>>,
}

/// The most requests and streams in flight at one moment of a step, as far as an edge told of it. Of several times
/// the greatest counts, and nodes are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct InFlight(pub u64);

/// Numbers in a fixed order, as they are stored and sent.
pub trait Numbered: Sized {
    /// How many there are.
    const WIDTH: usize;

    /// All of them.
    fn numbers(&self) -> Vec<u64>;

    /// What has these numbers; those that are missing are 0, and any that are too many count for nothing.
    fn of_numbers(numbers: &[u64]) -> Self;
}

impl Numbered for Traffic {
    const WIDTH: usize = 6;

    fn numbers(&self) -> Vec<u64> {
        let Self { requests, app_errors, refused, reset, cut, shed } = *self;
        vec![requests, app_errors, refused, reset, cut, shed]
    }

    fn of_numbers(numbers: &[u64]) -> Self {
        let n = |place: usize| numbers.get(place).copied().unwrap_or_default();
        Self { requests: n(0), app_errors: n(1), refused: n(2), reset: n(3), cut: n(4), shed: n(5) }
    }
}

impl Numbered for InFlight {
    const WIDTH: usize = 1;

    fn numbers(&self) -> Vec<u64> {
        vec![self.0]
    }

    fn of_numbers(numbers: &[u64]) -> Self {
        Self(numbers.first().copied().unwrap_or_default())
    }
}

/// Numbers of [`Counts`] before its times.
const PLAIN: usize = 5;

impl Numbered for Counts {
    const WIDTH: usize = PLAIN + CLASSES.len() + 1;

    fn numbers(&self) -> Vec<u64> {
        let mut numbers = vec![self.requests, self.errors, self.refused, self.reset, self.aborted];
        numbers.resize(Self::WIDTH, 0);
        for (class, n) in &self.times.0 {
            // A class beyond the last one would come from another version; it counts as the last.
            if let Some(sum) = numbers.get_mut(PLAIN + usize::from(*class).min(CLASSES.len())) {
                *sum = sum.saturating_add(*n);
            }
        }
        numbers
    }

    fn of_numbers(numbers: &[u64]) -> Self {
        let n = |place: usize| numbers.get(place).copied().unwrap_or_default();
        let classes = numbers.iter().take(Self::WIDTH).skip(PLAIN).copied();
        let times = (0_u8..).zip(classes).filter(|(_, n)| *n > 0);
        Self {
            requests: n(0),
            errors: n(1),
            refused: n(2),
            reset: n(3),
            aborted: n(4),
            times: Times(times.collect()),
        }
    }
}

/// What the nodes recorded of one step, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Of how many seconds it is known at most what clients got; see [`Point::seconds`].
    pub seconds: u64,
    /// What clients got.
    pub traffic: Traffic,
    /// The same by node; those that know nothing of this step are not in it.
    pub nodes: BTreeMap<NodeId, Traffic>,
    /// What instances did.
    pub releases: BTreeMap<ReleaseId, Counts>,
    /// How many were in flight at them: what each node had at most, added up. 0 of a release that had an instance
    /// and nothing to do.
    pub in_flight: BTreeMap<ReleaseId, u64>,
}

/// What nodes recorded, together in steps of `step` seconds, by the first second of each. Clocks of nodes that
/// differ by less than a step move little of it into the step beside.
#[must_use]
pub fn together(parts: &BTreeMap<NodeId, Recorded>, step: u64) -> BTreeMap<u64, Moment> {
    let step = step.max(1);
    let mut moments = BTreeMap::<u64, Moment>::new();
    for (node, recorded) in parts {
        let mut seconds = BTreeMap::<u64, u64>::new();
        for point in &recorded.traffic {
            let at = point.at - point.at % step;
            let moment = moments.entry(at).or_default();
            moment.traffic.add(point.counted);
            moment.nodes.entry(*node).or_default().add(point.counted);
            let known = seconds.entry(at).or_default();
            *known = known.saturating_add(point.seconds);
        }
        for (release, points) in &recorded.releases {
            for point in points {
                let at = point.at - point.at % step;
                let moment = moments.entry(at).or_default();
                moment.releases.entry(*release).or_default().add(&point.counted);
            }
        }
        for ((at, release), InFlight(most)) in most_in_flight(recorded, step) {
            let sum = moments.entry(at).or_default().in_flight.entry(release).or_default();
            *sum = sum.saturating_add(most);
        }
        for (at, seconds) in seconds {
            let moment = moments.entry(at).or_default();
            moment.seconds = moment.seconds.max(seconds);
        }
    }
    for moment in moments.values_mut() {
        moment.releases.retain(|_, counts| *counts != Counts::default());
    }
    moments
}

/// What one node had in flight at most in each step.
fn most_in_flight(recorded: &Recorded, step: u64) -> BTreeMap<(u64, ReleaseId), InFlight> {
    let mut most = BTreeMap::<_, InFlight>::new();
    for (release, points) in &recorded.in_flight {
        for point in points {
            let known = most.entry((point.at - point.at % step, *release)).or_default();
            *known = point.counted.max(*known);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::{InFlight, Numbered, Point, Recorded, Step, together};
    use crate::model::{Counts, NodeId, ReleaseId, Times, Traffic};

    fn traffic(at: u64, seconds: u64, requests: u64) -> Point<Traffic> {
        Point { at, seconds, counted: Traffic { requests, ..Traffic::default() } }
    }

    fn counts(at: u64, class: u8, n: u64) -> Point<Counts> {
        let times = Times([(class, n)].into());
        Point { at, seconds: 1, counted: Counts { requests: n, times, ..Counts::default() } }
    }

    #[test]
    fn numbers_are_what_was_counted() {
        let traffic = Traffic { requests: 1, app_errors: 2, refused: 3, reset: 4, cut: 5, shed: 6 };
        assert_eq!(Traffic::of_numbers(&traffic.numbers()), traffic);
        let times = Times([(0, 7), (27, 8)].into());
        let counts = Counts { requests: 1, errors: 2, refused: 3, reset: 4, aborted: 5, times };
        let numbers = counts.numbers();
        assert_eq!((numbers.len(), Counts::of_numbers(&numbers)), (33, counts));
        // From a node of another version.
        let other = Counts { times: Times([(27, 1), (200, 2)].into()), ..Counts::default() };
        assert_eq!(Counts::of_numbers(&other.numbers()).times, Times([(27, 3)].into()));
        assert_eq!(Counts::of_numbers(&[9; 99]).times.0.len(), 28);
        assert_eq!(Traffic::of_numbers(&[9]), Traffic { requests: 9, ..Traffic::default() });
        assert_eq!(InFlight::of_numbers(&InFlight(7).numbers()), InFlight(7));
        assert_eq!(InFlight::of_numbers(&[]), InFlight(0));
    }

    #[test]
    fn the_finest_step_that_reaches_is_taken() {
        for (age, least, step) in [
            (60, 0, Step::Second),
            (7_200, 0, Step::Second),
            (7_201, 0, Step::TenSeconds),
            (60, 10, Step::TenSeconds),
            (60, 11, Step::FiveMinutes),
            (86_401, 0, Step::FiveMinutes),
            (u64::MAX, u64::MAX, Step::FiveMinutes),
        ] {
            assert_eq!(Step::finest(age, least), step, "{age} s ago, {least} s");
        }
        assert_eq!(Step::ALL.map(Step::reach), [7_200, 86_400, 30 * 86_400]);
        assert_eq!(Step::ALL.map(|step| Step::of_seconds(step.seconds())), Step::ALL.map(Some));
        assert_eq!(Step::of_seconds(60), None);
    }

    #[test]
    fn nodes_are_summed_by_step_and_what_nobody_knows_is_left_out() {
        let (one, two, r3) = (NodeId(1), NodeId(2), ReleaseId(3));
        let parts = [
            (
                one,
                Recorded {
                    traffic: vec![traffic(100, 1, 5), traffic(109, 1, 0), traffic(120, 40, 7)],
                    releases: [(r3, vec![counts(100, 2, 90), counts(120, 2, 0)])].into(),
                    ..Recorded::default()
                },
            ),
            (
                two,
                Recorded {
                    traffic: vec![traffic(101, 1, 2)],
                    releases: [(r3, vec![counts(101, 9, 10)])].into(),
                    ..Recorded::default()
                },
            ),
        ];
        let moments = together(&parts.into(), 10);
        assert_eq!(moments.keys().copied().collect::<Vec<_>>(), [100, 120]);
        let first = &moments[&100];
        assert_eq!((first.traffic.requests, first.seconds, first.nodes[&two].requests), (7, 2, 2));
        let times = &first.releases[&r3].times;
        assert_eq!((times.count(), times.within(900), times.within(990)), (100, Some(3), Some(50)));
        let second = &moments[&120];
        assert_eq!((second.traffic.requests, second.seconds, second.nodes.len()), (7, 40, 1));
        assert!(second.releases.is_empty(), "nothing reached it");
        assert_eq!(together(&[].into(), 0), [].into());
    }

    #[test]
    fn of_what_was_in_flight_the_most_of_each_node_is_added_up() {
        let (old, new) = (ReleaseId(3), ReleaseId(4));
        let points = |most: &[(u64, u64)]| {
            let point = |(at, n): &(u64, u64)| Point { at: *at, seconds: 1, counted: InFlight(*n) };
            most.iter().map(point).collect::<Vec<_>>()
        };
        let node = |in_flight: &[(ReleaseId, Vec<Point<InFlight>>)]| Recorded {
            in_flight: in_flight.iter().cloned().collect(),
            ..Recorded::default()
        };
        let parts = [
            // It drains, and is gone; what is not known any more is no 0.
            (NodeId(1), node(&[(old, points(&[(100, 12), (101, 9), (102, 0)])), (new, points(&[(102, 4)]))])),
            (NodeId(2), node(&[(old, points(&[(100, 5), (101, 7), (102, 0), (103, 0)]))])),
        ];
        let of = |step: u64, at: u64| {
            let moments = together(&parts.clone().into(), step);
            moments[&at].in_flight.iter().map(|(id, n)| (id.0, *n)).collect::<Vec<_>>()
        };
        assert_eq!(of(1, 100), [(3, 17)]);
        assert_eq!(of(1, 101), [(3, 16)]);
        assert_eq!(of(1, 102), [(3, 0), (4, 4)]);
        assert_eq!(of(1, 103), [(3, 0)]);
        // The two had their most at different times: it is not known that they had less together.
        assert_eq!(of(10, 100), [(3, 19), (4, 4)]);
        assert_eq!(together(&parts.into(), 10)[&100].traffic, Traffic::default());
    }
}
