use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use hyper_util::rt::TokioIo;
use temps_core::model::{ClusterState, NodeId};
use temps_wire::identity::CLUSTER_NAME;
use temps_wire::peers::Peers;
use temps_wire::proto::peer_client::PeerClient;
use temps_wire::proto::{
    ArtifactChunk, BuildLinesRequest, FetchArtifactRequest, FindImageRequest, InstanceLogsRequest,
    NodeHistoryRequest, ProposeRequest, RaftMessage, ReadIndexRequest,
};
use temps_wire::tls::pinned_client_config;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status};

use super::cluster::{Cluster, admitted, digest};
use crate::parts::Artifacts;

/// A channel without a client certificate.
pub(super) async fn without_certificate(cluster: &Cluster) -> Channel {
    let address = cluster.nodes[0].address.clone();
    let tls = pinned_client_config(cluster.admin.fingerprint()).unwrap();
    let connect = tower::service_fn(move |_: Uri| {
        let (address, tls) = (address.clone(), TlsConnector::from(Arc::clone(&tls)));
        async move {
            let tcp = TcpStream::connect(address).await?;
            let name = rustls_pki_types::ServerName::try_from(CLUSTER_NAME).unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
        }
    });
    Endpoint::from_static("http://cluster.temps.internal").connect_with_connector(connect).await.unwrap()
}

/// The answers of every RPC.
async fn all(client: &mut PeerClient<Channel>) -> Vec<(&'static str, Code)> {
    fn code<T>(answer: Result<Response<T>, Status>) -> Code {
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    }
    let chunk = ArtifactChunk::default();
    vec![
        ("raft", code(client.raft(RaftMessage::default()).await)),
        ("propose", code(client.propose(ProposeRequest::default()).await)),
        ("read_index", code(client.read_index(ReadIndexRequest {}).await)),
        ("fetch_artifact", code(client.fetch_artifact(FetchArtifactRequest::default()).await)),
        ("store_artifact", code(client.store_artifact(stream::iter([chunk])).await)),
        ("build_lines", code(client.build_lines(BuildLinesRequest::default()).await)),
        ("node_history", code(client.node_history(NodeHistoryRequest::default()).await)),
        ("find_image", code(client.find_image(FindImageRequest::default()).await)),
        ("instance_logs", code(client.instance_logs(InstanceLogsRequest::default()).await)),
    ]
}

#[tokio::test]
async fn every_message_between_nodes_needs_a_nodes_certificate() {
    let cluster = Cluster::start(1).await;
    let mut nobody = PeerClient::new(without_certificate(&cluster).await);
    for (rpc, code) in all(&mut nobody).await {
        assert_eq!(code, Code::Unauthenticated, "{rpc}");
    }
}

#[tokio::test]
async fn a_removed_node_is_refused_and_one_that_is_not_known_yet_is_not() {
    // Numbers up to 5 were given out, and of these only the founder's, 6, is in the state.
    let mut state = ClusterState::default();
    state.last.node = 5;
    let cluster = Cluster::start_from(1, state).await;
    let address = &cluster.nodes[0].address;
    let founder = &cluster.nodes[0].identity;
    let removed = Peers::new(&admitted(founder, NodeId(3)));
    for (rpc, code) in all(&mut removed.client(NodeId(1), address)).await {
        assert_eq!(code, Code::PermissionDenied, "{rpc}");
    }
    let newer = Peers::new(&admitted(founder, NodeId(7)));
    let message = RaftMessage { kind: "vote".to_owned(), body: vec![0; 5 << 20].into() };
    let answer = newer.client(NodeId(1), address).raft(message).await.unwrap().into_inner();
    assert_eq!((answer.kind.as_str(), &answer.body[..]), ("vote", &b"n7 vote 5242880"[..]));
}

#[tokio::test]
async fn a_path_is_no_digest() {
    let cluster = Cluster::start(2).await;
    let mut client = Peers::new(&cluster.nodes[1].identity).bulk(NodeId(1), &cluster.nodes[0].address);
    let request = FetchArtifactRequest { digest: "../../../../etc/passwd".to_owned(), offset: 0 };
    assert_eq!(client.fetch_artifact(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_node_reads_two_artifacts_at_a_time_and_the_third_waits_its_turn() {
    let cluster = Cluster::start(3).await;
    // More than a connection takes while nobody reads.
    let large: Bytes = vec![7; 32 << 20].into();
    let name = digest("large");
    let content = stream::iter([Ok(large.clone())]).boxed();
    cluster.nodes[0].shelf.store(&name, large.len() as u64, content).await.unwrap();
    let address = &cluster.nodes[0].address;
    let open = async |node: usize| {
        let request = FetchArtifactRequest { digest: name.clone(), offset: 0 };
        let mut client = Peers::new(&cluster.nodes[node].identity).bulk(NodeId(1), address);
        let mut chunks = client.fetch_artifact(request).await.unwrap().into_inner();
        // The announcement never waits.
        let first = chunks.message().await.unwrap().unwrap();
        assert_eq!((first.digest, first.bytes), (name.clone(), large.len() as u64));
        chunks
    };
    let (mut one, mut two, mut three) = (open(1).await, open(1).await, open(1).await);
    assert!(one.message().await.unwrap().is_some() && two.message().await.unwrap().is_some());
    let mut other = open(2).await;
    assert!(other.message().await.unwrap().is_some(), "another node has turns of its own");
    let early = tokio::time::timeout(Duration::from_millis(200), three.message()).await;
    assert!(early.is_err(), "the third waits");
    drop(one);
    let mut left = large.len();
    while let Some(chunk) = three.message().await.unwrap() {
        left -= chunk.data.len();
    }
    assert_eq!(left, 0);
    drop(two);
}
