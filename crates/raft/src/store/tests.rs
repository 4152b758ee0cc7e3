//! openraft's own tests of a store, and what they do not look at: damage and reopening.

use std::io;
use std::path::Path;
use std::sync::Arc;

use openraft::alias::LeaderIdOf;
use openraft::entry::RaftEntry;
use openraft::errors::ErrorSource;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{RaftLogReader, StorageError};
use tempfile::TempDir;

use super::disk::{LOG, META, SNAPSHOT};
use super::{LogStore, Snapshots, open};
use crate::machine::{Published, StateMachine};
use crate::types::{LogEntry, LogId, SnapshotMeta, TypeConfig, Vote};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (disk, _) = open(&directory.path().join("raft"), 0).map_err(|e| broken(&e))?;
        let snapshots = Snapshots::new(Arc::clone(&disk));
        let machine = StateMachine::load(snapshots, Arc::new(Published::new())).map_err(|e| broken(&e))?;
        Ok((directory, LogStore::load(disk).map_err(|e| broken(&e))?, machine))
    }
}

fn broken(error: &io::Error) -> StorageError<TypeConfig> {
    StorageError::read(openraft::impls::BoxedErrorSource::from_string(error))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_the_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderIdOf::<TypeConfig> { term, node_id: 1 }, index)
}

fn blanks(indexes: std::ops::Range<u64>) -> Vec<LogEntry> {
    indexes.map(|index| LogEntry::new_blank(id(1, index))).collect()
}

async fn fill(path: &Path) {
    let (disk, _) = open(path, 1).unwrap();
    let mut log = LogStore::load(disk).unwrap();
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    log.blocking_append(blanks(0..10)).await.unwrap();
    log.save_committed(Some(id(1, 7))).await.unwrap();
}

#[tokio::test]
async fn a_reopened_store_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft");
    fill(&path).await;
    let owner = {
        let (disk, owner) = open(&path, 1).unwrap();
        let mut log = LogStore::load(disk).unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(1, 1)));
        assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 7)));
        assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 10);
        log.purge(id(1, 4)).await.unwrap();
        log.truncate_after(Some(id(1, 8))).await.unwrap();
        owner
    };
    let (disk, again) = open(&path, 1).unwrap();
    assert_eq!(again, owner);
    let mut log = LogStore::load(disk).unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 4)), Some(id(1, 8))));
    let indexes: Vec<u64> =
        log.try_get_log_entries(..).await.unwrap().iter().map(|e| e.log_id.index).collect();
    assert_eq!(indexes, [5, 6, 7, 8]);
}

#[tokio::test]
async fn a_flipped_byte_is_named_and_refused() {
    let damages: [(&str, Vec<u8>, &str); 3] = [
        (LOG, 6_u64.to_be_bytes().to_vec(), "log entry 6 is damaged"),
        (META, b"vote".to_vec(), "\"vote\" is damaged"),
        (META, b"owner".to_vec(), "\"owner\" is damaged"),
    ];
    for (family, key, expected) in damages {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raft");
        fill(&path).await;
        let (disk, _) = open(&path, 1).unwrap();
        disk.damage(family, &key, 12);
        drop(disk);
        let error = open(&path, 1).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_snapshot_is_named_and_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft");
    let (disk, _) = open(&path, 1).unwrap();
    let snapshots = Snapshots::new(Arc::clone(&disk));
    snapshots.save(&SnapshotMeta::default(), &[7; 100]).unwrap();
    disk.damage(SNAPSHOT, b"data", 50);
    assert!(snapshots.load().is_err());
    drop((snapshots, disk));
    let error = open(&path, 1).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("snapshot record \"data\" is damaged"), "{error}");
}

#[tokio::test]
async fn damage_to_the_files_of_the_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft");
    fill(&path).await;
    let wal = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let wal = wal
        .filter(|file| file.extension().is_some_and(|e| e == "log"))
        .max_by_key(|file| std::fs::metadata(file).unwrap().len());
    let wal = wal.unwrap();
    let mut bytes = std::fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x01;
    std::fs::write(&wal, bytes).unwrap();
    let error = open(&path, 1).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("Corruption"), "{error}");
}

#[tokio::test]
async fn a_missing_entry_is_named_and_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft");
    fill(&path).await;
    let (disk, _) = open(&path, 1).unwrap();
    let mut batch = rocksdb::WriteBatch::default();
    disk.remove_range(&mut batch, LOG, 3_u64.to_be_bytes(), 5_u64.to_be_bytes());
    disk.write(batch).unwrap();
    {
        let mut log = LogStore::load(Arc::clone(&disk)).unwrap();
        assert!(log.try_get_log_entries(0..9).await.is_err());
    }
    drop(disk);
    let error = open(&path, 1).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("log entry 3 is missing"), "{error}");
}

#[tokio::test]
async fn an_older_snapshot_never_replaces_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, _) = open(&directory.path().join("raft"), 1).unwrap();
    let snapshots = Snapshots::new(disk);
    let meta = |index| SnapshotMeta { last_log_id: Some(id(1, index)), ..SnapshotMeta::default() };
    snapshots.save(&meta(20), b"new").unwrap();
    snapshots.save(&meta(10), b"old").unwrap();
    assert_eq!(&snapshots.load().unwrap().unwrap().snapshot[..], b"new");
}

#[tokio::test]
async fn large_entries_are_sent_a_few_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, _) = open(&directory.path().join("raft"), 1).unwrap();
    let mut log = LogStore::load(disk).unwrap();
    let large = |index| {
        let entry = temps_core::command::Entry {
            version: 1,
            clock: 0,
            wall: 0,
            key: None,
            by: "x".repeat(700_000),
            command: temps_core::command::Command::CreateProject { name: "shop".to_owned() },
        };
        LogEntry::new_normal(id(1, index), crate::types::Stamped(entry))
    };
    log.append((0..4).map(large).collect::<Vec<_>>(), IOFlushed::noop()).await.unwrap();
    assert_eq!(log.limited_get_log_entries(0, 4).await.unwrap().len(), 1);
    assert_eq!(log.try_get_log_entries(0..4).await.unwrap().len(), 4);
    assert!(log.limited_get_log_entries(2, 2).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_store_is_opened_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft");
    let (disk, _) = open(&path, 1).unwrap();
    let error = open(&path, 1).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("locked by another process"), "{error}");
    drop(disk);
    open(&path, 1).unwrap();
}

#[tokio::test]
async fn the_store_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft");
    fill(&path).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}
