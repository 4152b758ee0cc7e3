//! The log and the vote, as openraft wants them kept.
//!
//! An append and a vote are acknowledged after the disk has them. The commit and purge points are
//! written without waiting: losing the newest of them in a power failure only makes a node apply or
//! purge again.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use rocksdb::WriteBatch;

use super::disk::{Disk, LOG, META};
use super::sync::{Syncer, Waiter};
use super::{COMMITTED, PURGED, VOTE, damaged};
use crate::types::{LogEntry, LogId, TypeConfig, Vote};

/// How many bytes of entries one message to a follower may carry, unless its first entry has more.
const BATCH_MAX: usize = 1024 * 1024;

/// The log of one node. Clones are readers of the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<Disk>,
    syncer: Syncer,
    ends: Mutex<Ends>,
}

/// What is asked for often, so that it need not be read from disk.
#[derive(Clone, Default)]
struct Ends {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
}

impl LogStore {
    /// The log in an opened store.
    pub(crate) fn load(disk: Arc<Disk>) -> io::Result<Self> {
        let purged: Option<LogId> = disk.get(META, PURGED)?;
        let last = disk.last::<LogEntry>(LOG)?.map(|entry| entry.log_id);
        let ends = Ends { vote: disk.get(META, VOTE)?, purged, last: last.max(purged) };
        let syncer = Syncer::start(Arc::clone(&disk))?;
        Ok(Self { inner: Arc::new(Inner { disk, syncer, ends: Mutex::new(ends) }) })
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.inner.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries of `[start, end)` that are there, at most about `bytes` of them and at least one.
    fn read(&self, start: u64, end: u64, bytes: usize) -> io::Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        if start >= end {
            return Ok(entries);
        }
        let (mut size, mut hole) = (0, None);
        self.inner.disk.scan(LOG, &start.to_be_bytes(), |_, entry: LogEntry, length| {
            let index = entry.log_id.index;
            if index >= end || (size > 0 && size + length > bytes) {
                return false;
            }
            if entries.last().is_some_and(|before: &LogEntry| before.log_id.index + 1 != index) {
                hole = Some(index);
                return false;
            }
            size += length;
            entries.push(entry);
            true
        })?;
        hole.map_or(Ok(entries), |index| Err(damaged(&format!("the log entry before {index} is missing"))))
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<LogEntry>> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        self.read(start, end, BATCH_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.ends().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let ends = self.ends();
        Ok(LogState { last_purged_log_id: ends.purged, last_log_id: ends.last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        self.inner.disk.put(&mut batch, META, VOTE, vote);
        self.inner.disk.write(batch)?;
        self.inner.syncer.sync().await?;
        self.ends().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        self.inner.disk.put(&mut batch, META, COMMITTED, &committed);
        self.inner.disk.write(batch)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.inner.disk.get::<Option<LogId>>(META, COMMITTED)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batch = WriteBatch::default();
        let mut last = None;
        for entry in entries {
            self.inner.disk.put(&mut batch, LOG, &entry.log_id.index.to_be_bytes(), &entry);
            last = Some(entry.log_id);
        }
        self.inner.disk.write(batch)?;
        if last.is_some() {
            self.ends().last = last;
        }
        self.inner.syncer.after_sync(Waiter::Append(callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.map_or(0, |id| id.index + 1);
        let mut batch = WriteBatch::default();
        self.inner.disk.remove_range(&mut batch, LOG, from.to_be_bytes(), u64::MAX.to_be_bytes());
        self.inner.disk.write(batch)?;
        {
            let mut ends = self.ends();
            ends.last = ends.last.min(last_log_id).max(ends.purged);
        }
        self.inner.syncer.sync().await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let from = self.ends().purged.map_or(0, |id| id.index + 1);
        let end = from.max(log_id.index + 1);
        let mut batch = WriteBatch::default();
        self.inner.disk.put(&mut batch, META, PURGED, &log_id);
        self.inner.disk.remove_range(&mut batch, LOG, from.to_be_bytes(), end.to_be_bytes());
        self.inner.disk.write(batch)?;
        let mut ends = self.ends();
        ends.purged = Some(log_id);
        ends.last = ends.last.max(Some(log_id));
        Ok(())
    }
}
