//! A cluster of one node: a log, a planner, an edge, and the agent.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use temps_agent::store::{Chunks, Fetch, Store};
use temps_agent::{Agent, AgentOptions, LocalView};
use temps_core::command::{Command, Made, NewNode, Receipt};
use temps_core::model::{
    Artifact, ClusterState, Deployment, DeploymentId, Index, Instance, Millis, NodeId, RuntimeKind, Source,
    Spec,
};
use temps_core::plan::plan;
use temps_core::table::EdgeReport;
use temps_ledger::{Leadership, Ledger, LedgerError, MemoryLedger, Proposal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{NODE, Place, artifact, bundle, until, until_true};

/// A ledger that can lose its quorum.
pub(crate) struct TestLedger {
    pub(crate) inner: MemoryLedger,
    pub(crate) quorum: AtomicBool,
    term: watch::Sender<Leadership>,
}

impl TestLedger {
    pub(crate) fn set_quorum(&self, has: bool) {
        self.quorum.store(has, Ordering::SeqCst);
        self.term.send_modify(|l| l.term += 1);
    }

    fn check(&self) -> Result<(), LedgerError> {
        if self.quorum.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(LedgerError::NoQuorum { why: "the test took it".to_owned() })
        }
    }
}

#[async_trait]
impl Ledger for TestLedger {
    fn node(&self) -> NodeId {
        NODE
    }
    fn state(&self) -> Arc<ClusterState> {
        self.inner.state()
    }
    fn changes(&self) -> watch::Receiver<Index> {
        self.inner.changes()
    }
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.term.subscribe()
    }
    async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError> {
        self.check()?;
        self.inner.propose(proposal).await
    }
    async fn barrier(&self) -> Result<Index, LedgerError> {
        self.check()?;
        self.inner.barrier().await
    }
    fn silence(&self) -> BTreeMap<NodeId, Duration> {
        BTreeMap::new()
    }
    fn now(&self) -> Millis {
        self.inner.now()
    }
}

/// Another node that has one artifact.
pub(crate) struct OtherNode(pub(crate) Vec<u8>);

#[async_trait]
impl Fetch for OtherNode {
    async fn fetch(&self, _from: &[NodeId], _digest: &str, offset: u64) -> io::Result<Chunks> {
        let rest = self.0[usize::try_from(offset).expect("small")..].to_vec();
        Ok(Box::pin(stream::iter([Ok(rest.into())])))
    }
}

/// A cluster of this node: its log, a planner, an edge that serves what it is told at once, and the agent.
pub(crate) struct Cluster {
    pub(crate) place: Place,
    pub(crate) ledger: Arc<TestLedger>,
    pub(crate) edge: watch::Sender<EdgeReport>,
    pub(crate) view: watch::Receiver<LocalView>,
    pub(crate) store: Arc<Store>,
    /// What other nodes have.
    pub(crate) elsewhere: Vec<u8>,
    agent: Option<(JoinHandle<()>, CancellationToken)>,
    background: Vec<JoinHandle<()>>,
    boot: AtomicU64,
    pub(crate) lease: Duration,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.background.iter().for_each(JoinHandle::abort);
        if let Some((agent, _)) = &self.agent {
            agent.abort();
        }
    }
}

impl Cluster {
    /// Everything but the agent.
    pub(crate) async fn without_agent() -> Self {
        let ledger = Arc::new(TestLedger {
            inner: MemoryLedger::new(NODE, ClusterState::default()),
            quorum: AtomicBool::new(true),
            term: watch::Sender::new(Leadership { term: 1, leader: Some(NODE) }),
        });
        let place = Place::new();
        let mut cluster = Self {
            store: Arc::new(Store::open(place.data().join("artifacts")).expect("opened")),
            place,
            ledger,
            edge: watch::Sender::new(EdgeReport::default()),
            view: watch::channel(LocalView::default()).1,
            elsewhere: Vec::new(),
            agent: None,
            background: Vec::new(),
            boot: AtomicU64::new(0),
            lease: Duration::from_secs(15),
        };
        cluster.write(Command::Found { domain: "localhost".to_owned(), token_hash: "00".to_owned() }).await;
        cluster.add_node("n1", None).await;
        cluster.background.push(tokio::spawn(lead(Arc::clone(&cluster.ledger))));
        cluster.background.push(tokio::spawn(serve(Arc::clone(&cluster.ledger), cluster.edge.clone())));
        cluster
    }

    pub(crate) async fn new() -> Self {
        let mut cluster = Self::without_agent().await;
        cluster.start_agent();
        let knows = || cluster.state().nodes[&NODE].facts.runtime == Some(RuntimeKind::Process);
        until_true("what the node is", knows).await;
        cluster
    }

    pub(crate) async fn add_node(&self, name: &str, token_hash: Option<String>) {
        let new = NewNode {
            name: name.to_owned(),
            control: "127.0.0.1:1".to_owned(),
            edge_peer: "127.0.0.1:2".to_owned(),
            edge_http: "127.0.0.1:3".to_owned(),
            version: "0.1.0".to_owned(),
            fingerprint: name.to_owned(),
            token_hash,
        };
        self.write(Command::AddNode(new)).await;
    }

    fn agent(&self) -> Agent {
        Agent::new(AgentOptions {
            ledger: Arc::clone(&self.ledger) as Arc<dyn Ledger>,
            data: self.place.data(),
            runtime: Arc::new(self.place.runtime()),
            builder: None,
            store: Arc::clone(&self.store),
            fetch: Arc::new(OtherNode(self.elsewhere.clone())),
            edge: self.edge.subscribe(),
            boot: self.boot.fetch_add(1, Ordering::SeqCst) + 1,
            labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            disks: vec![self.place.data()],
            lease: self.lease,
        })
        .expect("opened")
    }

    pub(crate) fn start_agent(&mut self) {
        // As a new server does.
        self.store = Arc::new(Store::open(self.place.data().join("artifacts")).expect("opened"));
        let agent = self.agent();
        self.view = agent.local_view();
        let shutdown = CancellationToken::new();
        self.agent = Some((tokio::spawn(agent.run(shutdown.clone())), shutdown));
    }

    /// As when the server is killed: nothing gets to finish.
    pub(crate) async fn kill_agent(&mut self) {
        if let Some((agent, _)) = self.agent.take() {
            agent.abort();
            let _ = agent.await;
        }
    }

    pub(crate) async fn shut_down_agent(&mut self) {
        if let Some((agent, shutdown)) = self.agent.take() {
            shutdown.cancel();
            agent.await.expect("it ends well");
        }
    }

    pub(crate) async fn write(&self, command: Command) -> Made {
        let proposal = Proposal { key: None, by: "test".to_owned(), command };
        let receipt = self.ledger.inner.propose(proposal).await.expect("answered");
        receipt.made().expect("accepted")
    }

    /// Stores a bundle with this content on this node, and deploys it.
    pub(crate) async fn deploy(&self, content: &str, spec: Spec) -> DeploymentId {
        let bytes = bundle(content);
        let what = artifact(&bytes);
        self.store.store(&what, stream::iter([Ok(bytes.into())])).await.expect("stored");
        self.deploy_artifact(what, spec).await
    }

    pub(crate) async fn deploy_artifact(&self, artifact: Artifact, spec: Spec) -> DeploymentId {
        let command = Command::Deploy {
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            source: Source::Bundle { bundle: artifact },
            spec,
            supersede: false,
        };
        match self.write(command).await {
            Made::Deployment(id) => id,
            other => unreachable!("{other:?}"),
        }
    }

    /// The state that this node has applied.
    pub(crate) fn state(&self) -> Arc<ClusterState> {
        self.ledger.state()
    }

    pub(crate) fn deployment(&self, id: DeploymentId) -> Deployment {
        self.state().deployments[&id].clone()
    }

    /// Waits until a deployment has ended.
    pub(crate) async fn ended(&self, id: DeploymentId) -> Deployment {
        until("the end of the deployment", || {
            let now = self.deployment(id);
            let seen: Vec<_> = self
                .ledger
                .state()
                .instances
                .values()
                .map(|i| (i.id, i.want, i.seen, i.last_check.clone()))
                .collect();
            std::future::ready(if now.phase.is_terminal() { Ok(now) } else { Err(seen) })
        })
        .await
    }

    pub(crate) fn instances(&self) -> Vec<Instance> {
        self.ledger.state().instances.values().cloned().collect()
    }

    pub(crate) fn serving(&self) -> Vec<Instance> {
        self.instances().into_iter().filter(Instance::serves).collect()
    }

    pub(crate) fn lines(&self, deployment: DeploymentId) -> Vec<String> {
        let state = self.ledger.state();
        state.events.values().filter(|e| e.deployment == Some(deployment)).map(|e| e.what.line()).collect()
    }
}

/// The leader's part: plans until nothing is left to plan.
async fn lead(ledger: Arc<TestLedger>) {
    loop {
        let state = ledger.state();
        let actions = plan(&state, ledger.now()).actions;
        if actions.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let command = Command::Plan { seen: state.revision, actions };
        let _ = ledger.inner.propose(Proposal { key: None, by: "planner".to_owned(), command }).await;
    }
}

/// The edge's part: what is in flight is what a test says.
async fn serve(ledger: Arc<TestLedger>, edge: watch::Sender<EdgeReport>) {
    let mut changes = ledger.changes();
    loop {
        edge.send_modify(|report| {
            report.index = ledger.state().index;
            report.pid = 1;
        });
        if changes.changed().await.is_err() {
            return;
        }
    }
}
