//! The transport between nodes in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use temps_core::model::NodeId;
use temps_ledger::Ledger;
use temps_raft::{Peer, RaftLedger, Transport, TransportError};
use temps_wire::proto::{ProposeRequest, ProposeResponse, ReadIndexResponse};

/// All connections between the nodes.
#[derive(Default)]
pub(crate) struct Net {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    listening: BTreeMap<String, RaftLedger>,
    cut: BTreeSet<(u64, u64)>,
    weather: Weather,
    random: u64,
    /// Messages of a kind that were sent.
    sent: BTreeMap<String, u64>,
}

/// How bad the network is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Of a thousand messages, so many get no answer.
    pub(crate) lost_per_mille: u64,
    /// Messages take up to this long.
    pub(crate) delay: Duration,
}

impl Net {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seeded(seed: u64) -> Arc<Self> {
        let net = Self::default();
        net.inner().random = seed;
        Arc::new(net)
    }

    pub(crate) fn listen(&self, address: &str, node: RaftLedger) {
        self.inner().listening.insert(address.to_owned(), node);
    }

    pub(crate) fn hang_up(&self, address: &str) {
        self.inner().listening.remove(address);
    }

    /// Nothing passes between `node` and the others, in both directions, and nobody notices at once.
    pub(crate) fn isolate(&self, node: u64, others: impl IntoIterator<Item = u64>) {
        let mut inner = self.inner();
        for other in others {
            inner.cut.insert((node, other));
            inner.cut.insert((other, node));
        }
    }

    pub(crate) fn heal(&self) {
        self.inner().cut.clear();
    }

    pub(crate) fn weather(&self, weather: Weather) {
        self.inner().weather = weather;
    }

    pub(crate) fn sent(&self, kind: &str) -> u64 {
        self.inner().sent.get(kind).copied().unwrap_or(0)
    }

    /// How long a message takes; none where it is lost.
    fn fate(&self, from: u64, to: u64) -> Option<Duration> {
        let mut inner = self.inner();
        if inner.cut.contains(&(from, to)) {
            return None;
        }
        if inner.weather.lost_per_mille > 0 && inner.roll() % 1000 < inner.weather.lost_per_mille {
            return None;
        }
        let most = u64::try_from(inner.weather.delay.as_micros()).unwrap_or(u64::MAX);
        Some(Duration::from_micros(if most == 0 { 0 } else { inner.roll() % most }))
    }
}

impl Inner {
    /// splitmix64.
    fn roll(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// One node's way to the others.
pub(crate) struct Link {
    pub(crate) net: Arc<Net>,
    pub(crate) from: u64,
}

impl Link {
    async fn pass(&self, to: u64) {
        match self.net.fate(self.from, to) {
            None => std::future::pending().await,
            Some(Duration::ZERO) => {}
            Some(delay) => tokio::time::sleep(delay).await,
        }
    }

    fn find(&self, address: &str) -> Result<RaftLedger, TransportError> {
        let found = self.net.inner().listening.get(address).cloned();
        found.ok_or_else(|| TransportError::Unreachable(format!("nobody listens at {address}")))
    }

    async fn carry<T, E: std::fmt::Display>(
        &self,
        to: Peer<'_>,
        call: impl AsyncFnOnceSend<T, E>,
    ) -> Result<T, TransportError> {
        self.pass(to.node.0).await;
        let node = self.find(to.address)?;
        let answering = node.node().0;
        let answer = call.call(node).await.map_err(|error| TransportError::Refused(error.to_string()))?;
        match self.net.fate(answering, self.from) {
            None => std::future::pending().await,
            Some(_) => Ok(answer),
        }
    }
}

/// A call on the node that answers.
#[async_trait]
trait AsyncFnOnceSend<T, E>: Send {
    async fn call(self, node: RaftLedger) -> Result<T, E>;
}

struct RaftCall(&'static str, Bytes);
struct ProposeCall(ProposeRequest);
struct ReadIndexCall;

#[async_trait]
impl AsyncFnOnceSend<Bytes, temps_raft::MessageError> for RaftCall {
    async fn call(self, node: RaftLedger) -> Result<Bytes, temps_raft::MessageError> {
        node.handle_raft(self.0, self.1).await
    }
}

#[async_trait]
impl AsyncFnOnceSend<ProposeResponse, temps_raft::MessageError> for ProposeCall {
    async fn call(self, node: RaftLedger) -> Result<ProposeResponse, temps_raft::MessageError> {
        node.handle_propose(self.0).await
    }
}

#[async_trait]
impl AsyncFnOnceSend<ReadIndexResponse, temps_raft::MessageError> for ReadIndexCall {
    async fn call(self, node: RaftLedger) -> Result<ReadIndexResponse, temps_raft::MessageError> {
        node.handle_read_index().await
    }
}

#[async_trait]
impl Transport for Link {
    async fn raft(&self, to: Peer<'_>, kind: &'static str, body: Bytes) -> Result<Bytes, TransportError> {
        *self.net.inner().sent.entry(kind.to_owned()).or_default() += 1;
        self.carry(to, RaftCall(kind, body)).await
    }

    async fn propose(
        &self,
        to: Peer<'_>,
        request: ProposeRequest,
    ) -> Result<ProposeResponse, TransportError> {
        self.carry(to, ProposeCall(request)).await
    }

    async fn read_index(&self, to: Peer<'_>) -> Result<ReadIndexResponse, TransportError> {
        self.carry(to, ReadIndexCall).await
    }
}

/// The address of a node.
pub(crate) fn address(node: u64) -> String {
    format!("{}.test:7000", NodeId(node))
}
