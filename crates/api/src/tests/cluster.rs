//! Several nodes in this process, on loopback, over real TLS, with one log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest, Sha256};
use temps_core::command::{Action, Command, Made, NewNode, NewToken, Observation};
use temps_core::model::{
    Artifact, ClusterState, Grant, NodeFacts, NodeId, ProcessSpec, Role, RuntimeKind, Source, Spec,
};
use temps_core::table::EdgeReport;
use temps_ledger::{Ledger, MemoryLedger, Proposal};
use temps_wire::client::{Client, ClientError};
use temps_wire::codec;
use temps_wire::identity::{NodeIdentity, generate_csr};
use temps_wire::peers::Peers;
use temps_wire::proto::{BundleChunk, DeployRequest, PutBundleResponse};
use temps_wire::serve::serve;
use temps_wire::tls::TlsError;
use temps_wire::token::{ApiToken, JoinToken};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::memory::{Diary, Echo, Engine, Paper, Seat, Shelf, Workshop};
use crate::{Desk, routes};

pub(super) struct Cluster {
    pub(super) log: Arc<MemoryLedger>,
    pub(super) admin: ApiToken,
    pub(super) nodes: Vec<Running>,
}

pub(super) struct Running {
    pub(super) identity: NodeIdentity,
    pub(super) address: String,
    pub(super) seat: Arc<Seat>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) paper: Arc<Paper>,
    pub(super) echo: Arc<Echo>,
    pub(super) workshop: Arc<Workshop>,
    pub(super) engine: Arc<Engine>,
    pub(super) desk: Desk,
    pub(super) diary: Arc<Diary>,
    /// What its edge reports.
    pub(super) edge: watch::Sender<EdgeReport>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), TlsError>>,
}

impl Cluster {
    pub(super) async fn start(size: u64) -> Self {
        Self::start_from(size, ClusterState::default()).await
    }

    pub(super) async fn start_from(size: u64, state: ClusterState) -> Self {
        let founder = NodeIdentity::found("test", NodeId(1)).unwrap();
        let fingerprint = founder.ca_fingerprint().unwrap();
        let admin = ApiToken::random(fingerprint);
        let join = JoinToken::random(fingerprint);
        let mut cluster =
            Self { log: Arc::new(MemoryLedger::new(NodeId(1), state)), admin, nodes: Vec::new() };
        let token_hash = cluster.admin.hash();
        cluster.write(Command::Found { domain: "localhost".to_owned(), token_hash }).await;
        for number in 1..=size {
            let identity = match number {
                1 => founder.clone(),
                _ => admitted(&founder, NodeId(number)),
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let new = NewNode {
                name: format!("node-{number}"),
                control: address.clone(),
                edge_peer: "127.0.0.1:1".to_owned(),
                edge_http: "127.0.0.1:2".to_owned(),
                version: "1".to_owned(),
                fingerprint: identity.fingerprint().unwrap(),
                token_hash: (number > 1).then(|| join.hash()),
            };
            cluster.write(Command::AddNode(new)).await;
            if number == 1 {
                cluster.write(Command::CreateJoinToken { hash: join.hash(), ttl: 60_000, uses: 9 }).await;
            }
            cluster.nodes.push(Running::start(identity, listener, Arc::clone(&cluster.log)));
        }
        cluster
    }

    /// Writes to the log behind the desks.
    pub(super) async fn write(&self, command: Command) -> Made {
        let proposal = Proposal { key: None, by: "test".to_owned(), command };
        self.log.propose(proposal).await.unwrap().made().unwrap()
    }

    /// Gives a token a right.
    pub(super) async fn grant(&self, name: &str, token: &ApiToken, grant: impl Into<Grant>) {
        let (name, hash) = (name.to_owned(), token.hash());
        self.write(Command::CreateToken(NewToken { name, hash, grant: grant.into(), ttl: None })).await;
    }

    /// What the planner decides.
    pub(super) async fn plan(&self, actions: Vec<Action>) {
        let seen = self.log.state().revision;
        self.write(Command::Plan { seen, actions }).await;
    }

    /// What a node reports. Each report is newer than all before.
    pub(super) async fn report(&self, node: u64, observation: Observation) {
        let seq = self.log.state().index;
        let observations = vec![observation];
        self.write(Command::Report { node: NodeId(node), boot: 1, seq, observations }).await;
    }

    /// All nodes say that they run containers.
    pub(super) async fn with_containers(self) -> Self {
        for node in 1..=self.nodes.len() as u64 {
            let runtime = Some(RuntimeKind::Docker);
            self.report(node, Observation::Facts(NodeFacts { runtime, ..NodeFacts::default() })).await;
        }
        self
    }

    pub(super) fn client(&self) -> Client {
        self.client_with(&self.admin)
    }

    pub(super) fn client_with(&self, token: &ApiToken) -> Client {
        let endpoints = self.nodes.iter().map(|node| node.address.clone()).collect();
        Client::new(endpoints, token).with_patience(Duration::from_secs(2))
    }

    /// A client that knows one node only.
    pub(super) fn client_of(&self, node: usize) -> Client {
        let endpoints = vec![self.nodes[node].address.clone()];
        Client::new(endpoints, &self.admin).with_patience(Duration::ZERO)
    }
}

/// A role within one project.
pub(super) fn within(project: &str, role: Role) -> Grant {
    Grant::Projects([(project.to_owned(), role)].into())
}

impl Running {
    fn start(identity: NodeIdentity, listener: TcpListener, log: Arc<MemoryLedger>) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let seat = Arc::new(Seat::new(identity.node, log));
        let (shelf, paper, echo) = (Arc::<Shelf>::default(), Arc::<Paper>::default(), Arc::<Echo>::default());
        let (workshop, engine) = (Arc::<Workshop>::default(), Arc::<Engine>::default());
        let (diary, edge) = (Arc::<Diary>::default(), watch::Sender::default());
        let desk = Desk {
            ledger: Arc::clone(&seat) as Arc<dyn Ledger>,
            identity: Arc::new(identity.clone()),
            peers: Peers::new(&identity),
            consensus: echo.clone(),
            membership: echo.clone(),
            artifacts: shelf.clone(),
            logs: paper.clone(),
            builds: workshop.clone(),
            images: engine.clone(),
            door: Arc::default(),
            past: diary.clone(),
            edge: edge.subscribe(),
            quorum: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (own, served) = (identity.clone(), desk.clone());
        let running = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve(listener, &own, Arc::default(), routes(served), stopped).await
        });
        Self {
            identity,
            address,
            seat,
            shelf,
            paper,
            echo,
            workshop,
            engine,
            desk,
            diary,
            edge,
            stop: Some(stop),
            running,
        }
    }

    /// Stops serving and waits for the end.
    pub(super) async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.running).await.unwrap().unwrap();
    }
}

pub(super) fn admitted(founder: &NodeIdentity, node: NodeId) -> NodeIdentity {
    let (csr, key) = generate_csr().unwrap();
    let cert = founder.ca().sign_node(&csr, node).unwrap();
    NodeIdentity::joined(cert, key, founder.ca_pem.clone(), founder.ca_key_pem.clone()).unwrap()
}

pub(super) fn digest(content: &str) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn put(
    client: &Client,
    digest: &str,
    content: &'static str,
) -> Result<PutBundleResponse, ClientError> {
    let first = BundleChunk { digest: digest.to_owned(), bytes: content.len() as u64, data: Bytes::new() };
    let chunks: Vec<_> = std::iter::once(first)
        .chain(
            content
                .as_bytes()
                .chunks(2)
                .map(|data| BundleChunk { data: Bytes::from_static(data), ..BundleChunk::default() }),
        )
        .collect();
    client
        .call(|mut api| {
            let chunks = chunks.clone();
            async move { api.put_bundle(stream::iter(chunks)).await }
        })
        .await
}

pub(super) fn file(content: &str) -> Artifact {
    Artifact { digest: digest(content), bytes: content.len() as u64, ..Artifact::default() }
}

pub(super) fn deploy_request(content: &str) -> DeployRequest {
    request_of(&Source::Bundle { bundle: file(content) })
}

pub(super) fn request_of(source: &Source) -> DeployRequest {
    let process =
        ProcessSpec { command: "./web".to_owned(), http: true, instances: 2, ..ProcessSpec::default() };
    let spec = Spec { processes: [("web".to_owned(), process)].into(), ..Spec::default() };
    DeployRequest {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        source: codec::encode(source).into(),
        spec: codec::encode(&spec).into(),
        supersede: false,
    }
}

/// Stores a bundle with that content and deploys it.
pub(super) async fn deploy(client: &Client, content: &'static str) -> u64 {
    put(client, &digest(content), content).await.unwrap();
    send(client, deploy_request(content)).await.unwrap()
}

/// Stores the source of a build and deploys it.
pub(super) async fn deploy_build(client: &Client, content: &'static str) -> u64 {
    put(client, &digest(content), content).await.unwrap();
    let (context, dockerfile) = (file(content), "Dockerfile".to_owned());
    send(client, request_of(&Source::Build { context, dockerfile, timeout: 60_000 })).await.unwrap()
}

pub(super) async fn send(client: &Client, request: DeployRequest) -> Result<u64, ClientError> {
    let answer = client.call(|mut api| {
        let request = request.clone();
        async move { api.deploy(request).await }
    });
    Ok(answer.await?.deployment)
}
