//! A runtime, a ledger and other nodes that do what a test says, for tests of what stands on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use temps_core::assignment::BuildWork;
use temps_core::command::{Command, Observation, Outcome, Receipt};
use temps_core::model::{
    Artifact, ClusterState, DeploymentId, Endpoint, Exit, Index, InstanceId, Millis, NodeId, RuntimeKind,
};
use temps_ledger::{Leadership, Ledger, LedgerError, Proposal};
use tokio::sync::{Notify, watch};

use crate::build::{Build, BuildError};
use crate::logs::{LogLine, Until};
use crate::runtime::{Condition, Found, Job, Running, Runtime, StartError};
use crate::store::{Chunks, Fetch};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What runs, at an address or without one.
pub(crate) fn running(incarnation: &str, address: Option<&str>) -> Running {
    let endpoint =
        address.map(|address| Endpoint { address: address.to_owned(), incarnation: incarnation.to_owned() });
    Running { incarnation: incarnation.to_owned(), endpoint, age: Duration::ZERO }
}

/// A runtime whose engine a test plays.
pub(crate) struct Script {
    /// What a list shows.
    there: Mutex<BTreeMap<InstanceId, Condition>>,
    /// Answers to starts; where there is none left, it starts without an address.
    pub(crate) starts: Mutex<VecDeque<StartError>>,
    /// Answers to checks by command; none left passes.
    pub(crate) checks: Mutex<VecDeque<String>>,
    pub(crate) trouble: Mutex<Option<String>>,
    /// Lists fail, and questions who is who get no answer.
    pub(crate) hangs: AtomicBool,
    /// What was asked of it, in order.
    done: Mutex<Vec<String>>,
    /// Ends that are told to who waits for them; `None` where how is not known yet.
    ends: watch::Sender<BTreeMap<InstanceId, Option<Exit>>>,
    news: Notify,
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            there: Mutex::default(),
            starts: Mutex::default(),
            checks: Mutex::default(),
            trouble: Mutex::default(),
            hangs: AtomicBool::new(false),
            done: Mutex::default(),
            ends: watch::Sender::new(BTreeMap::new()),
            news: Notify::new(),
        })
    }

    /// What a list shows from now on.
    pub(crate) fn show(&self, id: InstanceId, condition: Condition) {
        lock(&self.there).insert(id, condition);
    }

    /// A list shows it no more.
    pub(crate) fn vanish(&self, id: InstanceId) {
        lock(&self.there).remove(&id);
    }

    /// It ends, and nobody knows how yet.
    pub(crate) fn begin_end(&self, id: InstanceId) {
        self.ends.send_modify(|ends| {
            ends.insert(id, None);
        });
    }

    /// Its end is told to who waits for it.
    pub(crate) fn end(&self, id: InstanceId, exit: Exit) {
        self.show(id, Condition::Ended(exit.clone()));
        self.ends.send_modify(|ends| {
            ends.insert(id, Some(exit));
        });
    }

    /// Something may have changed.
    pub(crate) fn hint(&self) {
        self.news.notify_one();
    }

    pub(crate) fn done(&self) -> Vec<String> {
        lock(&self.done).clone()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.done().iter().filter(|done| *done == what).count()
    }

    fn note(&self, what: String) {
        lock(&self.done).push(what);
    }
}

#[async_trait]
impl Runtime for Script {
    async fn start(&self, job: &Job) -> Result<Running, StartError> {
        let id = job.work.instance.id;
        self.note(format!("start {id}"));
        if let Some(error) = lock(&self.starts).pop_front() {
            return Err(error);
        }
        let running = running("first", None);
        self.show(id, Condition::Running(running.clone()));
        Ok(running)
    }

    async fn list(&self) -> io::Result<Vec<Found>> {
        if self.hangs.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the engine does not answer"));
        }
        let found = |(id, condition): (&InstanceId, &Condition)| Found {
            instance: *id,
            digest: super::digest("a"),
            stop_grace: Duration::from_secs(1),
            condition: condition.clone(),
        };
        Ok(lock(&self.there).iter().map(found).collect())
    }

    async fn ends(&self, instance: InstanceId) {
        let ended = self.ends.subscribe().wait_for(|ends| ends.contains_key(&instance)).await.is_ok();
        assert!(ended, "the sender lives as long as this");
    }

    async fn wait(&self, instance: InstanceId) -> Exit {
        let mut ends = self.ends.subscribe();
        let ended = ends.wait_for(|ends| ends.get(&instance).is_some_and(Option::is_some)).await;
        ended.ok().and_then(|ends| ends[&instance].clone()).expect("the sender lives as long as this")
    }

    async fn changed(&self) {
        self.news.notified().await;
    }

    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    async fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    async fn check(&self, instance: InstanceId, command: &str, _limit: Duration) -> Result<(), String> {
        self.note(format!("check {instance} {command}"));
        lock(&self.checks).pop_front().map_or(Ok(()), Err)
    }

    async fn is(&self, instance: InstanceId, incarnation: &str) -> bool {
        self.hangs.load(Ordering::SeqCst)
            || matches!(lock(&self.there).get(&instance), Some(Condition::Running(now)) if now.incarnation == incarnation)
    }

    async fn stop(&self, instance: InstanceId, _grace: Duration) -> io::Result<()> {
        self.note(format!("stop {instance}"));
        self.end(instance, Exit { signal: Some(15), asked: true, ..Exit::default() });
        Ok(())
    }

    async fn remove(&self, instance: InstanceId) -> io::Result<()> {
        self.note(format!("remove {instance}"));
        self.vanish(instance);
        Ok(())
    }

    async fn discard(&self, _digest: &str) -> io::Result<()> {
        Ok(())
    }

    fn lines(&self, _: InstanceId, _: usize, _: Until) -> BoxStream<'static, io::Result<LogLine>> {
        Box::pin(futures_util::stream::empty())
    }
}

/// A ledger that keeps what it is told, and that can lose its quorum.
pub(crate) struct Recorder {
    told: Mutex<Vec<Observation>>,
    pub(crate) quorum: AtomicBool,
    index: watch::Sender<Index>,
    term: watch::Sender<Leadership>,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            told: Mutex::default(),
            quorum: AtomicBool::new(true),
            index: watch::Sender::new(0),
            term: watch::Sender::new(Leadership::default()),
        })
    }

    pub(crate) fn told(&self) -> Vec<Observation> {
        lock(&self.told).clone()
    }
}

#[async_trait]
impl Ledger for Recorder {
    fn node(&self) -> NodeId {
        NodeId(1)
    }
    fn state(&self) -> Arc<ClusterState> {
        Arc::new(ClusterState::default())
    }
    fn changes(&self) -> watch::Receiver<Index> {
        self.index.subscribe()
    }
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.term.subscribe()
    }
    async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError> {
        self.barrier().await?;
        if let Command::Report { observations, .. } = proposal.command {
            lock(&self.told).extend(observations);
        }
        Ok(Receipt { index: 1, outcome: Outcome::Done(temps_core::command::Made::Nothing) })
    }
    async fn barrier(&self) -> Result<Index, LedgerError> {
        if self.quorum.load(Ordering::SeqCst) {
            Ok(0)
        } else {
            Err(LedgerError::NoQuorum { why: "the test took it".to_owned() })
        }
    }
    fn silence(&self) -> BTreeMap<NodeId, Duration> {
        BTreeMap::new()
    }
    fn now(&self) -> Millis {
        0
    }
}

/// Other nodes that answer when a test lets them.
#[derive(Default)]
pub(crate) struct SlowNodes {
    pub(crate) asked: AtomicUsize,
}

#[async_trait]
impl Fetch for SlowNodes {
    async fn fetch(&self, _from: &[NodeId], _digest: &str, _offset: u64) -> io::Result<Chunks> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

/// A builder that gives the answers of a test, and without one goes on for ever.
#[derive(Default)]
pub(crate) struct Workshop {
    pub(crate) answers: Mutex<VecDeque<Result<Artifact, BuildError>>>,
    pub(crate) begun: Mutex<Vec<DeploymentId>>,
    /// Builds that go on now.
    pub(crate) going: AtomicUsize,
    pub(crate) kept: Mutex<Vec<BTreeSet<DeploymentId>>>,
}

impl Workshop {
    pub(crate) fn answer(&self, answer: Result<Artifact, BuildError>) {
        lock(&self.answers).push_back(answer);
    }

    pub(crate) fn begun(&self) -> Vec<DeploymentId> {
        lock(&self.begun).clone()
    }

    pub(crate) fn kept(&self) -> Vec<BTreeSet<DeploymentId>> {
        lock(&self.kept).clone()
    }
}

struct Going<'a>(&'a AtomicUsize);

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Build for Workshop {
    async fn build(&self, deployment: DeploymentId, _work: &BuildWork) -> Result<Artifact, BuildError> {
        lock(&self.begun).push(deployment);
        self.going.fetch_add(1, Ordering::SeqCst);
        let _going = Going(&self.going);
        let answer = lock(&self.answers).pop_front();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    async fn forget(&self, keep: &BTreeSet<DeploymentId>) {
        lock(&self.kept).push(keep.clone());
    }
}
