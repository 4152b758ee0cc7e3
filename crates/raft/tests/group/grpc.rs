//! The same group over gRPC and mutual TLS on this machine's loopback.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use temps_core::model::NodeId;
use temps_ledger::Ledger;
use temps_raft::{GrpcTransport, OpenOptions, RaftLedger};
use temps_wire::identity::{NodeIdentity, generate_csr};
use temps_wire::peers::Peers;
use temps_wire::proto::peer_server::{Peer, PeerServer};
use temps_wire::proto::{
    ArtifactChunk, BuildLinesRequest, FetchArtifactRequest, FindImageRequest, FindImageResponse,
    InstanceLogLine, InstanceLogsRequest, NodeHistoryRequest, NodeHistoryResponse, ProposeRequest,
    ProposeResponse, RaftMessage, ReadIndexRequest, ReadIndexResponse, StoreArtifactResponse,
};
use temps_wire::{MESSAGE_MAX, serve};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::cluster::{OFTEN, TIMINGS, create, eventually, found, has, propose};

struct Front(RaftLedger);

type Nothing<T> = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Peer for Front {
    async fn raft(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        let RaftMessage { kind, body } = request.into_inner();
        let body = self.0.handle_raft(&kind, body).await?;
        Ok(Response::new(RaftMessage { kind, body }))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        Ok(Response::new(self.0.handle_propose(request.into_inner()).await?))
    }

    async fn read_index(&self, _: Request<ReadIndexRequest>) -> Result<Response<ReadIndexResponse>, Status> {
        Ok(Response::new(self.0.handle_read_index().await?))
    }

    type FetchArtifactStream = Nothing<ArtifactChunk>;

    async fn fetch_artifact(
        &self,
        _: Request<FetchArtifactRequest>,
    ) -> Result<Response<Self::FetchArtifactStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn store_artifact(
        &self,
        _: Request<Streaming<ArtifactChunk>>,
    ) -> Result<Response<StoreArtifactResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    type InstanceLogsStream = Nothing<InstanceLogLine>;

    async fn instance_logs(
        &self,
        _: Request<InstanceLogsRequest>,
    ) -> Result<Response<Self::InstanceLogsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn node_history(
        &self,
        _: Request<NodeHistoryRequest>,
    ) -> Result<Response<NodeHistoryResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    type BuildLinesStream = Nothing<InstanceLogLine>;

    async fn build_lines(
        &self,
        _: Request<BuildLinesRequest>,
    ) -> Result<Response<Self::BuildLinesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn find_image(&self, _: Request<FindImageRequest>) -> Result<Response<FindImageResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn admit(founder: &NodeIdentity, node: u64) -> NodeIdentity {
    let (csr, key) = generate_csr().expect("a key");
    let ca = founder.ca();
    let certificate = ca.sign_node(&csr, NodeId(node)).expect("a certificate");
    NodeIdentity::joined(certificate, key, ca.cert_pem, ca.key_pem).expect("an identity")
}

async fn start(directory: &TempDir, identity: &NodeIdentity, node: u64) -> (RaftLedger, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let options = OpenOptions {
        node: NodeId(node),
        address: address.clone(),
        data: directory.path().join(node.to_string()),
        timings: TIMINGS,
        snapshots: OFTEN,
        transport: Arc::new(GrpcTransport::new(Peers::new(identity))),
    };
    let ledger = RaftLedger::open(options).await.expect("the node opens");
    let front = PeerServer::new(Front(ledger.clone())).max_decoding_message_size(MESSAGE_MAX);
    let (routes, identity) = (Routes::new(front), identity.clone());
    tokio::spawn(async move {
        serve::serve(listener, &identity, Arc::default(), routes, std::future::pending())
            .await
            .expect("the node serves");
    });
    (ledger, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_over_mutual_tls() {
    let directory = tempfile::tempdir().unwrap();
    let founder = NodeIdentity::found("test", NodeId(1)).unwrap();
    let (one, _) = start(&directory, &founder, 1).await;
    one.found("test", found()).await.unwrap();
    let (two, address) = start(&directory, &admit(&founder, 2), 2).await;
    one.add_member(NodeId(2), &address).await.unwrap();

    // Long keys make a state that needs several messages, and a log that is gone when the third node comes.
    for n in 0..60_u64 {
        let key = format!("{n}{}", "x".repeat(100_000));
        let node = if n % 2 == 0 { &one } else { &two };
        propose(node, Some(&key), &format!("shop-{n}")).await.unwrap();
    }
    eventually("the log is folded into snapshots", || one.status().purged > 0).await;
    let (three, address) = start(&directory, &admit(&founder, 3), 3).await;
    two.add_member(NodeId(3), &address).await.unwrap();
    three.barrier().await.unwrap();
    assert!(has(&three, "shop-0") && has(&three, "shop-59"));

    let receipt = propose(&three, Some("last"), "last").await.unwrap();
    one.barrier().await.unwrap();
    two.barrier().await.unwrap();
    assert!(one.state().index >= receipt.index && has(&two, "last"));

    let leader = [&one, &two, &three].into_iter().find(|n| n.status().leader == Some(n.node())).unwrap();
    let successor = leader.step_down().await.expect("another node takes over");
    assert_ne!(successor, leader.node());
    let body = Bytes::from_static(b"");
    assert!(three.handle_raft("append", body).await.is_err());
    for node in [&one, &two, &three] {
        let proposal = temps_ledger::Proposal { key: None, by: "test".to_owned(), command: create("after") };
        node.propose(proposal).await.unwrap();
    }
    for node in [one, two, three] {
        node.shutdown().await;
    }
}
