use temps_core::command::Command;
use temps_core::model::NodeId;
use temps_ledger::Ledger;
use temps_wire::client::{ClientError, join};
use temps_wire::identity::{NodeIdentity, generate_csr};
use temps_wire::proto::JoinRequest;
use temps_wire::token::JoinToken;

use super::cluster::Cluster;

fn request(name: &str, csr: &[u8]) -> JoinRequest {
    JoinRequest {
        name: name.to_owned(),
        control: "127.0.0.1:7001".to_owned(),
        edge_peer: "127.0.0.1:7002".to_owned(),
        edge_http: "127.0.0.1:7003".to_owned(),
        version: "1".to_owned(),
        csr: csr.to_vec().into(),
        ..JoinRequest::default()
    }
}

async fn join_token(cluster: &Cluster, ttl: u64, uses: u32) -> JoinToken {
    let token = JoinToken::random(cluster.admin.fingerprint());
    cluster.write(Command::CreateJoinToken { hash: token.hash(), ttl, uses }).await;
    token
}

#[tokio::test]
async fn a_machine_joins_once_however_often_it_asks() {
    let cluster = Cluster::start(2).await;
    let token = join_token(&cluster, 60_000, 1).await;
    let (csr, key) = generate_csr().unwrap();
    let first = join(&cluster.nodes[0].address, &token, request("third", &csr)).await.unwrap();
    assert_eq!(first.node, 3);
    let identity = NodeIdentity::joined(first.certificate, key, first.ca, first.ca_key).unwrap();
    assert_eq!(identity.node, NodeId(3));
    let state = cluster.log.state();
    assert_eq!(state.nodes[&NodeId(3)].name, "third");
    assert_eq!(state.nodes[&NodeId(3)].fingerprint, identity.fingerprint().unwrap());

    let again = join(&cluster.nodes[1].address, &token, request("third", &csr)).await.unwrap();
    assert_eq!(again.node, 3);
    let members = cluster.nodes.iter().flat_map(|node| node.echo.members.lock().unwrap().clone());
    assert!(members.into_iter().all(|member| member == (NodeId(3), "127.0.0.1:7001".to_owned())));

    // It is a node now: others answer it.
    let mut client = temps_wire::peers::Peers::new(&identity).client(NodeId(1), &cluster.nodes[0].address);
    client.read_index(temps_wire::proto::ReadIndexRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_join_that_may_not_be_is_refused_with_the_reason() {
    let cluster = Cluster::start(1).await;
    let address = &cluster.nodes[0].address;
    let used = join_token(&cluster, 60_000, 1).await;
    let known = generate_csr().unwrap().0;
    join(address, &used, request("second", &known)).await.unwrap();

    let csr = generate_csr().unwrap().0;
    let unknown = JoinToken::random(cluster.admin.fingerprint());
    let expired = join_token(&cluster, 1, 1).await;
    while cluster.log.now() < cluster.log.state().clock + 5 {
        tokio::task::yield_now().await;
    }
    let good = join_token(&cluster, 60_000, 5).await;
    let cases = [
        (&used, request("third", &csr), "was used already"),
        (&unknown, request("third", &csr), "is unknown"),
        (&expired, request("third", &csr), "has expired"),
        // A known machine's request, shown by somebody without a token.
        (&unknown, request("second", &known), "is unknown"),
    ];
    for (token, request, reason) in cases {
        let why = join(address, token, request).await.unwrap_err();
        assert!(matches!(&why, ClientError::Forbidden { why } if why.contains(reason)), "{reason}: {why}");
    }
    let taken = join(address, &good, request("second", &csr)).await.unwrap_err();
    assert!(matches!(taken, ClientError::Conflict { .. }), "{taken}");
    let damaged = join(address, &good, request("third", b"hello")).await.unwrap_err();
    assert!(matches!(damaged, ClientError::Invalid { .. }), "{damaged}");
    // None of that used it up, and another name helps.
    join(address, &good, request("third", &csr)).await.unwrap();
}

#[tokio::test]
async fn a_joiner_refuses_another_cluster() {
    let cluster = Cluster::start(1).await;
    let other = NodeIdentity::found("other", NodeId(1)).unwrap();
    let token = JoinToken::random(other.ca_fingerprint().unwrap());
    let why = join(&cluster.nodes[0].address, &token, request("x", b"")).await.unwrap_err();
    assert!(matches!(&why, ClientError::Unauthenticated { why } if why.contains("another cluster")), "{why}");
}
