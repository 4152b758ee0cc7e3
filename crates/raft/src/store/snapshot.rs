//! The newest snapshot: written whole or not at all, and never replaced by an older one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use openraft::Snapshot as RaftSnapshot;
use rocksdb::WriteBatch;

use super::damaged;
use super::disk::{Disk, SNAPSHOT};
use crate::types::{Snapshot, SnapshotMeta};

const ABOUT: &[u8] = b"about";
const DATA: &[u8] = b"data";

/// The place of the newest snapshot. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Snapshots {
    disk: Arc<Disk>,
    /// Keeps a snapshot built here and one installed from the leader from overtaking each other.
    writing: Arc<Mutex<()>>,
}

impl Snapshots {
    /// The snapshots of an opened store.
    pub(crate) fn new(disk: Arc<Disk>) -> Self {
        Self { disk, writing: Arc::new(Mutex::new(())) }
    }

    /// The newest snapshot.
    pub(crate) fn load(&self) -> io::Result<Option<Snapshot>> {
        let _reading = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(meta) = self.disk.get::<SnapshotMeta>(SNAPSHOT, ABOUT)? else { return Ok(None) };
        match self.disk.get_bytes(SNAPSHOT, DATA)? {
            None => Err(damaged("the data of the snapshot is missing")),
            Some(data) => Ok(Some(RaftSnapshot { meta, snapshot: Bytes::from(data) })),
        }
    }

    /// Makes a snapshot durable. Blocks.
    pub(crate) fn save(&self, meta: &SnapshotMeta, data: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest: Option<SnapshotMeta> = self.disk.get(SNAPSHOT, ABOUT)?;
        if newest.is_some_and(|newest| newest.last_log_id > meta.last_log_id) {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        self.disk.put(&mut batch, SNAPSHOT, ABOUT, meta);
        self.disk.put_bytes(&mut batch, SNAPSHOT, DATA, data);
        self.disk.write_durable(batch)
    }
}
