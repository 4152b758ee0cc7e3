use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use temps_core::model::NodeId;
use temps_core::table::{Certificates, Certified};
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use super::{PeerIdentity, serve};
use crate::connect::Dialer;
use crate::identity::{CLUSTER_NAME, NodeIdentity, generate_csr, node_name};
use crate::peers::Peers;
use crate::proto::join_client::JoinClient;
use crate::proto::join_server::{Join, JoinServer};
use crate::proto::{JoinRequest, JoinResponse, ReadIndexRequest};
use crate::shown::Shown;
use crate::tls::{TlsError, node_client_config, pinned_client_config};

/// Answers with the number of the node that asks.
struct Mirror;

#[tonic::async_trait]
impl Join for Mirror {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let peer = request.extensions().get::<PeerIdentity>().expect("the server knows who asks");
        let node = peer.0.map_or(0, |node| node.0);
        Ok(Response::new(JoinResponse { node, ..JoinResponse::default() }))
    }
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), TlsError>>,
}

async fn start(identity: &NodeIdentity) -> Server {
    start_showing(identity, Arc::default()).await
}

async fn start_showing(identity: &NodeIdentity, shown: Arc<Shown>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let identity = identity.clone();
    let running = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        serve(listener, &identity, shown, Routes::new(JoinServer::new(Mirror)), stopped).await
    });
    Server { address, stop, running }
}

async fn ask(server: &Server, name: &str, tls: Arc<ClientConfig>) -> Result<u64, Status> {
    let dialer = Dialer {
        address: server.address.to_string(),
        name: name.to_owned(),
        tls: Ok(tls),
        timeout: Duration::from_secs(5),
    };
    let mut client = JoinClient::new(dialer.channel(Duration::from_secs(5)));
    Ok(client.join(JoinRequest::default()).await?.into_inner().node)
}

/// Another node of the same cluster.
fn admit(identity: &NodeIdentity, node: NodeId) -> NodeIdentity {
    admit_until(identity, node, OffsetDateTime::now_utc() + time::Duration::days(1))
}

fn admit_until(identity: &NodeIdentity, node: NodeId, until: OffsetDateTime) -> NodeIdentity {
    let (csr, key) = generate_csr().unwrap();
    let cert = identity.ca().sign_node_until(&csr, node, until).unwrap();
    NodeIdentity::joined(cert, key, identity.ca_pem.clone(), identity.ca_key_pem.clone()).unwrap()
}

fn found() -> NodeIdentity {
    NodeIdentity::found("test", NodeId(1)).unwrap()
}

#[tokio::test]
async fn a_node_is_known_by_its_certificate_and_others_are_nobody() {
    let first = found();
    let second = admit(&first, NodeId(2));
    let server = start(&first).await;
    let as_node = node_client_config(&second).unwrap();
    assert_eq!(ask(&server, &node_name(NodeId(1)), as_node).await.unwrap(), 2);
    let pinned = pinned_client_config(first.ca_fingerprint().unwrap()).unwrap();
    assert_eq!(ask(&server, CLUSTER_NAME, pinned).await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_refused() {
    let first = found();
    let second = admit(&first, NodeId(2));
    let other = found();
    let server = start(&first).await;
    let expired =
        start(&admit_until(&first, NodeId(3), OffsetDateTime::now_utc() - time::Duration::hours(1))).await;
    let pin = |identity: &NodeIdentity| pinned_client_config(identity.ca_fingerprint().unwrap()).unwrap();

    let cases = [
        ("another cluster's pin", &server, CLUSTER_NAME.to_owned(), pin(&other)),
        ("a pin, and a name that is not in the certificate", &server, node_name(NodeId(2)), pin(&first)),
        ("an expired certificate, by pin", &expired, CLUSTER_NAME.to_owned(), pin(&first)),
        (
            "an expired certificate, by a node",
            &expired,
            node_name(NodeId(3)),
            node_client_config(&second).unwrap(),
        ),
        ("another node's address", &server, node_name(NodeId(2)), node_client_config(&second).unwrap()),
        ("another cluster's node", &server, node_name(NodeId(1)), node_client_config(&other).unwrap()),
    ];
    for (case, server, name, tls) in cases {
        let status = ask(server, &name, tls).await.expect_err(case);
        assert_eq!(status.code(), Code::Unavailable, "{case}: {status}");
    }
}

#[tokio::test]
async fn a_pinned_ca_does_not_vouch_for_a_certificate_that_it_did_not_sign() {
    let (genuine, impostor) = (found(), found());
    // It presents the genuine CA's certificate beside its own, which another CA signed.
    let mixed = NodeIdentity { ca_pem: genuine.ca_pem.clone(), ..impostor };
    let server = start(&mixed).await;
    let pinned = pinned_client_config(genuine.ca_fingerprint().unwrap()).unwrap();
    assert!(ask(&server, CLUSTER_NAME, pinned).await.is_err());
}

#[tokio::test]
async fn a_client_certificate_that_is_not_valid_is_refused() {
    let first = found();
    let server = start(&first).await;
    let hour = time::Duration::hours(1);
    let expired = admit_until(&first, NodeId(2), OffsetDateTime::now_utc() - hour);
    assert!(ask(&server, &node_name(NodeId(1)), node_client_config(&expired).unwrap()).await.is_err());
    // Of another CA, but trusting this one: it fails at the server and nowhere else.
    let stranger = NodeIdentity { ca_pem: first.ca_pem.clone(), ..found() };
    assert!(ask(&server, &node_name(NodeId(1)), node_client_config(&stranger).unwrap()).await.is_err());
}

#[tokio::test]
async fn tls_before_1_3_is_refused() {
    let first = found();
    let server = start(&first).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(crate::identity::pem_to_der("ca", &first.ca_pem).unwrap()).unwrap();
    let mut old =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    old.alpn_protocols = vec![b"h2".to_vec()];
    assert!(ask(&server, CLUSTER_NAME, Arc::new(old)).await.is_err());
}

#[tokio::test]
async fn silent_connections_hold_nobody_up() {
    let first = found();
    let server = start(&first).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let began = Instant::now();
    let pinned = pinned_client_config(first.ca_fingerprint().unwrap()).unwrap();
    ask(&server, CLUSTER_NAME, pinned).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn peers_reach_a_node_again_after_it_restarted() {
    let first = found();
    let peers = Peers::new(&admit(&first, NodeId(2)));
    let server = start(&first).await;
    let address = server.address.to_string();
    // The service is not there, so the answer shows that the connection is.
    let reach = async || {
        let mut client = peers.client(NodeId(1), &address);
        client.read_index(ReadIndexRequest {}).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(reach().await, Code::Unimplemented);
    server.stop.send(()).unwrap();
    server.running.await.unwrap().unwrap();
    assert_ne!(reach().await, Code::Unimplemented);

    let listener = TcpListener::bind(&address).await.unwrap();
    let identity = first.clone();
    tokio::spawn(async move {
        serve(
            listener,
            &identity,
            Arc::default(),
            Routes::new(JoinServer::new(Mirror)),
            std::future::pending(),
        )
        .await
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while reach().await != Code::Unimplemented {
        assert!(Instant::now() < deadline, "the node is not reached again");
    }
}

/// A certificate signed by its own key, as a browser that knows it trusts it.
fn certificate(names: &[&str], not_after: u64) -> (Certified, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap();
    (Certified { names, chain: cert.pem(), key: key.serialize_pem(), not_after }, cert.der().clone())
}

/// Knows one certificate, as browsers know their authorities.
fn browser(trusts: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusts.clone()).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[tokio::test]
async fn who_asks_by_a_name_of_the_cluster_is_shown_its_certificate() {
    let first = found();
    let shown = Arc::new(Shown::default());
    let server = start_showing(&first, Arc::clone(&shown)).await;
    let asked = async |name: &str, tls| ask(&server, name, tls).await;
    let (old, old_root) = certificate(&["shop.example.com"], 1);
    assert!(asked("shop.example.com", browser(&old_root)).await.is_err(), "before there is one");

    let (new, new_root) = certificate(&["shop.example.com", "*.example.com"], 2);
    // Somebody's for the names by which nodes are verified.
    let (thief, thief_root) = certificate(&[CLUSTER_NAME, "node-1.temps.internal", "*.temps.internal"], 3);
    let broken = Certified { chain: "none".to_owned(), not_after: 4, ..new.clone() };
    shown.show(&Certificates(vec![new.clone(), old.clone(), thief, broken]));
    for name in ["shop.example.com", "SHOP.example.com", "other.example.com"] {
        asked(name, browser(&new_root)).await.unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    assert!(asked("shop.example.com", browser(&old_root)).await.is_err(), "the other is valid longer");
    for name in ["a.b.example.com", "example.com"] {
        assert!(asked(name, browser(&new_root)).await.is_err(), "{name}");
    }
    let pinned = pinned_client_config(first.ca_fingerprint().unwrap()).unwrap();
    asked(CLUSTER_NAME, pinned).await.unwrap();
    let as_node = node_client_config(&admit(&first, NodeId(2))).unwrap();
    assert_eq!(asked("node-1.temps.internal", as_node).await.unwrap(), 2);
    assert!(asked(CLUSTER_NAME, browser(&thief_root)).await.is_err());

    shown.show(&Certificates(vec![old]));
    asked("shop.example.com", browser(&old_root)).await.unwrap();
    assert!(asked("other.example.com", browser(&new_root)).await.is_err(), "it was taken away");
}
