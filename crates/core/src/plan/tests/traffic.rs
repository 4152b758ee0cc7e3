//! Releases that are judged by their requests.

use super::{Cluster, bundle, first_release, web};
use crate::command::Observation;
use crate::model::{
    Counts, DeploymentId, EnvironmentId, Measured, NodeId, Past, Phase, ReleaseId, Seen, Spec, What,
};

const SECOND: DeploymentId = DeploymentId(2);
const OLD: ReleaseId = ReleaseId(1);
const NEW: ReleaseId = ReleaseId(2);

fn counts(requests: u64, errors: u64) -> Counts {
    Counts { requests, errors, ..Counts::default() }
}

impl Cluster {
    /// All that n1's edge has counted by now.
    fn counted(&mut self, old: Counts, new: Counts) {
        let measured = Measured { releases: [(OLD, old), (NEW, new)].into(), ..Measured::default() };
        self.see(NodeId(1), Observation::Traffic { environment: EnvironmentId(1), measured });
    }

    /// The second release, after so much was counted of the first.
    fn follows(&mut self, spec: Spec, requests: u64) {
        self.deploy_as(bundle('b'), spec);
        self.plan();
        let measured = Measured { releases: [(OLD, counts(requests, 0))].into(), ..Measured::default() };
        let past = Past { millis: 300_000, measured };
        self.see(NodeId(1), Observation::Past { deployment: SECOND, past });
        self.counted(counts(requests, 0), Counts::default());
    }

    /// All three are replaced.
    fn replaced(&mut self) {
        for (new, old) in [(4, 1), (5, 2), (6, 3)] {
            self.ready(new);
            self.plan();
            self.serve();
            self.plan();
            if self.state.instances[&crate::model::InstanceId(old)].withdrawn.is_some() {
                self.leaves(old);
                self.plan();
            }
        }
    }

    fn judged(&self) -> Vec<String> {
        let judged = self.state.events.values().filter(|e| matches!(e.what, What::Judged { .. }));
        judged.map(|e| e.what.line()).collect()
    }
}

#[test]
fn errors_after_the_last_step_take_a_release_back() {
    let mut cluster = first_release();
    cluster.follows(web(3), 1_000);
    cluster.replaced();
    assert_eq!(cluster.phase_of(SECOND), Phase::Watching);
    for second in 1..=9 {
        cluster.now += 1_000;
        cluster.counted(counts(1_000, 0), counts(second * 20, second * 10));
        cluster.plan();
    }
    assert_eq!(cluster.phase_of(SECOND), Phase::Reverting);
    let cause = cluster.state.deployments[&SECOND].cause.as_ref().unwrap().sentence();
    assert!(cause.starts_with("error rate 50% ("), "{cause}");
    assert!(cause.contains("before 0% (0 of 1000), the limit is 5%"), "{cause}");
    assert_eq!(cluster.serving().len(), 3, "until the old ones are back");
}

#[test]
fn the_verdict_is_told_with_its_numbers() {
    for (new, line) in [
        (counts(200, 2), "Error rate 1% (2 of 200 requests), before 0% (0 of 1000): within the limit of 5%"),
        (
            counts(7, 1),
            "Only 7 of the 20 requests needed to judge the new release, 1 of them failed: health checks decided",
        ),
        (counts(0, 0), "No requests to judge the new release by: health checks decided"),
    ] {
        let mut cluster = first_release();
        cluster.follows(web(3), 1_000);
        cluster.replaced();
        cluster.counted(counts(1_000, 0), new);
        cluster.now += 120_000;
        cluster.plan();
        assert_eq!(cluster.phase_of(SECOND), Phase::Succeeded);
        assert_eq!(cluster.judged(), [line]);
    }
}

#[test]
fn an_instance_that_fails_its_checks_together_with_the_old_ones_is_not_at_fault() {
    let mut cluster = first_release();
    cluster.follows(web(3), 1_000);
    cluster.ready(4);
    cluster.plan();
    cluster.serve();
    cluster.plan();
    cluster.sight(2, Seen::Unready);
    cluster.sight(4, Seen::Unready);
    cluster.plan();
    assert_eq!(cluster.phase_of(SECOND), Phase::Stepping);
    // The old one is well again, and the new one is not.
    cluster.sight(2, Seen::Ready);
    cluster.plan();
    assert_eq!(cluster.phase_of(SECOND), Phase::Reverting);
}

#[test]
fn a_release_kept_warm_returns_at_once() {
    let mut spec = web(3);
    spec.rollback.warm = true;
    let mut cluster = first_release();
    cluster.follows(spec, 1_000);
    cluster.replaced();
    assert_eq!(cluster.phase_of(SECOND), Phase::Watching);
    assert_eq!(cluster.serving(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(cluster.shares(), [(1, 0), (2, 100)], "they get nothing");
    let mut good = Cluster { state: cluster.state.clone(), now: cluster.now + 120_000, seq: cluster.seq };
    assert_eq!(good.plan(), ["succeeded", "drain i3", "drain i2", "drain i1"]);

    for second in 1..=9 {
        cluster.now += 1_000;
        cluster.counted(counts(1_000, 0), counts(second * 20, second * 20));
        let planned = cluster.plan();
        if planned.contains(&"revert".to_owned()) {
            assert_eq!(planned, ["revert", "drain i6", "drain i5", "drain i4"], "nothing has to start");
        }
    }
    assert_eq!(cluster.serving(), [1, 2, 3]);
    assert_eq!(cluster.shares(), [(1, 100)]);
}
