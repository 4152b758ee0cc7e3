//! Releases that change the schema of their database.

use super::{Cluster, bundle, web};
use crate::command::{Command, Made, Rejection};
use crate::model::{DeploymentId, Exit, InstanceId, NodeId, Phase, ReleaseCommand, Schema, Seen, Spec, Want};

/// Provides `provides` and runs with all from `from` to `to`.
fn spec(provides: u64, from: u64, to: u64) -> Spec {
    let mut spec = web(1);
    spec.schema = Some(Schema { provides, from, to });
    spec.release = Some(ReleaseCommand { command: "./migrate".to_owned(), timeout: 30_000 });
    spec
}

fn well() -> Exit {
    Exit { code: Some(0), ..Exit::default() }
}

impl Cluster {
    fn ask(&mut self, digest: char, spec: Spec) -> Result<Made, Rejection> {
        let (project, environment) = ("shop".to_owned(), "production".to_owned());
        let source = bundle(digest);
        self.answer(Command::Deploy { project, environment, source, spec, supersede: false })
    }

    fn back(&mut self, to: Option<u64>) -> Result<Made, Rejection> {
        let (project, environment) = ("shop".to_owned(), "production".to_owned());
        self.answer(Command::Rollback { project, environment, to: to.map(DeploymentId) })
    }

    /// The newest instance of a process of the application is ready, and the one before it leaves.
    fn replaces(&mut self) {
        let id = self.state.last.instance;
        self.ready(id);
        self.plan();
        self.serve();
        self.plan();
        let old = self.state.instances.values().find(|i| i.want == Want::Drain).map(|i| i.id);
        if let Some(old) = old {
            self.leaves(old.0);
            self.plan();
        }
    }

    /// The release command ends, and the release replaces the one before it.
    fn rolls_out(&mut self) {
        self.plan();
        let command = self.state.last.instance;
        self.exits(command, well());
        self.plan();
        self.exits(command, Exit { asked: true, ..well() });
        self.plan();
        self.replaces();
        self.now += 120_000;
        self.plan();
        assert_eq!(self.phase(), Phase::Succeeded, "{}", self.cause());
    }

    fn schema(&self) -> Option<u64> {
        self.state.environments.values().next().unwrap().schema
    }
}

/// Schema 10, then 11 that also runs with 10.
fn expanded() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.ask('a', spec(10, 10, 11)).unwrap();
    cluster.rolls_out();
    cluster.ask('b', spec(11, 10, 11)).unwrap();
    cluster.rolls_out();
    assert_eq!(cluster.schema(), Some(11));
    cluster
}

#[test]
fn what_the_old_release_can_live_with_comes_first() {
    let cluster = expanded();
    let told: Vec<String> = cluster.state.events.values().map(|e| e.what.line()).collect();
    let place = |line: &str| told.iter().rposition(|told| told == line).unwrap();
    assert!(place("Release command completed") < place("New container starting"));
}

#[test]
fn what_takes_away_comes_last_once_the_old_release_is_gone_everywhere() {
    let mut cluster = expanded();
    cluster.ask('c', spec(12, 11, 12)).unwrap();
    assert_eq!(cluster.plan(), ["start 0 on n1"], "its command would break what runs");
    cluster.replaces();
    assert_eq!(cluster.phase(), Phase::Watching);
    assert_eq!(cluster.schema(), Some(11));
    // A lost node may still run the old release.
    let mut lost = cluster.state.clone();
    let gone = |i: &&mut crate::model::Instance| i.process == "web" && i.want == Want::Gone;
    let old = lost.instances.values_mut().filter(gone).last().unwrap();
    (old.want, old.seen, old.lost) = (Want::Run, Seen::Ready, true);
    let mut waiting = Cluster { state: lost, now: cluster.now + 120_000, seq: cluster.seq };
    assert_eq!(waiting.plan(), [""; 0]);
    waiting.now += 600_000;
    assert!(waiting.plan().contains(&"fail".to_owned()));
    assert!(waiting.cause().contains("to be gone on every node"), "{}", waiting.cause());

    cluster.now += 120_000;
    assert_eq!(cluster.plan(), ["release command on n2"]);
    let deployment = DeploymentId(3);
    assert!(cluster.answer(Command::Cancel { deployment }).is_err(), "nothing can be given back now");
    let command = cluster.state.last.instance;
    cluster.exits(command, well());
    assert!(cluster.plan().contains(&"proceed".to_owned()));
    assert_eq!((cluster.phase(), cluster.schema()), (Phase::Succeeded, Some(12)));

    let Err(Rejection::Invalid { why }) = cluster.back(Some(1)) else { panic!("it went back") };
    assert_eq!(
        why,
        "shop production cannot go back to #1, which needs schema 10..11 while the database is at 12; deployments it can go back to: there is none"
    );
}

#[test]
fn a_last_command_that_fails_leaves_the_new_release() {
    let mut cluster = expanded();
    cluster.ask('c', spec(12, 11, 12)).unwrap();
    cluster.plan();
    cluster.replaces();
    cluster.now += 120_000;
    cluster.plan();
    let command = cluster.state.last.instance;
    cluster.exits(command, Exit { code: Some(3), ..Exit::default() });
    assert!(cluster.plan().contains(&"fail".to_owned()));
    assert_eq!((cluster.phase(), cluster.schema()), (Phase::Failed, Some(11)));
    let environment = cluster.state.environments.values().next().unwrap();
    assert_eq!(environment.current, cluster.state.deployments[&DeploymentId(3)].to.into());
    cluster.exits(command, Exit { code: Some(3), asked: true, ..Exit::default() });
    assert_eq!(cluster.plan(), [""; 0], "and nothing goes back");
}

#[test]
fn what_fits_to_nothing_is_refused_with_what_to_do() {
    let mut cluster = expanded();
    let Err(Rejection::Conflict { why }) = cluster.ask('d', spec(13, 12, 13)) else { panic!("accepted") };
    assert_eq!(
        why,
        "the database is at schema 11, and r2, which runs, takes 10..11 alone, while this release takes 12..13; first deploy one with `requires = \"11..13\"`"
    );
    let Err(Rejection::Conflict { why }) = cluster.ask('e', spec(10, 10, 10)) else { panic!("accepted") };
    assert!(why.contains("runs with 10 alone; deploy one that runs with 11"), "{why}");
    cluster.stores(1, 'a');
    assert!(cluster.back(Some(1)).is_ok(), "both run with 10 and 11");
}

#[test]
fn what_stopped_fitting_while_it_waited_is_taken_back_untouched() {
    let mut cluster = expanded();
    cluster.ask('c', spec(12, 11, 12)).unwrap();
    cluster.plan();
    // It waits behind that one, and fits to what runs now.
    cluster.ask('d', spec(11, 10, 11)).unwrap();
    cluster.replaces();
    cluster.now += 120_000;
    cluster.plan();
    let command = cluster.state.last.instance;
    cluster.exits(command, well());
    let planned = cluster.plan();
    assert!(planned.contains(&"rolled_back".to_owned()), "{planned:?}");
    assert!(cluster.cause().contains("deploy one that runs with 12"), "{}", cluster.cause());
    assert_eq!(cluster.state.instances[&InstanceId(cluster.state.last.instance)].node, NodeId(2));
}
