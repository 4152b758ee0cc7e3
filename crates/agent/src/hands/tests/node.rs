//! What a node does beside running instances: fetching, building, telling what it is, holding its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use temps_core::assignment::{ArtifactWork, Assignment, BuildWork};
use temps_core::command::Observation;
use temps_core::model::{
    Artifact, DeploymentId, NodeFacts, NodeId, ReleaseId, RuntimeKind, Seen, Source, Want,
};

use super::{Bench, I7, worker};
use crate::build::BuildError;
use crate::runtime::Condition;
use crate::testing::digest;
use crate::testing::script::running;

const D1: DeploymentId = DeploymentId(1);
const D2: DeploymentId = DeploymentId(2);

fn artifact(name: &str) -> Artifact {
    Artifact { digest: digest(name), bytes: 1, ..Artifact::default() }
}

fn build(context: &str) -> BuildWork {
    let source =
        Source::Build { context: artifact(context), dockerfile: "Dockerfile".to_owned(), timeout: 1_000 };
    BuildWork {
        release: ReleaseId(1),
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        source,
    }
}

impl Bench {
    fn assign_builds(&mut self, builds: &[(DeploymentId, BuildWork)]) {
        let builds: BTreeMap<_, _> = builds.iter().cloned().collect();
        let remembered = builds.keys().copied().collect();
        self.hands.assigned = Assignment { builds, remembered, ..self.nothing() };
    }

    fn results(&self) -> Vec<Observation> {
        let is_result =
            |o: &Observation| matches!(o, Observation::Built { .. } | Observation::NotBuilt { .. });
        self.ledger.told().into_iter().filter(is_result).collect()
    }

    fn facts(&self) -> Option<NodeFacts> {
        self.ledger.told().into_iter().rev().find_map(|told| match told {
            Observation::Facts(facts) => Some(facts),
            _ => None,
        })
    }
}

#[tokio::test]
async fn an_image_is_made_once_its_source_is_here_and_told_until_nobody_asks() {
    let mut bench = Bench::new();
    bench.workshop.answer(Ok(artifact("a")));
    bench.assign_builds(&[(D1, build("b"))]);
    bench.hands.begin();
    bench.work(Duration::from_millis(200)).await;
    assert_eq!(bench.workshop.begun(), []);
    bench.assign_builds(&[(D1, build("a"))]);
    let built = Observation::Built { deployment: D1, image: artifact("a") };
    bench.until("it is told", |b| b.results() == [built.clone()]).await;
    bench.work(Duration::from_millis(200)).await;
    assert_eq!(bench.workshop.begun(), [D1]);
    // The answer was lost: told again, made once.
    bench.hands.outbox.failed(std::time::Instant::now() - Duration::from_secs(60));
    bench.hands.outbox = crate::outbox::Outbox::new(NodeId(1), 2);
    bench.until("it is told again", |b| b.results().len() == 2).await;
    assert_eq!(bench.workshop.begun(), [D1]);
    assert!(bench.hands.builds.images().any(|image| *image == artifact("a")));
    bench.assign_builds(&[]);
    bench.until("it is forgotten", |b| b.hands.builds.images().next().is_none()).await;
}

#[tokio::test]
async fn one_image_is_made_at_a_time_and_given_up_when_nobody_waits_for_it() {
    let mut bench = Bench::new();
    bench.assign_builds(&[(D1, build("a")), (D2, build("a"))]);
    bench.hands.begin();
    bench.until("one begins", |b| b.workshop.going.load(Ordering::SeqCst) == 1).await;
    bench.work(Duration::from_millis(200)).await;
    assert_eq!(bench.workshop.begun(), [D1]);
    bench.assign_builds(&[(D2, build("a"))]);
    bench.until("the other begins", |b| b.workshop.begun() == [D1, D2]).await;
    bench.until("one goes on", |b| b.workshop.going.load(Ordering::SeqCst) == 1).await;
    bench.assign_builds(&[]);
    bench.until("none goes on", |b| b.workshop.going.load(Ordering::SeqCst) == 0).await;
    assert_eq!(bench.results(), []);
}

#[tokio::test]
async fn a_failed_build_is_told_with_its_last_lines_and_not_tried_again() {
    let mut bench = Bench::new();
    let lines: Vec<String> = (0..30).map(|n| format!("line {n}")).collect();
    bench.workshop.answer(Err(BuildError::Failed { why: "step 3 ended with 1".to_owned(), log_tail: lines }));
    bench.assign_builds(&[(D1, build("a"))]);
    bench.hands.begin();
    bench.until("it is told", |b| !b.results().is_empty()).await;
    let [Observation::NotBuilt { deployment: D1, why, log_tail }] = &bench.results()[..] else {
        unreachable!("{:?}", bench.results())
    };
    assert_eq!((why.as_str(), log_tail.len()), ("step 3 ended with 1", 20));
    assert_eq!(log_tail.last().map(String::as_str), Some("line 29"));
    bench.work(Duration::from_millis(300)).await;
    assert_eq!(bench.workshop.begun(), [D1]);
}

#[tokio::test]
async fn a_builder_that_does_not_answer_is_asked_again() {
    let mut bench = Bench::new();
    bench.workshop.answer(Err(BuildError::NotNow("the engine does not answer".to_owned())));
    bench.workshop.answer(Ok(artifact("a")));
    bench.assign_builds(&[(D1, build("a"))]);
    bench.hands.begin();
    bench.until("it is told", |b| !b.results().is_empty()).await;
    assert_eq!(bench.workshop.begun(), [D1, D1]);
    assert!(matches!(bench.results()[..], [Observation::Built { .. }]));
}

#[tokio::test]
async fn a_node_without_a_builder_says_so() {
    let mut bench = Bench::new();
    bench.hands.builder = None;
    bench.assign_builds(&[(D1, build("a"))]);
    bench.hands.begin();
    bench.until("it is told", |b| !b.results().is_empty()).await;
    assert!(matches!(&bench.results()[..], [Observation::NotBuilt { why, .. }] if why.contains("no images")));
}

#[tokio::test]
async fn logs_of_builds_go_when_their_deployments_are_forgotten() {
    let mut bench = Bench::new();
    let remember = |bench: &mut Bench, ids: &[DeploymentId]| {
        let remembered = ids.iter().copied().collect();
        bench.hands.assigned = Assignment { remembered, ..bench.nothing() };
    };
    remember(&mut bench, &[D1]);
    bench.hands.begin();
    bench.until("after the start", |b| b.workshop.kept().len() == 1).await;
    remember(&mut bench, &[D1, D2]);
    bench.work(Duration::from_millis(100)).await;
    remember(&mut bench, &[D2]);
    bench.until("one is forgotten", |b| b.workshop.kept().len() == 2).await;
    assert_eq!(bench.workshop.kept(), [BTreeSet::from([D1]), BTreeSet::from([D2])]);
}

#[tokio::test]
async fn two_artifacts_come_at_a_time_and_none_that_nobody_needs() {
    let mut bench = Bench::new();
    let wanted = |names: &[&str]| -> BTreeMap<String, ArtifactWork> {
        let work = |name: &&str| ArtifactWork {
            artifact: artifact(name),
            holders: vec![NodeId(2)],
            ..ArtifactWork::default()
        };
        names.iter().map(|name| (digest(name), work(name))).collect()
    };
    bench.hands.assigned = Assignment { artifacts: wanted(&["b", "c", "d", "e"]), ..bench.nothing() };
    bench.hands.begin();
    bench.until("two", |b| b.nodes.asked.load(Ordering::SeqCst) == 2).await;
    bench.work(Duration::from_millis(200)).await;
    assert_eq!(bench.nodes.asked.load(Ordering::SeqCst), 2);
    // Whoever stalls over what is not needed any more makes room.
    bench.hands.assigned = Assignment { artifacts: wanted(&["d", "e"]), ..bench.nothing() };
    bench.until("the others", |b| b.nodes.asked.load(Ordering::SeqCst) == 4).await;
}

#[tokio::test]
async fn a_node_tells_what_it_is_and_what_troubles_it() {
    let mut bench = Bench::new();
    bench.hands.assigned = bench.nothing();
    bench.hands.begin();
    bench.until("its kind", |b| b.facts().is_some()).await;
    let facts = bench.facts().expect("told");
    assert_eq!(facts.runtime, Some(RuntimeKind::Docker));
    assert_eq!(facts.labels, BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]));
    bench.until("its space", |b| b.facts().is_some_and(|f| f.free.is_some())).await;
    let free = bench.facts().and_then(|f| f.free).expect("told");
    assert_eq!(free % (64 << 20), 0);
    bench.hands.assigned.facts = bench.facts().expect("told");

    let trouble = "the engine does not answer".to_owned();
    *bench.script.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble.clone());
    let began = std::time::Instant::now();
    bench.until("its trouble", |b| b.facts().is_some_and(|f| f.trouble.is_some())).await;
    assert!((3..9).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    bench.hands.assigned.facts = bench.facts().expect("told");
    assert_eq!(bench.hands.assigned.facts.trouble, Some(trouble));
    *bench.script.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    bench.until("the end of its trouble", |b| b.facts().is_some_and(|f| f.trouble.is_none())).await;
}

#[tokio::test]
async fn what_is_exclusive_ends_by_itself_when_there_is_no_quorum_for_too_long() {
    let lease = Duration::from_millis(1_500);
    let mut bench = Bench::with_lease(lease);
    let mut exclusive = worker(Want::Run, Seen::Pending);
    exclusive.process.exclusive = true;
    bench.assign(exclusive.clone());
    bench.hands.begin();
    bench.until("it is ready", |b| b.last_told().is_some_and(|t| t.0 == Seen::Ready)).await;
    exclusive.instance.seen = Seen::Ready;
    bench.assign(exclusive);
    // A quorum keeps it, for longer than the lease.
    bench.work(lease * 2).await;
    assert_eq!(bench.script.count("stop i7"), 0);
    assert!(bench.dir.path().join("quorum.json").exists());

    bench.ledger.quorum.store(false, Ordering::SeqCst);
    let began = std::time::Instant::now();
    bench.until("it is stopped", |b| b.script.count("stop i7") == 1).await;
    assert!(began.elapsed() <= lease + Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(bench.view.borrow().down.contains(&I7));
    bench.until("its end", |b| b.exit().is_some()).await;
    bench.ledger.quorum.store(true, Ordering::SeqCst);
    bench.until("it is told", |b| b.last_told().is_some_and(|t| t.0 == Seen::Exited)).await;
    let exit = bench.last_told().and_then(|t| t.2).expect("told");
    assert!(exit.excused && !exit.asked, "{exit:?}");
    assert_eq!(exit.how(), "stopped: its node had no quorum for 1.5s");
    bench.work(Duration::from_millis(300)).await;
    assert_eq!(bench.script.count("start i7"), 1);
}

#[tokio::test]
async fn a_new_server_without_a_quorum_ends_what_is_exclusive_and_nothing_else() {
    let mut bench = Bench::with_lease(Duration::from_millis(500));
    let mut exclusive = worker(Want::Run, Seen::Ready);
    exclusive.process.exclusive = true;
    let mut other = worker(Want::Run, Seen::Ready);
    other.instance.id = temps_core::model::InstanceId(8);
    for id in [exclusive.instance.id, other.instance.id] {
        bench.script.show(id, Condition::Running(running("first", None)));
    }
    let instances = [exclusive, other].into_iter().map(|work| (work.instance.id, work)).collect();
    bench.hands.assigned = Assignment { instances, ..bench.nothing() };
    bench.ledger.quorum.store(false, Ordering::SeqCst);
    bench.hands.begin();
    bench.until("its end", |b| b.exit().is_some()).await;
    bench.work(Duration::from_millis(500)).await;
    assert_eq!(bench.script.done(), ["stop i7"]);
}
