//! Two releases on three nodes, second by second.

use std::collections::BTreeMap;

use super::{finding, note};
use crate::model::{
    Counts, Deployment, DeploymentId, EnvironmentId, Finding, Kind, Measured, Millis, NodeId, Past, Phase,
    ReleaseId, RollbackRules, Times, Verdict, class_of,
};

const OLD: ReleaseId = ReleaseId(1);
const NEW: ReleaseId = ReleaseId(2);

/// What a release does with so many requests.
fn counts(requests: u64, errors: u64, millis: Millis) -> Counts {
    Counts { requests, errors, times: Times([(class_of(millis), requests)].into()), ..Counts::default() }
}

struct Scene {
    now: Millis,
    deployment: Deployment,
    rules: RollbackRules,
    totals: BTreeMap<NodeId, Measured>,
}

impl Scene {
    /// Before the deployment the old release did this.
    fn after(past: Counts) -> Self {
        let mut deployment = Deployment::new(DeploymentId(1), EnvironmentId(1), Kind::Deploy, NEW);
        deployment.phase = Phase::Stepping;
        deployment.from = Some(OLD);
        let measured = Measured { releases: [(OLD, past)].into(), ..Measured::default() };
        deployment.counted.past.insert(NodeId(1), Past { millis: 300_000, measured });
        let mut scene = Self {
            now: 1_000_000,
            deployment,
            rules: RollbackRules::default(),
            totals: [1, 2, 3].map(|n| (NodeId(n), Measured::default())).into(),
        };
        scene.second(&Counts::default(), &Counts::default());
        scene
    }

    /// On each of the three nodes the releases do this in the next second; the nodes report at different times of it.
    fn second(&mut self, new: &Counts, old: &Counts) {
        for (node, total) in &mut self.totals {
            for (release, counts) in [(NEW, new), (OLD, old)] {
                if counts.requests > 0 || counts.aborted > 0 {
                    total.releases.entry(release).or_default().add(counts);
                }
            }
            let news = self.deployment.counted.report(*node, total);
            note(&mut self.deployment, &self.rules, &news, self.now + node.0 * 300);
        }
        self.now += 1_000;
    }

    /// In so many seconds; answers after how many it was found, if it was.
    fn seconds(&mut self, n: u64, new: &Counts, old: &Counts) -> Option<u64> {
        (1..=n).find(|_| {
            self.second(new, old);
            matches!(self.found().verdict, Verdict::Failing | Verdict::Slow)
        })
    }

    fn found(&self) -> Finding {
        finding(&self.deployment, &self.rules, self.now)
    }
}

fn nothing() -> Counts {
    Counts::default()
}

#[test]
fn ten_times_the_errors_are_found_and_three_times_are_not() {
    let mut scene = Scene::after(counts(10_000, 200, 5));
    assert!(scene.seconds(10, &counts(20, 4, 5), &counts(40, 1, 5)).is_some());
    let found = scene.found();
    assert_eq!(found.verdict, Verdict::Failing);
    let sentence = found.sentence();
    assert!(sentence.starts_with("error rate 20% ("), "{sentence}");
    assert!(sentence.contains("before 2% ("), "{sentence}");

    let mut scene = Scene::after(counts(10_000, 200, 5));
    assert_eq!(scene.seconds(600, &counts(50, 3, 5), &counts(50, 1, 5)), None);
    assert_eq!(scene.found().verdict, Verdict::Fine);
}

#[test]
fn few_requests_say_nothing() {
    let mut scene = Scene::after(counts(10_000, 0, 5));
    scene.second(&counts(2, 1, 5), &counts(20, 0, 5));
    for _ in 0..60 {
        scene.second(&nothing(), &counts(20, 0, 5));
    }
    let found = scene.found();
    assert_eq!(found.verdict, Verdict::TooFew);
    assert_eq!(
        found.sentence(),
        "Only 6 of the 20 requests needed to judge the new release, 3 of them failed: health checks decided"
    );
    let nobody = Scene::after(nothing()).found();
    assert_eq!(nobody.sentence(), "No requests to judge the new release by: health checks decided");
}

#[test]
fn a_baseline_without_errors_leaves_the_floor() {
    let mut scene = Scene::after(counts(5_000, 0, 5));
    assert_eq!(scene.seconds(300, &counts(50, 1, 5), &nothing()), None, "2% is below the floor");
    let fine = scene.found();
    assert_eq!(
        fine.sentence(),
        "Error rate 2% (900 of 45000 requests), before 0% (0 of 5000): within the limit of 5%; 95% of answers within 5ms, before 5ms"
    );
    let mut scene = Scene::after(counts(5_000, 0, 5));
    assert!(scene.seconds(20, &counts(10, 1, 5), &nothing()).is_some(), "10% is above it");
}

#[test]
fn what_stays_within_the_limit_is_never_taken_back() {
    for (new, sentence) in [
        (counts(100, 4, 5), "Error rate 4% ("),
        (
            {
                let mut slow = counts(60, 0, 5);
                slow.add(&counts(40, 0, 3_000));
                slow
            },
            "Error rate 0% (",
        ),
    ] {
        let mut scene = Scene::after(counts(5_000, 0, 5));
        assert_eq!(scene.seconds(900, &new, &nothing()), None, "{sentence}");
        assert!(scene.found().sentence().starts_with(sentence), "{}", scene.found().sentence());
    }
}

#[test]
fn without_a_baseline_more_than_a_quarter_must_fail() {
    let mut scene = Scene::after(nothing());
    assert_eq!(scene.seconds(300, &counts(10, 2, 5), &nothing()), None);
    assert!(scene.found().sentence().contains("before none is known: within the limit of 27.5%"));
    let mut scene = Scene::after(nothing());
    assert!(scene.seconds(20, &counts(10, 6, 5), &nothing()).is_some());
}

#[test]
fn an_outage_of_both_is_nobodys_fault() {
    for (requests, errors) in [(100, 50), (100, 100), (2, 2)] {
        let mut scene = Scene::after(counts(5_000, 5, 5));
        let good = counts(requests, 0, 5);
        scene.seconds(30, &good, &good);
        let bad = counts(requests, errors, 5);
        assert_eq!(scene.seconds(60, &bad, &bad), None, "{errors} of {requests}");
    }
    // But a release that fails while others do not is at fault, however few requests they get.
    let mut scene = Scene::after(counts(5_000, 5, 5));
    assert!(scene.seconds(20, &counts(100, 50, 5), &counts(1, 0, 5)).is_some());
}

#[test]
fn a_fault_of_one_path_counts_by_its_part_of_the_requests() {
    let mut scene = Scene::after(counts(5_000, 0, 5));
    assert_eq!(scene.seconds(120, &counts(100, 2, 5), &counts(100, 0, 5)), None);
    let mut scene = Scene::after(counts(5_000, 0, 5));
    assert!(scene.seconds(20, &counts(100, 15, 5), &counts(100, 0, 5)).is_some());
}

#[test]
fn what_lasts_two_seconds_is_no_breach() {
    let mut scene = Scene::after(counts(5_000, 0, 5));
    for _ in 0..2 {
        scene.second(&counts(50, 50, 5), &nothing());
    }
    for _ in 0..30 {
        scene.second(&counts(50, 0, 5), &nothing());
        assert_ne!(scene.found().verdict, Verdict::Failing);
    }
}

#[test]
fn a_release_that_breaks_late_is_found_as_soon() {
    let mut scene = Scene::after(counts(50_000, 50, 5));
    assert_eq!(scene.seconds(600, &counts(100, 0, 5), &nothing()), None);
    let found = scene.seconds(30, &counts(100, 100, 5), &nothing());
    assert!(found.is_some_and(|seconds| seconds <= 7), "after {found:?} s");
}

#[test]
fn connections_that_fail_count_and_clients_that_leave_do_not() {
    let mut scene = Scene::after(counts(5_000, 0, 5));
    let refused = Counts { requests: 10, refused: 5, reset: 1, ..Counts::default() };
    assert!(scene.seconds(20, &refused, &counts(10, 0, 5)).is_some());
    assert!(scene.found().sentence().contains("0 were answered 5xx"), "{}", scene.found().sentence());
    let mut scene = Scene::after(counts(5_000, 0, 5));
    let left = Counts { aborted: 500, ..counts(20, 0, 5) };
    assert_eq!(scene.seconds(60, &left, &counts(10, 0, 5)), None);
}

#[test]
fn ten_times_the_time_is_found_from_the_floor_on() {
    let mut scene = Scene::after(counts(5_000, 0, 200));
    assert!(scene.seconds(20, &counts(10, 0, 2_500), &counts(10, 0, 200)).is_some());
    let sentence = scene.found().sentence();
    assert!(sentence.starts_with("100% of answers took longer than 2s ("), "{sentence}");
    // Ten times of little is still little.
    let mut scene = Scene::after(counts(5_000, 0, 5));
    assert_eq!(scene.seconds(60, &counts(10, 0, 500), &counts(10, 0, 5)), None);
    // Slow for all: not the release.
    let mut scene = Scene::after(counts(5_000, 0, 50));
    assert_eq!(scene.seconds(60, &counts(10, 0, 5_000), &counts(10, 0, 5_000)), None);
    // A part that was always slow stays allowed.
    let mut mixed = counts(600, 0, 5);
    mixed.add(&counts(400, 0, 3_000));
    let mut scene = Scene::after(mixed.clone());
    assert_eq!(scene.seconds(60, &mixed, &mixed), None);
    // Without anything to compare with nothing is slow.
    let mut scene = Scene::after(nothing());
    assert_eq!(scene.seconds(60, &counts(10, 0, 30_000), &nothing()), None);
}

#[test]
fn an_edge_that_starts_anew_takes_no_evidence_away() {
    let mut scene = Scene::after(counts(5_000, 0, 5));
    scene.second(&counts(50, 5, 5), &nothing());
    scene.totals.values_mut().for_each(|total| *total = Measured::default());
    scene.second(&counts(40, 4, 5), &nothing());
    let total = scene.deployment.counted.total();
    assert_eq!((total.releases[&NEW].requests, total.releases[&NEW].errors), (270, 27));
}

#[test]
fn a_floor_of_everything_ends_judging_by_errors() {
    let mut scene = Scene::after(counts(5_000, 0, 5));
    scene.rules.error_rate_floor = 1_000_000;
    assert_eq!(scene.seconds(60, &counts(50, 50, 5), &nothing()), None);
    assert_eq!(scene.found().verdict, Verdict::Fine);
}

#[test]
fn what_failed_before_and_was_taken_back_allows_nothing() {
    let mut scene = Scene::after(counts(5_000, 0, 5));
    let bad = Measured { releases: [(ReleaseId(9), counts(5_000, 2_500, 5))].into(), ..Measured::default() };
    scene.deployment.counted.past.insert(NodeId(2), Past { millis: 300_000, measured: bad });
    assert!(scene.seconds(20, &counts(10, 2, 5), &nothing()).is_some());
}
