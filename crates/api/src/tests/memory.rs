//! The parts of a node, in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt, unfold};
use temps_core::command::Receipt;
use temps_core::history::{Point, Recorded, Span};
use temps_core::model::{ClusterState, DeploymentId, EnvironmentId, Index, InstanceId, Millis, NodeId};
use temps_ledger::{Leadership, Ledger, LedgerError, MemoryLedger, Proposal};
use temps_wire::proto::{InstanceLogLine, ProposeRequest, ProposeResponse, ReadIndexResponse};
use tokio::sync::watch;

use crate::parts::{
    Artifacts, BuildLogs, Consensus, FindFailed, Found, Images, LogSource, Membership, Past, Stored,
};

/// One node's view of a log that several share, which can be cut off from it.
pub(super) struct Seat {
    node: NodeId,
    log: Arc<MemoryLedger>,
    leadership: watch::Sender<Leadership>,
    cut: AtomicBool,
    isolated: AtomicBool,
}

impl Seat {
    pub(super) fn new(node: NodeId, log: Arc<MemoryLedger>) -> Self {
        let leadership = watch::Sender::new(*log.leadership().borrow());
        Self { node, log, leadership, cut: AtomicBool::new(false), isolated: AtomicBool::new(false) }
    }

    /// From now on there is no quorum.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.leadership.send_replace(Leadership { term: 1, leader: None });
    }

    /// From now on there is no quorum, and this node leads and has not noticed.
    pub(super) fn isolate(&self) {
        self.isolated.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), LedgerError> {
        let cut = self.cut.load(Ordering::SeqCst);
        if cut { Err(LedgerError::NoQuorum { why: "cut off".to_owned() }) } else { Ok(()) }
    }
}

#[async_trait]
impl Ledger for Seat {
    fn node(&self) -> NodeId {
        self.node
    }

    fn state(&self) -> Arc<ClusterState> {
        self.log.state()
    }

    fn changes(&self) -> watch::Receiver<Index> {
        self.log.changes()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError> {
        self.check()?;
        self.log.propose(proposal).await
    }

    async fn barrier(&self) -> Result<Index, LedgerError> {
        self.check()?;
        if self.isolated.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.log.barrier().await
    }

    fn silence(&self) -> BTreeMap<NodeId, Duration> {
        BTreeMap::new()
    }

    fn now(&self) -> Millis {
        self.log.now()
    }
}

#[derive(Default)]
pub(super) struct Shelf {
    stored: Mutex<BTreeMap<String, Bytes>>,
}

#[async_trait]
impl Artifacts for Shelf {
    async fn has(&self, digest: &str) -> bool {
        self.stored.lock().unwrap().contains_key(digest)
    }

    async fn open(&self, digest: &str, offset: u64) -> io::Result<Stored> {
        let content = self.stored.lock().unwrap().get(digest).cloned().ok_or(io::ErrorKind::NotFound)?;
        let bytes = content.len() as u64;
        let rest = content.slice(usize::try_from(offset).unwrap()..);
        Ok(Stored { bytes, content: Box::pin(io::Cursor::new(rest)) })
    }

    async fn store(
        &self,
        digest: &str,
        _: u64,
        content: BoxStream<'static, io::Result<Bytes>>,
    ) -> io::Result<()> {
        let pieces: Vec<Bytes> = content.try_collect().await?;
        self.stored.lock().unwrap().insert(digest.to_owned(), pieces.concat().into());
        Ok(())
    }
}

/// Logs that tests write.
pub(super) struct Paper {
    lines: watch::Sender<Vec<InstanceLogLine>>,
}

impl Default for Paper {
    fn default() -> Self {
        Self { lines: watch::Sender::new(Vec::new()) }
    }
}

impl Paper {
    pub(super) fn write(&self, instance: u64, wall_ms: u64, text: &'static str) {
        let line = InstanceLogLine {
            instance,
            wall_ms,
            stream: "out".to_owned(),
            text: Bytes::from_static(text.as_bytes()),
        };
        self.lines.send_modify(|lines| lines.push(line));
    }
}

impl LogSource for Paper {
    fn lines(
        &self,
        instances: Vec<InstanceId>,
        follow: bool,
        tail: u32,
    ) -> BoxStream<'static, InstanceLogLine> {
        let source = self.lines.subscribe();
        let now = source.borrow().clone();
        let mut first = Vec::new();
        for instance in &instances {
            let own: Vec<_> = now.iter().filter(|line| line.instance == instance.0).cloned().collect();
            first.extend(own[own.len().saturating_sub(tail as usize)..].iter().cloned());
        }
        let rest = unfold((source, now.len()), move |(mut source, mut at)| {
            let instances = instances.clone();
            async move {
                loop {
                    let next = source.borrow_and_update().get(at).cloned();
                    match next {
                        Some(line) => {
                            at += 1;
                            if instances.contains(&InstanceId(line.instance)) {
                                return Some((line, (source, at)));
                            }
                        }
                        None => source.changed().await.ok()?,
                    }
                }
            }
        });
        let first = stream::iter(first);
        if follow { first.chain(rest).boxed() } else { first.boxed() }
    }
}

/// Answers with what it was asked, and remembers who became a member.
#[derive(Default)]
pub(super) struct Echo {
    /// What else was asked of the members, in order.
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) members: Mutex<Vec<(NodeId, String)>>,
}

#[async_trait]
impl Consensus for Echo {
    async fn raft(&self, from: NodeId, kind: &str, body: Bytes) -> Result<Bytes, String> {
        Ok(format!("{from} {kind} {}", body.len()).into())
    }

    async fn propose(&self, _: ProposeRequest) -> ProposeResponse {
        ProposeResponse { receipt: None, leader: Some(1) }
    }

    async fn read_index(&self) -> ReadIndexResponse {
        ReadIndexResponse { index: Some(7), leader: Some(1) }
    }
}

#[async_trait]
impl Membership for Echo {
    async fn add_member(&self, node: NodeId, control: String) -> Result<(), String> {
        self.members.lock().unwrap().push((node, control));
        Ok(())
    }

    async fn yield_leadership(&self, node: NodeId) -> Result<(), String> {
        self.asked.lock().unwrap().push(format!("yield {node}"));
        Ok(())
    }

    async fn remove_member(&self, node: NodeId) -> Result<(), String> {
        self.asked.lock().unwrap().push(format!("remove {node}"));
        Ok(())
    }
}

/// Build logs that tests write.
pub(super) struct Workshop {
    /// The lines of each build, and whether it has ended.
    logs: watch::Sender<BTreeMap<DeploymentId, (Vec<InstanceLogLine>, bool)>>,
}

impl Default for Workshop {
    fn default() -> Self {
        Self { logs: watch::Sender::new(BTreeMap::new()) }
    }
}

impl Workshop {
    pub(super) fn write(&self, deployment: u64, wall_ms: u64, text: &'static str) {
        let line = InstanceLogLine {
            instance: 0,
            wall_ms,
            stream: "out".to_owned(),
            text: Bytes::from_static(text.as_bytes()),
        };
        self.logs.send_modify(|logs| logs.entry(DeploymentId(deployment)).or_default().0.push(line));
    }

    pub(super) fn end(&self, deployment: u64) {
        self.logs.send_modify(|logs| logs.entry(DeploymentId(deployment)).or_default().1 = true);
    }
}

impl BuildLogs for Workshop {
    fn lines(
        &self,
        deployment: DeploymentId,
        follow: bool,
        tail: u32,
    ) -> Option<BoxStream<'static, InstanceLogLine>> {
        let source = self.logs.subscribe();
        let now = source.borrow().get(&deployment)?.0.clone();
        let from = if tail == 0 { 0 } else { now.len().saturating_sub(tail as usize) };
        if !follow {
            return Some(stream::iter(now.into_iter().skip(from)).boxed());
        }
        let lines = unfold((source, from), move |(mut source, at)| async move {
            loop {
                let (next, ended) = {
                    let logs = source.borrow_and_update();
                    let (lines, ended) = &logs[&deployment];
                    (lines.get(at).cloned(), *ended)
                };
                match next {
                    Some(line) => return Some((line, (source, at + 1))),
                    None if ended => return None,
                    None => source.changed().await.ok()?,
                }
            }
        });
        Some(lines.boxed())
    }
}

/// What tests say was recorded, in whatever steps are asked for.
#[derive(Default)]
pub(super) struct Diary {
    pub(super) recorded: Mutex<BTreeMap<EnvironmentId, Recorded>>,
    /// It never answers.
    pub(super) asleep: AtomicBool,
}

#[async_trait]
impl Past for Diary {
    async fn recorded(&self, environment: EnvironmentId, span: Span) -> Recorded {
        if self.asleep.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        fn within<T>(points: &mut Vec<Point<T>>, span: Span) {
            points.retain(|point| (span.from..span.to).contains(&point.at));
        }
        let mut recorded = self.recorded.lock().unwrap().get(&environment).cloned().unwrap_or_default();
        within(&mut recorded.traffic, span);
        recorded.releases.values_mut().for_each(|points| within(points, span));
        recorded
    }
}

/// An engine of which tests say what it has; without any word it is none.
#[derive(Default)]
pub(super) struct Engine {
    pub(super) says: Mutex<Option<Result<Found, FindFailed>>>,
    /// What it was asked, and whether it was to pull.
    pub(super) asked: Mutex<Vec<(String, bool)>>,
}

impl Engine {
    pub(super) fn has(&self, id: &str, warning: &str) {
        let warning = Some(warning.to_owned()).filter(|warning| !warning.is_empty());
        *self.says.lock().unwrap() = Some(Ok(Found { id: id.to_owned(), warning }));
    }

    pub(super) fn fails(&self, how: FindFailed) {
        *self.says.lock().unwrap() = Some(Err(how));
    }
}

#[async_trait]
impl Images for Engine {
    async fn find(&self, reference: &str, pull: bool) -> Result<Found, FindFailed> {
        self.asked.lock().unwrap().push((reference.to_owned(), pull));
        self.says.lock().unwrap().clone().unwrap_or(Err(FindFailed::NoContainers))
    }
}
