//! Histories on a real disk, beside what an edge really counted.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use temps_core::history::{Point, Recorded, Span, Step};
use temps_core::model::{Counts, EnvironmentId, Measured, ReleaseId, Times, Traffic};
use temps_core::table::EdgeReport;
use temps_history::History;

const E1: EnvironmentId = EnvironmentId(1);
const R7: ReleaseId = ReleaseId(7);
const BEGIN: u64 = 1_700_000_123;

/// An edge and what it counts, and the node's history of it.
struct Node {
    dir: tempfile::TempDir,
    history: History,
    now: u64,
    report: EdgeReport,
    /// What was really counted, by second.
    truth: BTreeMap<u64, u64>,
    /// Until when what was recorded is written; and when the newest edge began, where that was later.
    written: u64,
    newest: Option<u64>,
    /// Whether the server has heard its edge.
    heard: bool,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path().join("history")).unwrap();
        let report = EdgeReport { pid: 10, counting: 10, ..EdgeReport::default() };
        let truth = BTreeMap::new();
        let mut node =
            Self { dir, history, now: BEGIN, report, truth, written: BEGIN, newest: None, heard: false };
        node.record();
        node
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("history")
    }

    /// The next second, in which clients ask so often.
    fn second(&mut self, requests: u64) {
        let measured = self.report.traffic.entry(E1).or_default();
        measured.add(&one(requests));
        if *measured == Measured::default() {
            // An edge tells only of those for which it counted something.
            self.report.traffic.clear();
        }
        *self.truth.entry(self.now).or_default() += requests;
        self.now += 1;
    }

    fn record(&mut self) {
        self.history.record(&self.report, self.now);
        self.heard = true;
        // The recorder writes more often; only so many seconds wait to be written.
        if self.now >= self.written + 10 {
            self.flush();
        }
    }

    fn recorded_second(&mut self, requests: u64) {
        self.second(requests);
        self.record();
    }

    fn flush(&mut self) {
        self.history.flush();
        if self.heard {
            (self.written, self.newest) = (self.now, None);
        }
    }

    /// Its server is killed and starts again. What an edge had counted that has ended meanwhile, and nobody had
    /// written, is lost.
    fn kill(&mut self) {
        if let Some(newest) = self.newest.take() {
            self.truth.range_mut(self.written..newest).for_each(|(_, n)| *n = 0);
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        self.history = History::open(self.path()).unwrap();
        self.heard = false;
    }

    fn told(&self, step: Step) -> Recorded {
        self.history.recorded(E1, Span { from: 0, to: self.now + 1, step })
    }
}

/// What so many requests count: each tenth fails.
fn one(requests: u64) -> Measured {
    let traffic = Traffic { requests, app_errors: requests / 10, ..Traffic::default() };
    let times = Times(if requests > 0 { [((requests % 28) as u8, requests)].into() } else { [].into() });
    let counts = Counts { requests, times, ..Counts::default() };
    let releases = if requests > 0 { [(R7, counts)].into() } else { [].into() };
    Measured { traffic, releases }
}

fn requests(points: &[Point<Traffic>]) -> Vec<(u64, u64, u64)> {
    points.iter().map(|p| (p.at, p.seconds, p.counted.requests)).collect()
}

fn by_release(recorded: &Recorded) -> Vec<(u64, u64, u64)> {
    let points = recorded.releases.get(&R7).into_iter().flatten();
    points.map(|p| (p.at, p.seconds, p.counted.requests)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Seconds(u64, u64),
    /// The server is away for so long, and the edge counts on.
    Away(u64, u64),
    Flush,
    Kill,
    Stop,
    /// The edge ends, and another starts.
    EdgeDies,
    /// Another edge takes over.
    EdgeRenewed,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let requests = prop_oneof![2 => Just(0), 3 => 1..500_u64];
    let event = prop_oneof![
        6 => (1..20_u64, requests.clone()).prop_map(|(n, requests)| Event::Seconds(n, requests)),
        1 => (20..400_u64).prop_map(|n| Event::Seconds(n, 0)),
        2 => (1..40_u64, requests).prop_map(|(n, requests)| Event::Away(n, requests)),
        4 => Just(Event::Flush),
        2 => Just(Event::Kill),
        1 => Just(Event::Stop),
        1 => Just(Event::EdgeDies),
        1 => Just(Event::EdgeRenewed),
    ];
    proptest::collection::vec(event, 1..40)
}

fn play(node: &mut Node, events: &[Event]) {
    // What was counted before anything was written is of no known time.
    node.recorded_second(4);
    node.flush();
    for event in events {
        match *event {
            Event::Seconds(n, requests) => (0..n).for_each(|_| node.recorded_second(requests)),
            Event::Away(n, requests) => {
                (0..n).for_each(|_| node.second(requests));
                node.record();
            }
            Event::Flush => node.flush(),
            Event::Kill => node.kill(),
            Event::Stop => {
                node.flush();
                node.history.close();
                node.reopen();
            }
            Event::EdgeDies => {
                node.record();
                let pid = node.report.pid + 1;
                node.report = EdgeReport { pid, counting: pid.into(), ..EdgeReport::default() };
                node.newest = Some(node.now);
                node.recorded_second(3);
            }
            Event::EdgeRenewed => node.report.pid += 1,
        }
    }
}

/// Each second that is told is what was counted in it, or in all the seconds that it stands for.
fn check_seconds(node: &Node, told: &[(u64, u64, u64)]) {
    for (at, seconds, requests) in told {
        let window = node.truth.range(at + 1 - seconds..=*at);
        assert_eq!(window.map(|(_, n)| n).sum::<u64>(), *requests, "{seconds} s until {at}");
    }
}

fn total(told: &[(u64, u64, u64)]) -> u64 {
    told.iter().map(|(_, _, requests)| requests).sum()
}

/// The coarse rings are the sums of the seconds.
fn check_sums(fine: &[(u64, u64, u64)], coarse: &[(u64, u64, u64)], step: u64) {
    let mut sums = BTreeMap::<u64, (u64, u64)>::new();
    for (at, seconds, requests) in fine {
        let sum = sums.entry(at - at % step).or_default();
        *sum = (sum.0 + seconds, sum.1 + requests);
    }
    let sums: Vec<_> = sums.into_iter().map(|(at, (seconds, requests))| (at, seconds, requests)).collect();
    assert_eq!(coarse, sums);
}

/// Flips bits of one byte of a file.
fn damage(path: &Path, place: usize, bits: u8) {
    let mut bytes = fs::read(path).unwrap();
    let place = place % bytes.len();
    bytes[place] ^= bits;
    fs::write(path, bytes).unwrap();
}

/// Places of bytes that are not 0, where something is written.
fn written(path: &Path) -> Vec<usize> {
    fs::read(path)
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte != 0)
        .map(|(place, _)| place)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_counted_is_told_whatever_ends_in_between(events in events()) {
        let mut node = Node::new();
        play(&mut node, &events);
        // A server that was killed has not looked yet.
        node.recorded_second(5);
        let fine = node.told(Step::Second);
        let seconds = requests(&fine.traffic);
        check_seconds(&node, &seconds);
        check_seconds(&node, &by_release(&fine));
        for step in [Step::TenSeconds, Step::FiveMinutes] {
            let coarse = node.told(step);
            check_sums(&seconds, &requests(&coarse.traffic), step.seconds());
            check_sums(&by_release(&fine), &by_release(&coarse), step.seconds());
        }
        let counted = node.truth.values().sum::<u64>();
        assert_eq!((total(&seconds), total(&by_release(&fine))), (counted, counted));
    }

    #[test]
    fn a_damaged_byte_makes_gaps_and_never_another_number(
        events in events(),
        release in proptest::bool::ANY,
        place in 0..100_000_usize,
        bits in 1..=255_u8,
    ) {
        let mut node = Node::new();
        play(&mut node, &events);
        node.recorded_second(5);
        let before = Step::ALL.map(|step| node.told(step));
        node.history.close();
        let path = node.path().join(if release { "r7" } else { "e1" });
        let places = written(&path);
        damage(&path, places[place % places.len()], bits);
        node.reopen();
        let within = |all: &[(u64, u64, u64)], some: &[(u64, u64, u64)], what: &str| {
            some.iter().for_each(|point| assert!(all.contains(point), "{what}: {point:?}"));
        };
        for (before, step) in before.iter().zip(Step::ALL) {
            let after = node.told(step);
            within(&requests(&before.traffic), &requests(&after.traffic), "clients");
            within(&by_release(before), &by_release(&after), "r7");
        }
        // And it goes on.
        (0..12).for_each(|n| node.recorded_second(n));
        let fine = node.told(Step::Second);
        check_seconds(&node, &requests(&fine.traffic));
        check_seconds(&node, &by_release(&fine));
        let last = requests(&fine.traffic).last().copied();
        assert_eq!(last, Some((node.now - 1, 1, 11)), "it records on");
    }
}

#[test]
fn what_was_counted_while_nobody_looked_is_told_with_its_time() {
    let mut node = Node::new();
    node.recorded_second(7);
    node.history.flush();
    (0..30).for_each(|_| node.second(2));
    node.reopen();
    node.history.record(&node.report, node.now);
    assert_eq!(requests(&node.told(Step::Second).traffic), [(BEGIN, 1, 7), (BEGIN + 30, 30, 60)]);
}

#[test]
fn what_an_edge_counted_before_anybody_looked_is_not_told() {
    let mut node = Node::new();
    (0..1_000).for_each(|_| node.second(9));
    // Somebody removed the directory.
    fs::remove_dir_all(node.path()).unwrap();
    node.reopen();
    node.history.record(&node.report, node.now);
    node.recorded_second(4);
    assert_eq!(requests(&node.told(Step::Second).traffic), [(node.now - 1, 1, 4)]);
}

#[test]
fn nothing_is_told_of_the_time_between_two_edges() {
    let mut node = Node::new();
    node.recorded_second(7);
    node.recorded_second(0);
    node.history.close();
    node.reopen();
    // The machine was off.
    node.now += 100;
    node.report = EdgeReport { pid: 11, counting: 11, ..EdgeReport::default() };
    node.recorded_second(0);
    node.recorded_second(5);
    let told = [(BEGIN, 1, 7), (BEGIN + 1, 1, 0), (BEGIN + 102, 1, 0), (BEGIN + 103, 1, 5)];
    assert_eq!(requests(&node.told(Step::Second).traffic), told);
}

#[test]
fn a_clock_that_is_set_back_is_waited_for_or_believed() {
    let mut node = Node::new();
    (0..100).for_each(|_| node.recorded_second(1));
    node.history.flush();
    let before = requests(&node.told(Step::Second).traffic);
    // A little: what is counted meanwhile comes when the clock is there again.
    let end = node.now;
    for now in end - 10..=end {
        node.report.traffic.get_mut(&E1).unwrap().add(&one(1));
        node.history.record(&node.report, now);
    }
    assert_eq!(requests(&node.told(Step::Second).traffic), before);
    node.now = end;
    node.recorded_second(0);
    assert_eq!(requests(&node.told(Step::Second).traffic).last(), Some(&(end, 1, 11)));
    // Far: what was recorded of later is forgotten, also where time comes there again.
    node.now = BEGIN + 20;
    node.history.record(&node.report, node.now);
    (0..10).for_each(|_| node.recorded_second(3));
    (0..40).for_each(|_| node.recorded_second(0));
    node.history.close();
    node.reopen();
    let told = requests(&node.told(Step::Second).traffic);
    let expected = |at: u64| match at - BEGIN {
        0..20 => 1,
        20..30 => 3,
        _ => 0,
    };
    assert_eq!(told.len(), 70);
    assert!(told.iter().all(|(at, seconds, n)| (*seconds, *n) == (1, expected(*at))), "{told:?}");
}

#[test]
fn rings_are_kept_for_their_time_and_files_do_not_grow() {
    let mut node = Node::new();
    node.recorded_second(1);
    node.history.flush();
    let size = || fs::metadata(node.path().join("r7")).unwrap().len();
    let first = size();
    assert!(first < 3_700_000, "{first} bytes");
    (0..8_000).for_each(|n| {
        node.recorded_second(2);
        if n % 7 == 0 {
            node.history.flush();
        }
    });
    assert_eq!(fs::metadata(node.path().join("r7")).unwrap().len(), first);
    let of = |step| requests(&node.told(step).traffic);
    assert_eq!((of(Step::Second).len(), total(&of(Step::Second))), (7_200, 14_400));
    assert_eq!(total(&of(Step::TenSeconds)), 16_001);
    assert_eq!(total(&of(Step::FiveMinutes)), 16_001);
}

#[test]
fn there_are_so_many_series_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open_with(dir.path().join("history"), 4).unwrap();
    let report = |environments: std::ops::Range<u64>, requests| {
        let traffic = Traffic { requests, ..Traffic::default() };
        let measured = Measured { traffic, ..Measured::default() };
        let traffic = environments.map(|id| (EnvironmentId(id), measured.clone())).collect();
        EdgeReport { pid: 1, traffic, ..EdgeReport::default() }
    };
    let told = |id: u64, now: u64| {
        let span = Span { from: 0, to: now, step: Step::Second };
        requests(&history.recorded(EnvironmentId(id), span).traffic)
    };
    history.record(&EdgeReport { pid: 1, ..EdgeReport::default() }, BEGIN);
    history.record(&report(0..10, 5), BEGIN + 1);
    let recorded = || (0..20).filter(|id| !told(*id, BEGIN + 9).is_empty()).count();
    assert_eq!(recorded(), 4);
    history.flush();
    assert_eq!(fs::read_dir(dir.path().join("history")).unwrap().count(), 4);
    // Others take the place of those that the edge does not know any more.
    history.record(&report(10..13, 6), BEGIN + 2);
    history.flush();
    assert_eq!((recorded(), told(12, BEGIN + 9)), (4, vec![(BEGIN + 1, 1, 6)]));
    assert_eq!(fs::read_dir(dir.path().join("history")).unwrap().count(), 4);
    // What is unused for a month goes.
    history.record(&report(10..13, 6), BEGIN + 32 * 86_400);
    history.flush();
    assert_eq!(fs::read_dir(dir.path().join("history")).unwrap().count(), 3);
}
