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
use temps_core::model::{ClusterState, Index, InstanceId, Millis, NodeId};
use temps_ledger::{Leadership, Ledger, LedgerError, MemoryLedger, Proposal};
use temps_wire::proto::{InstanceLogLine, ProposeRequest, ProposeResponse, ReadIndexResponse};
use tokio::sync::watch;

use crate::parts::{Artifacts, Consensus, LogSource, Membership, Stored};

/// One node's view of a log that several share, which can be cut off from it.
pub(super) struct Seat {
    node: NodeId,
    log: Arc<MemoryLedger>,
    leadership: watch::Sender<Leadership>,
    cut: AtomicBool,
}

impl Seat {
    pub(super) fn new(node: NodeId, log: Arc<MemoryLedger>) -> Self {
        let leadership = watch::Sender::new(*log.leadership().borrow());
        Self { node, log, leadership, cut: AtomicBool::new(false) }
    }

    /// From now on there is no quorum.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.leadership.send_replace(Leadership { term: 1, leader: None });
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
}
