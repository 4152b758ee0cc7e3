//! The parts of a node, in the shapes that other parts ask for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use temps_agent::Logs;
use temps_agent::logs::Until;
use temps_agent::store::{Chunks, Fetch, Store};
use temps_api::parts::{Artifacts, Consensus, LogSource, Membership, Past, Stored};
use temps_control::{ChannelKeys, Vault};
use temps_core::history::{Recorded, Span};
use temps_core::model::{Artifact, Certificate, CertificateFrom, EnvironmentId, InstanceId, NodeId, Opaque};
use temps_history::History;
use temps_ledger::Ledger;
use temps_raft::{MemberError, RaftLedger};
use temps_wire::certificate::{Read, read};
use temps_wire::peers::Peers;
use temps_wire::proto::{
    FetchArtifactRequest, InstanceLogLine, ProposeRequest, ProposeResponse, ReadIndexResponse,
};
use temps_wire::seal::{ACME_ACCOUNT, CERTIFICATE_KEY, NOTIFICATION, Seal};
use tokio_util::io::StreamReader;
use tracing::{debug, warn};

use super::containers::told;

/// How often a node that joins is tried to be made a member, each try waiting up to half a minute.
const MEMBER_TRIES: usize = 10;

/// The replicated log, for the front desk.
pub(super) struct RaftDoor {
    ledger: RaftLedger,
}

impl RaftDoor {
    pub(super) fn new(ledger: RaftLedger) -> Self {
        Self { ledger }
    }
}

#[async_trait]
impl Consensus for RaftDoor {
    async fn raft(&self, _from: NodeId, kind: &str, body: Bytes) -> Result<Bytes, String> {
        self.ledger.handle_raft(kind, body).await.map_err(|e| e.to_string())
    }

    async fn propose(&self, request: ProposeRequest) -> ProposeResponse {
        self.ledger.handle_propose(request).await.unwrap_or_else(|why| {
            debug!(%why, "a forwarded proposal was not answered");
            ProposeResponse::default()
        })
    }

    async fn read_index(&self) -> ReadIndexResponse {
        self.ledger.handle_read_index().await.unwrap_or_else(|why| {
            debug!(%why, "a read index was not given");
            ReadIndexResponse::default()
        })
    }
}

#[async_trait]
impl Membership for RaftDoor {
    /// Goes on in the background: the node answers only once it has its certificate. It asks again itself
    /// should this node end meanwhile.
    async fn add_member(&self, node: NodeId, control: String) -> Result<(), String> {
        let ledger = self.ledger.clone();
        tokio::spawn(async move {
            for _ in 0..MEMBER_TRIES {
                match ledger.add_member(node, &control).await {
                    Ok(()) => return,
                    Err(MemberError::NotReady { why }) => debug!(%node, why, "the new member is not ready"),
                    Err(MemberError::NoQuorum { why }) => debug!(%node, why, "no quorum for a new member"),
                    Err(why @ (MemberError::Refused { .. } | MemberError::Closing)) => {
                        warn!(%node, %why, "the node does not become a member");
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Ok(())
    }

    async fn yield_leadership(&self, node: NodeId) -> Result<(), String> {
        self.ledger.yield_leadership(node).await.map_err(|why| why.to_string())
    }

    async fn remove_member(&self, node: NodeId) -> Result<(), String> {
        self.ledger.remove_member(node).await.map_err(|why| why.to_string())
    }
}

/// The artifacts on this node, for the front desk.
pub(super) struct ArtifactShelf {
    store: Arc<Store>,
}

impl ArtifactShelf {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Artifacts for ArtifactShelf {
    async fn has(&self, digest: &str) -> bool {
        self.store.has(digest)
    }

    async fn open(&self, digest: &str, offset: u64) -> io::Result<Stored> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{digest} is not stored here"));
        // Artifacts, and chunks of images.
        let bytes = self.store.size_of(digest).ok_or_else(missing)?;
        if offset > bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it has {bytes} bytes")));
        }
        let content = StreamReader::new(self.store.read(digest, offset).await?);
        Ok(Stored { bytes, content: Box::pin(content) })
    }

    async fn store(
        &self,
        digest: &str,
        bytes: u64,
        content: BoxStream<'static, io::Result<Bytes>>,
    ) -> io::Result<()> {
        let artifact = Artifact::bundle(digest.to_owned(), bytes);
        self.store.store(&artifact, content).await.map_err(io::Error::other)
    }
}

/// The logs of this node's instances, for the front desk.
pub(super) struct LogShelf {
    logs: Logs,
}

impl LogShelf {
    pub(super) fn new(logs: Logs) -> Self {
        Self { logs }
    }
}

impl LogSource for LogShelf {
    fn lines(
        &self,
        instances: Vec<InstanceId>,
        follow: bool,
        tail: u32,
    ) -> BoxStream<'static, InstanceLogLine> {
        let until = if follow { Until::Ended } else { Until::Now };
        let tail = usize::try_from(tail).unwrap_or(usize::MAX);
        let streams = instances.into_iter().map(|id| {
            let lines = self.logs.lines(id, tail, until);
            // A log that cannot be read gives nothing more.
            let lines = lines
                .take_while(|line| std::future::ready(line.is_ok()))
                .filter_map(|line| async { line.ok() });
            lines.map(move |line| told(id.0, line)).boxed()
        });
        futures_util::stream::select_all(streams).boxed()
    }
}

/// What this node's edge counted over time, for the front desk.
pub(super) struct PastShelf {
    history: Arc<History>,
}

impl PastShelf {
    pub(super) fn new(history: Arc<History>) -> Self {
        Self { history }
    }
}

#[async_trait]
impl Past for PastShelf {
    async fn recorded(&self, environment: EnvironmentId, span: Span) -> Recorded {
        let history = Arc::clone(&self.history);
        let reading = tokio::task::spawn_blocking(move || history.recorded(environment, span));
        // It fails only where the runtime ends.
        reading.await.unwrap_or_default()
    }
}

/// Artifacts of other nodes, for the agent.
pub(super) struct NodeFetch {
    ledger: Arc<dyn Ledger>,
    peers: Peers,
}

impl NodeFetch {
    pub(super) fn new(ledger: Arc<dyn Ledger>, peers: Peers) -> Self {
        Self { ledger, peers }
    }
}

#[async_trait]
impl Fetch for NodeFetch {
    async fn fetch(&self, from: &[NodeId], digest: &str, offset: u64) -> io::Result<Chunks> {
        let mut outcome = io::Error::new(io::ErrorKind::NotFound, "no node has it");
        for node in from {
            match self.fetch_from(*node, digest, offset).await {
                Ok(chunks) => return Ok(chunks),
                Err(error) => outcome = error,
            }
        }
        Err(outcome)
    }
}

impl NodeFetch {
    async fn fetch_from(&self, node: NodeId, digest: &str, offset: u64) -> io::Result<Chunks> {
        let address = self.ledger.state().nodes.get(&node).map(|n| n.control.clone());
        let address = address.ok_or_else(|| io::Error::other(format!("{node} is not in the cluster")))?;
        let request = FetchArtifactRequest { digest: digest.to_owned(), offset };
        let mut client = self.peers.bulk(node, &address);
        let chunks = client.fetch_artifact(request).await.map_err(io::Error::other)?.into_inner();
        Ok(Box::pin(chunks.map_ok(|chunk| chunk.data).map_err(io::Error::other)))
    }
}

/// Secrets of certificates and notifications, sealed for the cluster.
pub(super) struct SealedVault {
    seal: Seal,
}

impl SealedVault {
    pub(super) fn new(seal: Seal) -> Self {
        Self { seal }
    }
}

impl Vault for SealedVault {
    fn issued(&self, chain: &str, key: &str) -> Result<Certificate, String> {
        let Read { names, not_before, not_after, issuer } = read(chain, key)?;
        let key = self.seal.seal(CERTIFICATE_KEY, key).map_err(|why| why.to_string())?;
        // With a third of its time left, unless the server wants it earlier or later.
        let renew_at = not_after - not_after.saturating_sub(not_before) / 3;
        let (chain, from) = (chain.to_owned(), CertificateFrom::Acme);
        Ok(Certificate { names, chain, key, not_before, not_after, renew_at, issuer, from })
    }

    fn seal_account(&self, account: &str) -> Result<Opaque, String> {
        self.seal.seal(ACME_ACCOUNT, account).map_err(|why| why.to_string())
    }

    fn open_account(&self, sealed: &Opaque) -> Result<String, String> {
        self.seal.open(ACME_ACCOUNT, sealed).map_err(|why| why.to_string())
    }
}

impl ChannelKeys for SealedVault {
    fn open_channel(&self, sealed: &Opaque) -> Result<String, String> {
        self.seal.open(NOTIFICATION, sealed).map_err(|why| why.to_string())
    }
}
