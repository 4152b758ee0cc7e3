//! Hands with an engine, a log and other nodes that do what the test says.

mod engine;
mod node;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::assignment::{Assignment, Work};
use temps_core::command::Observation;
use temps_core::model::{Exit, InstanceId, Seen, Want};
use temps_core::table::EdgeReport;
use tokio::sync::{mpsc, watch};

use super::{Event, Hands, Tools};
use crate::local::Stage;
use crate::runtime::{Condition, Running};
use crate::store::Store;
use crate::testing::script::{Recorder, Script, SlowNodes, Workshop};
use crate::testing::{digest, work};
use crate::view::LocalView;

const I7: InstanceId = InstanceId(7);

/// One node.
struct Bench {
    hands: Hands,
    events: mpsc::UnboundedReceiver<Event>,
    view: watch::Receiver<LocalView>,
    script: Arc<Script>,
    ledger: Arc<Recorder>,
    nodes: Arc<SlowNodes>,
    workshop: Arc<Workshop>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with_lease(Duration::from_secs(15))
    }

    fn with_lease(lease: Duration) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let script = Script::new();
        let ledger = Recorder::new();
        let nodes = Arc::new(SlowNodes::default());
        let workshop = Arc::new(Workshop::default());
        let artifacts = dir.path().join("artifacts");
        // What a list of the store shows is all that matters of it here.
        std::fs::create_dir(&artifacts).expect("created");
        std::fs::write(artifacts.join(digest("a")), b"x").expect("written");
        let view = watch::Sender::new(LocalView::default());
        let seen = view.subscribe();
        let (hands, events) = Hands::new(Tools {
            ledger: Arc::clone(&ledger) as _,
            data: dir.path().to_owned(),
            runtime: Arc::clone(&script) as _,
            builder: Some(Arc::clone(&workshop) as _),
            store: Arc::new(Store::open(artifacts).expect("opened")),
            fetch: Arc::clone(&nodes) as _,
            edge: watch::channel(EdgeReport::default()).1,
            view,
            boot: 1,
            labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            disks: vec![Path::new("/").to_owned()],
            lease,
        });
        Self { hands, events, view: seen, script, ledger, nodes, workshop, dir }
    }

    /// A node that already runs an instance under its first incarnation.
    async fn with_running(work: Work, running: Running) -> Self {
        let mut bench = Self::new();
        let id = work.instance.id;
        bench.script.show(id, Condition::Running(running));
        bench.assign(work);
        bench.hands.begin();
        bench
            .until("it is found", |b| {
                b.local().is_some_and(|l| {
                    l.checks.is_some()
                        || l.vitals.seen == Seen::Starting
                            && matches!(l.stage, Stage::Up(_, crate::local::Care::Health))
                })
            })
            .await;
        bench
    }

    fn assign(&mut self, work: Work) {
        let instances = BTreeMap::from([(work.instance.id, work)]);
        self.hands.assigned = Assignment { instances, ..self.nothing() };
    }

    /// What is assigned stays so: it is newer than the state of the log.
    fn nothing(&self) -> Assignment {
        Assignment { index: u64::MAX, ..Assignment::default() }
    }

    fn local(&self) -> Option<&crate::local::Local> {
        self.hands.locals.get(&I7)
    }

    /// How it ended, once it has.
    fn exit(&self) -> Option<Exit> {
        match &self.local()?.stage {
            Stage::Ended(exit) => Some(exit.clone()),
            _ => None,
        }
    }

    /// Works until a condition holds.
    async fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is(self) {
            assert!(Instant::now() < end, "{what}: {:?} {:?}", self.hands.locals, self.script.done());
            self.work(Duration::from_millis(20)).await;
        }
    }

    /// Works for at least a while.
    async fn work(&mut self, wait: Duration) {
        let end = tokio::time::Instant::now() + wait;
        loop {
            self.hands.reconcile();
            match tokio::time::timeout_at(end, self.events.recv()).await {
                Ok(Some(event)) => self.hands.on(event),
                Ok(None) => unreachable!("hands can tell"),
                Err(_) => return,
            }
        }
    }

    /// The last that the cluster was told of the instance.
    fn last_told(&self) -> Option<(Seen, Option<String>, Option<Exit>)> {
        self.ledger.told().into_iter().rev().find_map(|told| match told {
            Observation::Instance { instance: I7, seen, last_check, exit, .. } => {
                Some((seen, last_check, exit))
            }
            _ => None,
        })
    }
}

/// A process without HTTP that is ready at once.
fn worker(want: Want, seen: Seen) -> Work {
    let mut work = work(want, seen);
    work.process.http = false;
    (work.health, work.settle) = (None, 0);
    work
}
