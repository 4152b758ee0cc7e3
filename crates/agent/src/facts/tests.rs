use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Sight, facts};
use crate::diff::Standing;
use crate::health::Vitals;
use crate::local::{Care, Local, Stage};
use crate::outbox::Fact;
use crate::runtime::Running;
use crate::testing::{assigned, digest, work};
use temps_core::assignment::{Assignment, Work};
use temps_core::command::Observation;
use temps_core::model::{
    Artifact, Counts, DeploymentId, Endpoint, EnvironmentId, Exit, InstanceId, Measured, NodeFacts, Past,
    ReleaseId, Seen, Traffic, Want,
};
use temps_core::table::EdgeReport;

const I7: InstanceId = InstanceId(7);

fn endpoint() -> Option<Endpoint> {
    Some(Endpoint { address: "127.0.0.1:20000".to_owned(), incarnation: "1-2-i7".to_owned() })
}

fn running() -> Running {
    Running { incarnation: "1-2-i7".to_owned(), endpoint: endpoint(), age: Duration::ZERO }
}

fn local(stage: Stage) -> Local {
    Local::new(stage, digest("a"), Duration::ZERO)
}

fn up(seen: Seen, last_check: Option<&str>) -> Local {
    let mut local = local(Stage::Up(running(), Care::Health));
    local.vitals = Vitals { attempts: 3, last_check: last_check.map(str::to_owned), ..Vitals::new(seen) };
    local
}

fn told(assigned: &Assignment, local: Option<Local>, edge: &EdgeReport) -> Vec<Fact> {
    let locals: BTreeMap<_, _> = local.into_iter().map(|l| (I7, l)).collect();
    let none = BTreeSet::new();
    facts(&Sight {
        standing: Standing::Current,
        assigned,
        locals: &locals,
        edge,
        stored: &none,
        known_stored: &none,
        builds: Vec::new(),
        pasts: &BTreeMap::new(),
        node: None,
    })
}

fn observations(work: Work, local: Option<Local>) -> Vec<Observation> {
    let facts = told(&assigned(work), local, &EdgeReport::default());
    facts.into_iter().map(|fact| fact.observation).collect()
}

/// What is told about an instance itself: how it is seen, with which exit.
fn seen(work: Work, local: Option<Local>) -> Option<(Seen, Option<Exit>)> {
    let told = observations(work, local);
    assert!(told.len() <= 1, "{told:?}");
    told.into_iter().next().map(|o| match o {
        Observation::Instance { instance: I7, seen, exit, .. } => (seen, exit),
        other => unreachable!("{other:?}"),
    })
}

#[test]
fn what_the_state_shows_already_is_not_told() {
    let mut known = work(Want::Run, Seen::Ready);
    known.instance.endpoint = endpoint();
    known.instance.last_check = Some("answered 200".to_owned());
    assert_eq!(seen(known.clone(), Some(up(Seen::Ready, Some("answered 500, expected 200")))), None);
    let unready = seen(known.clone(), Some(up(Seen::Unready, Some("x"))));
    assert_eq!(unready, Some((Seen::Unready, None)));
    known.instance.endpoint = None;
    assert_eq!(seen(known, Some(up(Seen::Ready, None))), Some((Seen::Ready, None)));
}

#[test]
fn a_start_is_told_with_its_address_and_then_with_what_its_checks_bring() {
    let first = observations(work(Want::Run, Seen::Pending), Some(up(Seen::Starting, None)));
    let expected = Observation::Instance {
        instance: I7,
        seen: Seen::Starting,
        endpoint: endpoint(),
        attempts: 3,
        last_check: None,
        log_tail: Vec::new(),
        exit: None,
    };
    assert_eq!(first, [expected]);

    let mut known = work(Want::Run, Seen::Starting);
    known.instance.endpoint = endpoint();
    let assigned = assigned(known);
    let later = told(&assigned, Some(up(Seen::Starting, Some("refused"))), &EdgeReport::default());
    assert!(later.len() == 1 && later[0].pause > Duration::from_secs(1), "{later:?}");
}

#[test]
fn an_end_is_told_as_exited_and_its_removal_as_gone() {
    let exit = || Exit { code: Some(3), ..Exit::default() };
    let rows = [
        (Want::Run, Seen::Ready, Stage::Ended(exit()), Some((Seen::Exited, Some(exit())))),
        (Want::Run, Seen::Exited, Stage::Ended(exit()), None),
        (Want::Stop, Seen::Exited, Stage::Removing(Some(exit())), None),
        (Want::Stop, Seen::Exited, Stage::Removed(Some(exit())), Some((Seen::Gone, Some(exit())))),
        (Want::Stop, Seen::Pending, Stage::Removed(None), Some((Seen::Gone, None))),
        (Want::Run, Seen::Pending, Stage::Starting, None),
        (Want::Run, Seen::Pending, Stage::Unstarted, None),
        (Want::Stop, Seen::Pending, Stage::Unstarted, None),
    ];
    for (want, known, stage, expected) in rows {
        let shown = format!("{want:?} {known:?} {stage:?}");
        assert_eq!(seen(work(want, known), Some(local(stage))), expected, "{shown}");
    }
}

#[test]
fn what_has_left_no_trace_is_told_only_when_that_is_certain() {
    for (want, known, expected) in [
        (Want::Run, Seen::Pending, None),
        (Want::Run, Seen::Exited, None),
        (Want::Stop, Seen::Pending, Some(Seen::Gone)),
        (Want::Stop, Seen::Gone, None),
        (Want::Run, Seen::Ready, Some(Seen::Exited)),
        (Want::Drain, Seen::Ready, Some(Seen::Exited)),
    ] {
        assert_eq!(seen(work(want, known), None).map(|s| s.0), expected, "{want:?} {known:?}");
        let assigned = assigned(work(want, known));
        let (locals, none, edge) = (BTreeMap::new(), BTreeSet::new(), EdgeReport::default());
        let old = Sight {
            standing: Standing::MaybeOld,
            assigned: &assigned,
            locals: &locals,
            edge: &edge,
            stored: &none,
            known_stored: &none,
            builds: Vec::new(),
            pasts: &BTreeMap::new(),
            node: None,
        };
        assert!(facts(&old).is_empty(), "{want:?} {known:?}");
    }
}

#[test]
fn drains_and_cuts_are_told() {
    let mut draining = local(Stage::Up(running(), Care::Drain));
    draining.vitals.seen = Seen::Ready;
    draining.drain.began_with = Some(12);
    draining.drain.drained = true;
    let mut known = work(Want::Drain, Seen::Ready);
    known.instance.endpoint = endpoint();
    assert_eq!(
        observations(known.clone(), Some(draining)),
        [Observation::Draining { instance: I7, in_flight: 12 }, Observation::Drained { instance: I7 }]
    );
    let mut stopping = local(Stage::Stopping(running()));
    stopping.vitals.seen = Seen::Ready;
    stopping.cut = Some((2, Instant::now()));
    known.instance.want = Want::Stop;
    assert_eq!(observations(known, Some(stopping)), [Observation::Cut { instance: I7, in_flight: 2 }]);
}

#[test]
fn tables_artifacts_and_traffic_are_told_when_asked_for() {
    let environment = EnvironmentId(4);
    let assigned = Assignment {
        awaited: Some(8),
        observed: [(environment, [ReleaseId(2)].into())].into(),
        ..Assignment::default()
    };
    let mut measured =
        Measured { traffic: Traffic { requests: 5, ..Traffic::default() }, ..Measured::default() };
    measured.releases.insert(ReleaseId(2), Counts { requests: 3, ..Counts::default() });
    let mut all = measured.clone();
    all.releases.insert(ReleaseId(1), Counts { requests: 9, ..Counts::default() });
    let mut edge = EdgeReport { index: 7, ..EdgeReport::default() };
    assert!(told(&assigned, None, &edge).is_empty());
    edge.index = 9;
    edge.pid = 1;
    edge.traffic.insert(environment, all);
    let all: Vec<_> = told(&assigned, None, &edge).into_iter().map(|f| f.observation).collect();
    let expected = [Observation::Applied { index: 9 }, Observation::Traffic { environment, measured }];
    assert_eq!(all, expected);

    let (locals, nothing, edge) = (BTreeMap::new(), Assignment::default(), EdgeReport::default());
    let sight = Sight {
        standing: Standing::Current,
        assigned: &nothing,
        locals: &locals,
        edge: &edge,
        stored: &[digest("a"), digest("b")].into(),
        known_stored: &[digest("b"), digest("c")].into(),
        builds: Vec::new(),
        pasts: &[(DeploymentId(7), Past::default())].into(),
        node: None,
    };
    let all: Vec<_> = facts(&sight).into_iter().map(|f| f.observation).collect();
    let artifact = |name: &str, stored| Observation::Artifact { digest: digest(name), stored };
    let past = Observation::Past { deployment: DeploymentId(7), past: Past::default() };
    assert_eq!(all, [artifact("a", true), artifact("c", false), past]);
}

#[test]
fn why_something_waits_is_told_without_counting_it_as_started() {
    let mut waiting = local(Stage::Unstarted);
    waiting.vitals.last_check = Some("waiting: the engine does not answer".to_owned());
    let told = observations(work(Want::Run, Seen::Pending), Some(waiting));
    let expected = Observation::Instance {
        instance: I7,
        seen: Seen::Pending,
        endpoint: None,
        attempts: 0,
        last_check: Some("waiting: the engine does not answer".to_owned()),
        log_tail: Vec::new(),
        exit: None,
    };
    assert_eq!(told, [expected]);
}

#[test]
fn what_runs_although_it_is_over_is_told_once_it_has_ended() {
    let mut over = up(Seen::Ready, None);
    over.call_over(Exit { excused: true, ..Exit::default() });
    over.stage = Stage::Up(Running { endpoint: None, ..running() }, Care::Health);
    assert_eq!(seen(work(Want::Run, Seen::Ready), Some(over)), None);
}

#[test]
fn a_lost_address_is_not_told_over_and_over() {
    let mut known = work(Want::Run, Seen::Ready);
    known.instance.endpoint = endpoint();
    let mut lost = up(Seen::Ready, None);
    lost.stage = Stage::Up(Running { endpoint: None, ..running() }, Care::Health);
    assert_eq!(seen(known, Some(lost)), None);
}

#[test]
fn an_image_is_told_after_where_it_is_stored() {
    let (locals, nothing, edge) = (BTreeMap::new(), Assignment::default(), EdgeReport::default());
    let image = Artifact { digest: digest("a"), ..Artifact::default() };
    let built = Observation::Built { deployment: DeploymentId(3), image };
    let sight = Sight {
        standing: Standing::Current,
        assigned: &nothing,
        locals: &locals,
        edge: &edge,
        stored: &[digest("a")].into(),
        known_stored: &BTreeSet::new(),
        builds: vec![(DeploymentId(3), built.clone())],
        pasts: &BTreeMap::new(),
        node: Some(NodeFacts::default()),
    };
    let all = facts(&sight);
    let key = |observation: &Observation| {
        all.iter().find(|f| f.observation == *observation).map(|f| f.key.clone()).expect("told")
    };
    let stored = Observation::Artifact { digest: digest("a"), stored: true };
    assert!(key(&stored) < key(&built));
    assert!(all.iter().any(|f| f.observation == Observation::Facts(NodeFacts::default())));
}
