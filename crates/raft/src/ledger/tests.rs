//! What needs a look behind the door: failing stores, half-done changes, entries of the future.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::Membership;
use temps_core::command::{Command, ENTRY_VERSION, Entry};
use temps_core::model::NodeId;
use temps_ledger::{Ledger, LedgerError, Proposal};
use temps_wire::proto::{ProposeRequest, ProposeResponse, ReadIndexResponse};

use super::RaftLedger;
use crate::options::{OpenError, OpenOptions, SnapshotRules, Timings};
use crate::receive::MessageError;
use crate::transport::{Peer, Transport, TransportError};
use crate::types::{Member, Stamped};

struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn raft(&self, _: Peer<'_>, _: &'static str, _: Bytes) -> Result<Bytes, TransportError> {
        Err(TransportError::Unreachable("there is nobody else".to_owned()))
    }

    async fn propose(&self, _: Peer<'_>, _: ProposeRequest) -> Result<ProposeResponse, TransportError> {
        Err(TransportError::Unreachable("there is nobody else".to_owned()))
    }

    async fn read_index(&self, _: Peer<'_>) -> Result<ReadIndexResponse, TransportError> {
        Err(TransportError::Unreachable("there is nobody else".to_owned()))
    }
}

async fn open(data: &Path) -> Result<RaftLedger, OpenError> {
    let options = OpenOptions {
        node: NodeId(1),
        address: "n1.test:7000".to_owned(),
        data: data.to_owned(),
        timings: Timings::default(),
        snapshots: SnapshotRules::default(),
        transport: Arc::new(Nowhere),
    };
    RaftLedger::open(options).await
}

async fn founded(data: &Path) -> RaftLedger {
    let node = open(data).await.unwrap();
    let command = Command::Found { domain: "localhost".to_owned(), token_hash: "0".repeat(64) };
    node.found("test", command).await.unwrap();
    node
}

async fn put(node: &RaftLedger, name: &str) -> Result<(), LedgerError> {
    let command = Command::CreateProject { name: name.to_owned() };
    node.propose(Proposal { key: None, by: "test".to_owned(), command }).await.map(|_| ())
}

async fn fatal(node: &RaftLedger) -> String {
    let mut fatal = node.fatal();
    let why = tokio::time::timeout(Duration::from_secs(10), fatal.wait_for(Option::is_some)).await;
    why.expect("the node stops").unwrap().clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_store_ends_the_node_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let node = founded(directory.path()).await;
    node.inner.raft.trigger().snapshot().await.unwrap();
    let taken = node.inner.raft.wait(Some(Duration::from_secs(10)));
    taken.metrics(|m| m.snapshot.is_some(), "a snapshot").await.unwrap();
    node.inner.disk.upgrade().unwrap().damage("snapshot", b"about", 12);
    put(&node, "shop").await.unwrap();
    node.inner.raft.trigger().snapshot().await.unwrap();
    let why = fatal(&node).await;
    assert!(why.contains("snapshot record \"about\" is damaged"), "{why}");
    assert_eq!(put(&node, "later").await, Err(LedgerError::Closing));
    assert_eq!(node.barrier().await, Err(LedgerError::Closing));
    assert_eq!(node.leadership().borrow().leader, None);
    node.shutdown().await;
    let refused = open(directory.path()).await;
    assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_newer_version_ends_the_node_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let node = founded(directory.path()).await;
    let entry = Entry {
        version: ENTRY_VERSION + 1,
        clock: 0,
        wall: 0,
        key: None,
        by: "test".to_owned(),
        command: Command::CreateProject { name: "shop".to_owned() },
    };
    assert!(node.inner.raft.client_write(Stamped(entry)).await.is_err());
    let why = fatal(&node).await;
    assert!(why.contains("newer version of temps"), "{why}");
    assert!(node.state().project("shop").is_none());
    node.shutdown().await;
    let refused = open(directory.path()).await;
    assert!(matches!(&refused, Err(OpenError::Log { why, .. }) if why.contains("upgrade")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_finishes_a_change_of_the_members() {
    let directory = tempfile::tempdir().unwrap();
    let node = founded(directory.path()).await;
    let member = node.inner.member.clone();
    let twice = vec![[1].into(), [1].into()];
    let joint =
        Membership::<u64, Member>::new(twice, std::collections::BTreeMap::from([(1, member)])).unwrap();
    node.inner.raft.append_membership(joint, openraft::EntryPayload::Blank, []).await.unwrap();
    let membership = node.inner.raft.wait(Some(Duration::from_secs(10)));
    membership.metrics(|m| super::member::is_joint(&m.membership_config), "half done").await.unwrap();
    node.shutdown().await;
    let node = open(directory.path()).await.unwrap();
    let membership = node.inner.raft.wait(Some(Duration::from_secs(10)));
    membership
        .metrics(|m| m.state.is_leader() && !super::member::is_joint(&m.membership_config), "done")
        .await
        .unwrap();
    put(&node, "shop").await.unwrap();
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_node_has_let_go_of_its_files() {
    for found in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let node =
            if found { founded(directory.path()).await } else { open(directory.path()).await.unwrap() };
        node.shutdown().await;
        assert_eq!(node.inner.disk.strong_count(), 0, "founded: {found}");
        std::fs::remove_dir_all(directory.path().join("raft")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let node = founded(directory.path()).await;
    let kinds = ["append", "vote", "pre_vote", "snapshot", "transfer", "hello", "member", "", "Append"];
    let bodies: [&[u8]; 6] =
        [b"", b"\x01", b"\x02\x80", b"\x01\x80", &[0xff; 64], &[0x01, 0xdd, 0xff, 0xff, 0xff, 0xff]];
    for kind in kinds {
        for body in bodies {
            let answer = node.handle_raft(kind, Bytes::copy_from_slice(body)).await;
            assert!(matches!(answer, Err(MessageError::Malformed(_))), "{kind} {body:?}: {answer:?}");
        }
    }
    let request =
        ProposeRequest { key: Some("k".to_owned()), by: "x".to_owned(), command: Bytes::from_static(b"no") };
    assert!(matches!(node.handle_propose(request).await, Err(MessageError::Malformed(_))));
    put(&node, "shop").await.unwrap();
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_has_no_command_in_it() {
    let command = Command::CreateToken(temps_core::command::NewToken {
        name: "x".to_owned(),
        hash: "canary".to_owned(),
        grant: temps_core::model::Role::Admin.into(),
        ttl: None,
    });
    let entry = Entry { version: 1, clock: 0, wall: 0, key: None, by: "test".to_owned(), command };
    let stamped = Stamped(entry);
    assert!(!format!("{stamped} {stamped:?}").contains("canary"));
}
