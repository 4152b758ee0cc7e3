//! What a node keeps on disk: the log, the vote, and the newest snapshot.
//!
//! What the entries and the state mean is not known here.

mod disk;
mod log;
mod record;
mod snapshot;
mod sync;

use std::io;
use std::path::Path;
use std::sync::Arc;

use rocksdb::WriteBatch;

use crate::types::{LogEntry, LogId};
use disk::{Disk, LOG, META, SNAPSHOT};

pub(crate) use disk::Disk as Database;
pub(crate) use log::LogStore;
pub(crate) use snapshot::Snapshots;

#[cfg(test)]
mod tests;

const OWNER: &[u8] = b"owner";
const VOTE: &[u8] = b"vote";
const COMMITTED: &[u8] = b"committed";
const PURGED: &[u8] = b"purged";

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Owner {
    /// The node.
    pub(crate) node: u64,
    /// Drawn when the store was created.
    pub(crate) store: u64,
}

/// Opens or creates the store of `node` at `path`, and checks every record in it.
///
/// Damage is noticed here, with the name of the record, and not weeks later when a follower asks.
pub(crate) fn open(path: &Path, node: u64) -> io::Result<(Arc<Database>, Owner)> {
    let disk = Disk::open(path)?;
    let records = disk.check(META)? + disk.check(SNAPSHOT)?;
    let owner = match disk.get::<Owner>(META, OWNER)? {
        Some(owner) => owner,
        None if records > 0 => return Err(damaged("the record of the store's owner is missing")),
        None => create(&disk, node)?,
    };
    check_log(&disk)?;
    Ok((Arc::new(disk), owner))
}

fn create(disk: &Disk, node: u64) -> io::Result<Owner> {
    let owner = Owner { node, store: rand::random() };
    let mut batch = WriteBatch::default();
    disk.put(&mut batch, META, OWNER, &owner);
    disk.write_durable(batch)?;
    Ok(owner)
}

/// Reads the whole log: each entry must decode, and none may be missing.
fn check_log(disk: &Disk) -> io::Result<()> {
    let purged: Option<LogId> = disk.get(META, PURGED)?;
    let mut next = purged.map_or(0, |id| id.index + 1);
    let mut wrong = None;
    disk.scan(LOG, &[], |key, entry: LogEntry, _| {
        if key != next.to_be_bytes() || entry.log_id.index != next {
            wrong =
                Some(format!("log entry {next} is missing, {} was found in its place", entry.log_id.index));
            return false;
        }
        next += 1;
        true
    })?;
    wrong.map_or(Ok(()), |why| Err(damaged(&why)))
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
