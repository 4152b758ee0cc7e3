//! What was in flight over time, on a real disk, beside what really was.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use temps_core::history::{Span, Step};
use temps_core::model::{EnvironmentId, Measured, ReleaseId, Traffic};
use temps_core::table::EdgeReport;
use temps_history::History;

const E1: EnvironmentId = EnvironmentId(1);
const R3: ReleaseId = ReleaseId(3);
const R4: ReleaseId = ReleaseId(4);
const BEGIN: u64 = 1_700_000_123;

/// A node of which the edge reports.
struct Node {
    dir: tempfile::TempDir,
    history: History,
    now: u64,
    counting: u64,
    requests: u64,
}

/// Second, of how many seconds, and how many.
type Points = Vec<(u64, u64, u64)>;

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path().join("history")).unwrap();
        Self { dir, history, now: BEGIN, counting: 1, requests: 0 }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("history")
    }

    fn report(&self, releases: &[(ReleaseId, u64)]) -> EdgeReport {
        let traffic = Traffic { requests: self.requests, ..Traffic::default() };
        let measured = Measured { traffic, ..Measured::default() };
        EdgeReport {
            pid: 1,
            counting: self.counting,
            traffic: [(E1, measured)].into(),
            by_release: [(E1, releases.iter().copied().collect())].into(),
            ..EdgeReport::default()
        }
    }

    /// The next second, in which the edge reports these, one after the other.
    fn second(&mut self, reports: &[&[(ReleaseId, u64)]]) {
        reports.iter().for_each(|of| self.history.see(&self.report(of)));
        self.now += 1;
        self.requests += 1;
        self.history.record(&self.report(&[]), self.now);
    }

    fn stop(&mut self) {
        self.history.close();
        self.kill();
    }

    fn kill(&mut self) {
        self.history = History::open(self.path()).unwrap();
    }

    fn told(&self, release: ReleaseId, step: Step) -> Points {
        let recorded = self.history.recorded(E1, Span { from: 0, to: self.now + 1, step });
        let points = recorded.in_flight.get(&release).into_iter().flatten();
        points.map(|p| (p.at, p.seconds, p.counted.0)).collect()
    }
}

#[test]
fn a_release_drains_while_another_takes_over_also_after_a_restart() {
    let mut node = Node::new();
    node.second(&[&[(R3, 12)]]);
    node.second(&[&[(R3, 12), (R4, 0)], &[(R3, 9), (R4, 2)]]);
    node.second(&[&[(R3, 3), (R4, 8)]]);
    node.second(&[&[(R3, 0), (R4, 11)]]);
    node.second(&[&[(R3, 0), (R4, 12)]]);
    node.second(&[&[(R4, 10)]]);
    (0..4).for_each(|_| node.second(&[&[(R4, 0)]]));
    let second = |points: &[u64], first: u64| -> Points {
        (first..).zip(points).map(|(second, n)| (BEGIN + second, 1, *n)).collect()
    };
    // Each second begins with what was there when the one before ended; of a release that is gone the last is a 0.
    let old = second(&[12, 12, 9, 3, 0, 0, 0], 0);
    let new = second(&[2, 8, 11, 12, 12, 10, 0, 0, 0], 1);
    for restarted in [false, true] {
        assert_eq!(node.told(R3, Step::Second), old, "{restarted}");
        assert_eq!(node.told(R4, Step::Second), new, "{restarted}");
        assert_eq!(node.told(R3, Step::TenSeconds), [(BEGIN - 3, 7, 12)], "{restarted}");
        assert_eq!(node.told(R4, Step::TenSeconds), [(BEGIN - 3, 6, 12), (BEGIN + 7, 3, 0)], "{restarted}");
        assert_eq!(node.told(R4, Step::FiveMinutes), [(BEGIN - 23, 9, 12)], "{restarted}");
        node.stop();
    }
}

#[test]
fn a_release_that_is_gone_with_its_last_request_ends_with_0() {
    let mut node = Node::new();
    node.second(&[&[(R3, 3)]]);
    (0..3).for_each(|_| node.second(&[&[]]));
    let told = [(BEGIN, 1, 3), (BEGIN + 1, 1, 3), (BEGIN + 2, 1, 0)];
    assert_eq!(node.told(R3, Step::Second), told);
}

#[test]
fn of_seconds_that_nobody_saw_nothing_is_known() {
    let mut node = Node::new();
    node.second(&[&[(R3, 5)]]);
    // The edge is silent, and what it told last is no news.
    node.second(&[]);
    node.second(&[&[(R3, 0)]]);
    node.stop();
    // The server was away, or asleep, while requests were counted on.
    node.now += 10;
    node.second(&[&[(R3, 7)]]);
    node.now += 10;
    node.second(&[&[(R3, 0)]]);
    // Another edge.
    node.counting = 2;
    node.second(&[&[(R3, 1)]]);
    let told = [(0, 5), (2, 0), (13, 7), (24, 7), (25, 1)].map(|(second, n)| (BEGIN + second, 1, n));
    assert_eq!(node.told(R3, Step::Second), told);
    let clients = node.history.recorded(E1, Span { from: 0, to: node.now, step: Step::Second }).traffic;
    assert_eq!(clients.iter().map(|point| point.seconds).sum::<u64>(), 25, "counters miss nothing");
}

#[test]
fn a_clock_that_is_set_far_back_is_believed() {
    let mut node = Node::new();
    (0..100).for_each(|_| node.second(&[&[(R3, 1)]]));
    node.now = BEGIN + 20;
    // This one only finds out.
    node.second(&[&[(R3, 9)]]);
    (0..3).for_each(|_| node.second(&[&[(R3, 2)]]));
    let expected = |at: u64| if at < BEGIN + 21 { 1 } else { 2 };
    let told = node.told(R3, Step::Second);
    assert_eq!(told.last(), Some(&(BEGIN + 23, 1, 2)));
    // What was seen before the clock was set is told with the second after.
    let settled = told.iter().filter(|(at, ..)| *at != BEGIN + 21);
    settled.for_each(|(at, _, n)| assert_eq!(*n, expected(*at), "{}", at - BEGIN));
}

#[test]
fn an_idle_release_is_known_and_costs_little() {
    let mut node = Node::new();
    node.second(&[&[(R3, 1)]]);
    (0..8_000).for_each(|n| {
        node.second(&[&[(R3, 0)]]);
        if n % 5 == 0 {
            node.history.flush();
        }
    });
    let told = node.told(R3, Step::Second);
    assert!(told.len() == 7_200 && told.iter().all(|(_, seconds, n)| (*seconds, *n) == (1, 0)));
    let written = fs::read(node.path().join("r3-in-flight")).unwrap();
    assert!(written.iter().skip(8_192).filter(|byte| **byte != 0).count() < 200, "seconds take no slots");
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many seconds with that much in flight at first and then; nothing where there is no instance.
    Seconds(u64, Option<(u64, u64)>),
    Silent(u64),
    Away(u64),
    Flush,
    Kill,
    Stop,
    EdgeDies,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let many = || prop_oneof![2 => Just(0), 3 => 1..500_u64];
    let pair = (many(), many());
    let event = prop_oneof![
        6 => (1..20_u64, pair).prop_map(|(n, of)| Event::Seconds(n, Some(of))),
        1 => (20..400_u64).prop_map(|n| Event::Seconds(n, Some((0, 0)))),
        2 => (1..20_u64).prop_map(|n| Event::Seconds(n, None)),
        1 => (1..4_u64).prop_map(Event::Silent),
        1 => (1..40_u64).prop_map(Event::Away),
        4 => Just(Event::Flush),
        1 => Just(Event::Kill),
        2 => Just(Event::Stop),
        1 => Just(Event::EdgeDies),
    ];
    proptest::collection::vec(event, 1..40)
}

/// Plays, and answers what really was by second, and the seconds that a kill may have taken.
fn play(node: &mut Node, events: &[Event]) -> (BTreeMap<u64, u64>, Vec<std::ops::Range<u64>>) {
    let (mut truth, mut lost) = (BTreeMap::new(), Vec::new());
    // What the edge told last; and whether nothing is left of it.
    let (mut flushed, mut left, mut gone) = (node.now, None::<u64>, false);
    for event in events {
        match *event {
            Event::Seconds(n, of) => {
                for _ in 0..n {
                    let at = node.now;
                    match of {
                        Some((first, then)) => {
                            node.second(&[&[(R3, first)], &[(R3, then)]]);
                            truth.insert(at, first.max(then).max(left.unwrap_or(0)));
                        }
                        None => {
                            node.second(&[&[]]);
                            truth.extend(left.or(gone.then_some(0)).map(|left| (at, left)));
                        }
                    }
                    gone = of.is_none() && left.is_some();
                    left = of.map(|(_, then)| then);
                    // The recorder writes more often; only so many seconds wait to be written.
                    if node.now >= flushed + 10 {
                        node.history.flush();
                        flushed = node.now;
                    }
                }
            }
            Event::Silent(n) => {
                (0..n).for_each(|_| node.second(&[]));
                (left, gone) = (None, false);
            }
            Event::Away(n) => {
                node.now += n;
                // What it sees next counts for the second in which it sees it.
            }
            Event::Flush => {
                node.history.flush();
                flushed = node.now;
            }
            Event::Kill => {
                node.kill();
                // Seconds without anything in flight are written rarely.
                lost.push(flushed.saturating_sub(400)..node.now);
                (left, gone) = (None, false);
            }
            Event::Stop => {
                node.stop();
                (flushed, left, gone) = (node.now, None, false);
            }
            Event::EdgeDies => node.counting += 1,
        }
    }
    (truth, lost)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_in_flight_is_told_and_nothing_else(events in events()) {
        let mut node = Node::new();
        let (truth, lost) = play(&mut node, &events);
        let fine = node.told(R3, Step::Second);
        for (at, seconds, n) in &fine {
            assert_eq!((*seconds, Some(n)), (1, truth.get(at)), "{}", at - BEGIN);
        }
        let told: BTreeMap<_, _> = fine.iter().map(|(at, _, n)| (*at, *n)).collect();
        for at in truth.keys().filter(|at| !lost.iter().any(|range| range.contains(at))) {
            assert!(told.contains_key(at), "{} is missing", at - BEGIN);
        }
        for step in [Step::TenSeconds, Step::FiveMinutes] {
            let mut most = BTreeMap::<u64, (u64, u64)>::new();
            for (at, seconds, n) in &fine {
                let of = most.entry(at - at % step.seconds()).or_default();
                *of = (of.0 + seconds, of.1.max(*n));
            }
            let most: Points = most.into_iter().map(|(at, (seconds, n))| (at, seconds, n)).collect();
            assert_eq!(node.told(R3, step), most);
        }
    }

    #[test]
    fn a_damaged_byte_makes_gaps_and_never_another_number(
        events in events(),
        place in 0..100_000_usize,
        bits in 1..=255_u8,
    ) {
        let mut node = Node::new();
        node.second(&[&[(R3, 4)]]);
        node.history.flush();
        play(&mut node, &events);
        node.stop();
        let before = Step::ALL.map(|step| node.told(R3, step));
        let path = node.path().join("r3-in-flight");
        let mut bytes = fs::read(&path).unwrap();
        let places: Vec<_> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
        bytes[places[place % places.len()]] ^= bits;
        fs::write(&path, bytes).unwrap();
        node.kill();
        for (before, step) in before.iter().zip(Step::ALL) {
            node.told(R3, step).iter().for_each(|point| assert!(before.contains(point), "{point:?}"));
        }
        (0..12).for_each(|n| node.second(&[&[(R3, n)]]));
        assert_eq!(node.told(R3, Step::Second).last(), Some(&(node.now - 1, 1, 11)), "it records on");
    }
}
