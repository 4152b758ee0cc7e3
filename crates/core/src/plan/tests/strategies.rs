//! Strategies other than rolling, and deployments that are directed by hand.

use super::{Cluster, bundle, first_release, web};
use crate::command::{Command, Observation, Rejection};
use crate::model::{CanaryStep, DeploymentId, InstanceId, NodeId, Phase, ReleaseId, Spec, Strategy};
use crate::routes::routes;
use crate::table::Sticky;

const SECOND: DeploymentId = DeploymentId(2);

fn with(strategy: Strategy) -> Spec {
    let mut spec = web(3);
    spec.deploy.strategy = strategy;
    spec
}

fn canary() -> Spec {
    let mut spec = with(Strategy::Canary);
    spec.deploy.canary =
        [(5, 60_000), (25, 900_000)].map(|(weight, hold)| CanaryStep { weight, hold }).into();
    spec.deploy.sticky = Some("session".to_owned());
    spec
}

impl Cluster {
    /// What each release gets, in percent.
    pub(super) fn shares(&self) -> Vec<(u64, u32)> {
        let table = routes(&self.state, NodeId(1));
        let choices = &table.routes[0].choices;
        let all: u32 = choices.iter().map(|c| c.weight).sum();
        let mut releases: Vec<ReleaseId> = choices.iter().map(|c| c.release).collect();
        releases.dedup();
        let sum = |r: ReleaseId| choices.iter().filter(|c| c.release == r).map(|c| c.weight).sum::<u32>();
        releases.into_iter().map(|r| (r.0, sum(r) * 100 / all)).collect()
    }

    fn sticky(&self) -> Option<Sticky> {
        routes(&self.state, NodeId(1)).routes[0].sticky.clone()
    }

    pub(super) fn phase_of(&self, deployment: DeploymentId) -> Phase {
        self.state.deployments[&deployment].phase
    }

    /// It is withdrawn by now: it ends as it should.
    pub(super) fn leaves(&mut self, id: u64) {
        self.serve();
        let instance = InstanceId(id);
        let node = self.state.instances[&instance].node;
        self.see(node, Observation::Drained { instance });
        self.plan();
        self.gone(id);
    }

    fn lines(&self) -> Vec<String> {
        self.state.events.values().filter(|e| e.deployment == Some(SECOND)).map(|e| e.what.line()).collect()
    }

    fn says(&self, line: &str) -> bool {
        self.lines().iter().any(|told| told == line)
    }
}

#[test]
fn blue_green_moves_all_requests_at_once_and_keeps_the_old_ones_until_then() {
    let mut cluster = first_release();
    cluster.deploy_as(bundle('b'), with(Strategy::BlueGreen));
    assert_eq!(cluster.plan(), ["start 0 on n1", "start 1 on n2", "start 2 on n3"]);
    for id in 4..=6 {
        cluster.ready(id);
        cluster.plan();
        assert_eq!(cluster.shares(), [(1, 100), (2, 0)], "until all are ready");
    }
    cluster.serve();
    assert_eq!(cluster.plan(), ["drain i3", "drain i2", "drain i1"]);
    assert!(cluster.says("All requests go to new containers"), "{:?}", cluster.lines());
    assert_eq!(cluster.shares(), [(2, 100)]);
    for id in 1..=3 {
        cluster.leaves(id);
    }
    cluster.plan();
    assert_eq!(cluster.phase_of(SECOND), Phase::Watching);
}

/// A blue-green deployment of which one new instance is ready.
fn one_of_three_beside() -> Cluster {
    let mut cluster = first_release();
    cluster.deploy_as(bundle('b'), with(Strategy::BlueGreen));
    cluster.plan();
    cluster.ready(4);
    cluster.plan();
    cluster
}

#[test]
fn a_bad_blue_green_release_is_taken_back_without_a_request() {
    let mut cluster = one_of_three_beside();
    cluster.sight(5, crate::model::Seen::Unready);
    let planned = cluster.plan();
    assert_eq!(planned, ["revert", "stop i5", "stop i6", "drain i4"]);
    assert_eq!(cluster.shares(), [(1, 100)]);
}

#[test]
fn a_release_without_instances_that_serve_leaves_all_requests_to_the_other() {
    let mut cluster = one_of_three_beside();
    for id in 1..=3 {
        cluster.sight(id, crate::model::Seen::Unready);
    }
    assert_eq!(cluster.shares(), [(2, 100)], "also one that is to get none yet");
}

#[test]
fn a_canary_gets_its_share_for_its_time_and_the_rest_is_rolled() {
    let mut cluster = first_release();
    cluster.deploy_as(bundle('b'), canary());
    assert_eq!(cluster.plan(), ["start 0 on n1"]);
    assert_eq!(cluster.sticky(), None, "there is nothing to choose yet");
    cluster.ready(4);
    assert_eq!(cluster.plan(), ["admit i4"]);
    assert_eq!(cluster.shares(), [(1, 95), (2, 5)], "all three of the old ones stay");
    let release = ReleaseId(2);
    let sticky = |share| Some(Sticky { cookie: "session".to_owned(), release, share });
    assert_eq!(cluster.sticky(), sticky(500));
    cluster.serve();
    assert_eq!(cluster.plan(), [""; 0]);
    assert!(cluster.says("5% of requests go to new containers for 1m"), "{:?}", cluster.lines());
    cluster.now += 60_000;
    assert_eq!(cluster.plan(), [""; 0]);
    assert_eq!(cluster.shares(), [(1, 75), (2, 25)]);
    assert_eq!(cluster.sticky(), sticky(2_500));
    assert!(cluster.says("25% of requests go to new containers for 15m"), "{:?}", cluster.lines());
    // It is held for longer than a deployment may go without progress.
    cluster.now += 899_999;
    assert_eq!(cluster.plan(), [""; 0]);
    assert_eq!(cluster.phase_of(SECOND), Phase::Stepping);
    cluster.now += 1;
    assert_eq!(cluster.plan(), ["drain i1"]);
    assert_eq!(cluster.shares(), [(1, 66), (2, 33)], "by their number from now on");
    assert_eq!(cluster.sticky(), sticky(3_333));
    cluster.leaves(1);
    assert_eq!(cluster.plan(), ["start 1 on n2"]);
}

#[test]
fn a_share_that_was_reached_is_not_given_back() {
    let mut cluster = first_release();
    let mut spec = canary();
    spec.deploy.canary = vec![CanaryStep { weight: 60, hold: 0 }];
    cluster.deploy_as(bundle('b'), spec);
    cluster.plan();
    for id in 4..=5 {
        cluster.ready(id);
    }
    cluster.plan();
    assert_eq!(cluster.shares(), [(1, 40), (2, 60)]);
    cluster.serve();
    let actions = crate::plan::plan(&cluster.state, cluster.now).actions;
    assert!(matches!(&actions[..], [crate::command::Action::Advance { .. }]), "{actions:?}");
    cluster.write(Command::Plan { seen: cluster.state.revision, actions });
    assert_eq!(cluster.shares(), [(1, 40), (2, 60)], "by their number it would be 40");
    assert_eq!(cluster.plan(), ["drain i2", "drain i1"]);
    assert_eq!(cluster.shares(), [(1, 33), (2, 66)], "two of three");
    assert_eq!(cluster.sticky().map(|s| s.share), Some(6_666));
}

#[test]
fn workers_wait_until_the_share_of_requests_is_decided() {
    let both = |strategy: Spec| {
        let mut spec = strategy;
        let mut worker = spec.processes["web"].clone();
        (worker.http, worker.instances) = (false, 1);
        spec.processes.insert("worker".to_owned(), worker);
        spec
    };
    let mut cluster = Cluster::new();
    cluster.deploy_as(bundle('a'), both(web(1)));
    cluster.plan();
    for id in 1..=2 {
        cluster.ready(id);
    }
    cluster.settled();
    let mut spec = both(canary());
    spec.processes.get_mut("web").unwrap().instances = 1;
    cluster.deploy_as(bundle('b'), spec);
    cluster.plan();
    let processes = |cluster: &Cluster| {
        let new = cluster.state.instances.values().filter(|i| i.release == ReleaseId(2));
        new.map(|i| i.process.clone()).collect::<Vec<_>>()
    };
    assert_eq!(processes(&cluster), ["web"]);
    cluster.ready(3);
    cluster.plan();
    cluster.serve();
    cluster.plan();
    cluster.write(Command::Promote { deployment: SECOND, all: true });
    cluster.plan();
    assert_eq!(processes(&cluster), ["web"], "the old instance serves still");
    cluster.leaves(1);
    cluster.plan();
    assert_eq!(processes(&cluster), ["web", "worker"]);
}

#[test]
fn recreate_never_runs_two_releases_at_once() {
    let mut cluster = first_release();
    cluster.deploy_as(bundle('b'), with(Strategy::Recreate));
    assert_eq!(cluster.plan(), ["drain i3", "drain i2", "drain i1"]);
    for id in 1..=3 {
        assert!(cluster.state.instances.values().all(|i| i.release == ReleaseId(1)));
        cluster.leaves(id);
    }
    assert_eq!(cluster.plan(), ["start 0 on n1", "start 1 on n2", "start 2 on n3"]);
    cluster.ready(4);
    cluster.plan();
    cluster.sight(5, crate::model::Seen::Unready);
    assert_eq!(cluster.plan(), ["revert", "stop i5", "stop i6", "drain i4"]);
    cluster.gone(5);
    cluster.gone(6);
    assert_eq!(cluster.plan(), [""; 0], "one of the new ones runs still");
    cluster.leaves(4);
    assert_eq!(cluster.plan(), ["start 0 on n1", "start 1 on n2", "start 2 on n3"]);
}

#[test]
fn a_paused_deployment_ends_its_step_and_waits_for_as_long_as_it_takes() {
    let mut cluster = first_release();
    cluster.deploy('b');
    cluster.plan();
    cluster.write(Command::Pause { deployment: SECOND });
    cluster.ready(4);
    cluster.plan();
    cluster.serve();
    assert_eq!(cluster.plan(), ["drain i1"]);
    cluster.leaves(1);
    cluster.now += 7 * 86_400_000;
    assert_eq!(cluster.plan(), [""; 0]);
    assert_eq!((cluster.serving(), cluster.phase_of(SECOND)), (vec![2, 3, 4], Phase::Stepping));
    cluster.write(Command::Resume { deployment: SECOND });
    assert_eq!(cluster.plan(), ["start 1 on n2"]);
    assert!(cluster.state.deployments[&SECOND].deadline.is_some_and(|at| at > cluster.now));
    assert!(cluster.says("Paused by ann, waits after this step") && cluster.says("Resumed by ann"));
    // Health is judged all the same.
    cluster.write(Command::Pause { deployment: SECOND });
    cluster.sight(5, crate::model::Seen::Unready);
    assert!(cluster.plan().contains(&"revert".to_owned()));
}

#[test]
fn a_promotion_ends_a_hold() {
    for all in [false, true] {
        let mut cluster = first_release();
        cluster.deploy_as(bundle('b'), canary());
        cluster.plan();
        cluster.ready(4);
        cluster.plan();
        cluster.serve();
        cluster.plan();
        cluster.write(Command::Promote { deployment: SECOND, all });
        let planned = cluster.plan();
        if all {
            assert_eq!(planned, ["drain i1"], "nothing is held any more");
        } else {
            assert_eq!(cluster.shares(), [(1, 75), (2, 25)], "the next step");
            cluster.now += 899_999;
            assert_eq!(cluster.plan(), [""; 0], "and that is held");
        }
    }
}

#[test]
fn only_what_is_under_way_can_be_directed() {
    let mut cluster = first_release();
    let answer = |cluster: &mut Cluster, command: Command| {
        let entry = crate::command::Entry {
            version: crate::command::ENTRY_VERSION,
            clock: cluster.now,
            wall: cluster.now,
            key: None,
            by: "ann".to_owned(),
            command,
        };
        let index = cluster.state.index + 1;
        crate::apply::apply(&mut cluster.state, index, &entry).made()
    };
    for deployment in [DeploymentId(1), DeploymentId(7)] {
        for command in [
            Command::Pause { deployment },
            Command::Resume { deployment },
            Command::Promote { deployment, all: false },
        ] {
            let refused = answer(&mut cluster, command).unwrap_err();
            match deployment.0 {
                1 => assert!(matches!(refused, Rejection::Conflict { why } if why.contains("has ended"))),
                _ => assert!(matches!(refused, Rejection::NotFound { .. })),
            }
        }
    }
}
