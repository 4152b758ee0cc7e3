//! A ring beside an obvious model: what is known of each step, one by one.

use std::collections::BTreeMap;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use temps_core::history::Step;

use super::{Ring, length};
use crate::numbers::{Merge, Numbers};
use crate::slot::Slot;

/// What happens in a time of so many seconds.
#[derive(Clone, Copy, Debug)]
enum Time {
    Quiet(u32),
    Unknown(u32),
    Counted(u32, u64),
}

fn times(longest: u32) -> impl Strategy<Value = Vec<Time>> {
    let length = prop_oneof![4 => 1..15_u32, 1 => 1..=longest];
    let time = prop_oneof![
        3 => length.clone().prop_map(Time::Quiet),
        1 => length.clone().prop_map(Time::Unknown),
        3 => (prop_oneof![3 => Just(1), 1 => length], 1..1_000_u64).prop_map(|(n, x)| Time::Counted(n, x)),
    ];
    proptest::collection::vec(time, 1..60)
}

/// The slots as they lie in a file: the newest in each place.
#[derive(Default)]
struct Places(BTreeMap<u32, Slot>);

impl Places {
    fn put(&mut self, slots: Vec<Slot>, step: Step) {
        self.0.extend(slots.into_iter().map(|slot| (Slot::place(slot.start, step), slot)));
    }
}

fn numbers(n: u64) -> Numbers {
    Numbers([n].into())
}

/// By first second of each step: of how many seconds something is known, and how much was counted.
type Known = BTreeMap<u32, (u32, u64)>;

fn run(step: Step, merge: Merge, begin: u32, times: &[Time]) -> (Ring, Places, Known) {
    let mut ring = Ring::new(step, 1, begin);
    let (mut places, mut known, mut now) = (Places::default(), Known::new(), begin);
    let bucket = |second: u32| second - second % length(step);
    for time in times {
        let mut out = Vec::new();
        match *time {
            Time::Quiet(n) => {
                ring.quiet(now + n, &mut out);
                (now..now + n).for_each(|second| known.entry(bucket(second)).or_default().0 += 1);
                now += n;
            }
            Time::Unknown(n) => {
                ring.gap(now + n, &mut out);
                now += n;
            }
            Time::Counted(n, counted) => {
                ring.count(now + n, &numbers(counted), merge, &mut out);
                now += n;
                let step = known.entry(bucket(now - 1)).or_default();
                step.0 += n;
                step.1 = match merge {
                    Merge::Sum => step.1 + counted,
                    Merge::Greatest => step.1.max(counted),
                };
            }
        }
        places.put(out, step);
    }
    (ring, places, known)
}

fn told(ring: &Ring, places: &Places, from: u32, to: u32) -> Known {
    let told = ring.told(places.0.values().cloned().collect(), from, to).into_iter();
    told.map(|(at, (seconds, numbers))| (at, (seconds, numbers.map_or(0, |n| n.0[0])))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_recorded_is_told(
        step in prop_oneof![Just(Step::Second), Just(Step::TenSeconds), Just(Step::FiveMinutes)],
        merge in prop_oneof![Just(Merge::Sum), Just(Merge::Greatest)],
        begin in 1_700_000_000..1_700_001_000_u32,
        times in times(7_000),
        from in 0..20_000_u32,
        span in 1..20_000_u32,
    ) {
        let (ring, places, mut known) = run(step, merge, begin, &times);
        known.retain(|start, _| *start >= ring.oldest());
        assert_eq!(told(&ring, &places, 0, u32::MAX), known);
        // And of any time in it the part that belongs there.
        let from = begin + from;
        known.retain(|start, _| *start + length(step) > from && *start < from + span);
        assert_eq!(told(&ring, &places, from, from + span), known);
    }

    #[test]
    fn a_slot_that_is_lost_is_a_gap(
        step in prop_oneof![Just(Step::Second), Just(Step::TenSeconds)],
        times in times(500),
        lost in 0..50_usize,
    ) {
        let (ring, mut places, known) = run(step, Merge::Sum, 1_700_000_000, &times);
        let place = places.0.keys().nth(lost).copied();
        place.and_then(|place| places.0.remove(&place));
        for (start, told) in told(&ring, &places, 0, u32::MAX) {
            assert_eq!(known.get(&start), Some(&told), "{start}");
        }
    }
}

#[test]
fn time_without_requests_takes_one_slot() {
    let step = Step::TenSeconds;
    let times = [Time::Counted(1, 5), Time::Quiet(3_599), Time::Counted(1, 6), Time::Quiet(9)];
    let (ring, places, known) = run(step, Merge::Sum, 1_700_000_000, &times);
    assert_eq!(places.0.len(), 2);
    assert_eq!(told(&ring, &places, 0, u32::MAX), known);
    assert_eq!(known.len(), 361);
}
