use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use temps_core::command::{Command, NewNode, Observation};
use temps_core::model::{
    Artifact, ClusterState, Endpoint, InstanceId, NodeId, Phase, ProcessSpec, Seen, Source, Spec,
};
use temps_ledger::{Ledger, MemoryLedger, Proposal};
use tokio_util::sync::CancellationToken;

use super::{Control, lease};

pub(crate) async fn write(ledger: &MemoryLedger, command: Command) {
    let receipt = ledger.propose(Proposal { key: None, by: "test".to_owned(), command }).await.unwrap();
    receipt.made().unwrap();
}

pub(crate) fn node(name: &str) -> NewNode {
    NewNode {
        name: name.to_owned(),
        control: String::new(),
        edge_peer: String::new(),
        edge_http: String::new(),
        version: String::new(),
        fingerprint: name.to_owned(),
        token_hash: None,
    }
}

async fn founded() -> Arc<MemoryLedger> {
    let ledger = Arc::new(MemoryLedger::new(NodeId(1), ClusterState::default()));
    write(&ledger, Command::Found { domain: "localhost".to_owned(), token_hash: "00".to_owned() }).await;
    write(&ledger, Command::AddNode(node("n1"))).await;
    ledger
}

#[tokio::test]
async fn a_deployment_is_driven_to_its_end() {
    let ledger = founded().await;
    let shutdown = CancellationToken::new();
    let control = Control::new(ledger.clone(), Duration::from_secs(15));
    let running = tokio::spawn(control.run(shutdown.clone()));
    let mut spec = Spec::default();
    spec.rollback.watch = 10;
    let web = ProcessSpec { command: "./web".to_owned(), http: true, instances: 1, ..ProcessSpec::default() };
    spec.processes.insert("web".to_owned(), web);
    write(
        &ledger,
        Command::Deploy {
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            source: Source::Bundle { bundle: Artifact::bundle("a".repeat(64), 1) },
            spec,
            supersede: false,
        },
    )
    .await;

    let mut changes = ledger.changes();
    let wait = changes.wait_for(|_| !ledger.state().instances.is_empty());
    tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap().unwrap();
    let ready = Observation::Instance {
        instance: InstanceId(1),
        seen: Seen::Ready,
        endpoint: Some(Endpoint { address: "127.0.0.1:1".to_owned(), incarnation: "1".to_owned() }),
        attempts: 2,
        last_check: None,
        log_tail: Vec::new(),
        exit: None,
    };
    let applied = Observation::Applied { index: u64::MAX };
    for (seq, observation) in [(1, ready), (2, applied.clone())] {
        let observations = vec![observation];
        write(&ledger, Command::Report { node: NodeId(1), boot: 1, seq, observations }).await;
    }
    // The edge serves the admission only after it was made.
    let admitted = changes.wait_for(|_| ledger.state().instances[&InstanceId(1)].admitted.is_some());
    tokio::time::timeout(Duration::from_secs(5), admitted).await.unwrap().unwrap();
    write(&ledger, Command::Report { node: NodeId(1), boot: 1, seq: 3, observations: vec![applied] }).await;

    let ended = changes.wait_for(|_| ledger.state().deployments.values().all(|d| d.phase.is_terminal()));
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap().unwrap();
    let phases: Vec<_> = ledger.state().deployments.values().map(|d| d.phase).collect();
    assert_eq!(phases, [Phase::Succeeded]);
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_node_is_lost_after_its_lease_and_back_when_heard() {
    let ledger = founded().await;
    let lease = Duration::from_secs(10);
    let silent = |seconds| BTreeMap::from([(NodeId(1), Duration::from_secs(seconds))]);
    assert_eq!(lease::liveness(&ledger.state(), NodeId(9), &silent(9), lease), None);
    let lost = lease::liveness(&ledger.state(), NodeId(9), &silent(11), lease);
    assert_eq!(lost, Some(Command::Liveness { lost: vec![NodeId(1)], back: vec![] }));
    write(&ledger, lost.unwrap()).await;
    assert_eq!(lease::liveness(&ledger.state(), NodeId(9), &silent(7), lease), None);
    let back = lease::liveness(&ledger.state(), NodeId(9), &silent(1), lease);
    assert_eq!(back, Some(Command::Liveness { lost: vec![], back: vec![NodeId(1)] }));
}

#[tokio::test]
async fn a_lost_node_that_leads_counts_again() {
    let ledger = founded().await;
    write(&ledger, Command::Liveness { lost: vec![NodeId(1)], back: vec![] }).await;
    // Nobody measures the silence of the leader itself.
    let back = lease::liveness(&ledger.state(), NodeId(1), &BTreeMap::new(), Duration::from_secs(10));
    assert_eq!(back, Some(Command::Liveness { lost: vec![], back: vec![NodeId(1)] }));
}
