//! The one RocksDB of a node: its column families, its options, and typed, checked records.
//!
//! What the records are for is not known here.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, IteratorMode, LogLevel,
    Options, ReadOptions, WriteBatch, WriteOptions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use temps_wire::codec;
use tokio::sync::watch;

use super::record::{self, RecordError};

/// Entries of the log, by index.
pub(crate) const LOG: &str = "log";
/// Vote, commit and purge point, and whose store it is.
pub(crate) const META: &str = "meta";
/// The newest snapshot.
pub(crate) const SNAPSHOT: &str = "snapshot";

const FAMILIES: [&str; 3] = [LOG, META, SNAPSHOT];

const MIB: usize = 1024 * 1024;

/// A RocksDB with checked records.
pub(crate) struct Disk {
    db: DB,
    path: PathBuf,
    /// Dropped after the database, which tidies up old files before it looks whether somebody uses them.
    _held: File,
    /// Dropped after the database, so that whoever waits for it knows that the files are free.
    open: watch::Sender<()>,
}

impl Disk {
    /// Opens or creates the database at `path`, readable by its owner alone.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        create_private(path)?;
        let held = hold(path)?;
        let families = FAMILIES.map(|name| ColumnFamilyDescriptor::new(name, family_options()));
        let db = DB::open_cf_descriptors(&options(), path, families).map_err(io::Error::other)?;
        Ok(Self { db, path: path.to_owned(), _held: held, open: watch::Sender::new(()) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Closed once the files are.
    pub(crate) fn lifetime(&self) -> watch::Receiver<()> {
        self.open.subscribe()
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("all families were opened")
    }

    /// The value under a key.
    pub(crate) fn get<T: DeserializeOwned>(&self, family: &'static str, key: &[u8]) -> io::Result<Option<T>> {
        match self.get_bytes(family, key)? {
            None => Ok(None),
            Some(bytes) => Ok(Some(decode(family, key, &bytes)?)),
        }
    }

    /// The bytes under a key.
    pub(crate) fn get_bytes(&self, family: &'static str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let stored = self.db.get_cf(self.family(family), key).map_err(io::Error::other)?;
        match stored {
            None => Ok(None),
            Some(stored) => Ok(Some(record::open(family, key, &stored)?.to_vec())),
        }
    }

    /// Calls `visit` with each key and value of a family from `from` on, until it answers false.
    pub(crate) fn scan<T, F>(&self, family: &'static str, from: &[u8], mut visit: F) -> io::Result<()>
    where
        T: DeserializeOwned,
        F: FnMut(&[u8], T, usize) -> bool,
    {
        let mut reading = ReadOptions::default();
        reading.set_iterate_lower_bound(from);
        for item in self.db.iterator_cf_opt(self.family(family), reading, IteratorMode::Start) {
            let (key, stored) = item.map_err(io::Error::other)?;
            let bytes = record::open(family, &key, &stored)?;
            if !visit(&key, decode(family, &key, bytes)?, bytes.len()) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Checks the checksum of every record of a family, and answers how many there are.
    pub(crate) fn check(&self, family: &'static str) -> io::Result<usize> {
        let mut records = 0;
        for item in self.db.iterator_cf(self.family(family), IteratorMode::Start) {
            let (key, stored) = item.map_err(io::Error::other)?;
            record::open(family, &key, &stored)?;
            records += 1;
        }
        Ok(records)
    }

    /// The last value of a family.
    pub(crate) fn last<T: DeserializeOwned>(&self, family: &'static str) -> io::Result<Option<T>> {
        match self.db.iterator_cf(self.family(family), IteratorMode::End).next() {
            None => Ok(None),
            Some(item) => {
                let (key, stored) = item.map_err(io::Error::other)?;
                Ok(Some(decode(family, &key, record::open(family, &key, &stored)?)?))
            }
        }
    }

    /// Adds a value to a batch.
    pub(crate) fn put<T: Serialize>(
        &self,
        batch: &mut WriteBatch,
        family: &'static str,
        key: &[u8],
        value: &T,
    ) {
        self.put_bytes(batch, family, key, &codec::encode(value));
    }

    /// Adds bytes to a batch.
    pub(crate) fn put_bytes(&self, batch: &mut WriteBatch, family: &'static str, key: &[u8], bytes: &[u8]) {
        batch.put_cf(self.family(family), key, record::seal(family, key, bytes));
    }

    /// Adds the removal of the keys from `from` up to and without `to` to a batch.
    pub(crate) fn remove_range(
        &self,
        batch: &mut WriteBatch,
        family: &'static str,
        from: [u8; 8],
        to: [u8; 8],
    ) {
        batch.delete_range_cf(self.family(family), from, to);
    }

    /// Writes a batch: readers see it when this returns, and [`Disk::sync`] makes it durable.
    pub(crate) fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.db.write(batch).map_err(io::Error::other)
    }

    /// Writes a batch and waits until it is durable.
    pub(crate) fn write_durable(&self, batch: WriteBatch) -> io::Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(io::Error::other)
    }

    /// Waits until everything written before is durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.db.flush_wal(true).map_err(io::Error::other)
    }

    /// Writes raw bytes in place of a record.
    #[cfg(test)]
    pub(crate) fn damage(&self, family: &'static str, key: &[u8], at: usize) {
        let mut stored = self.db.get_cf(self.family(family), key).unwrap().unwrap();
        stored[at] ^= 0x10;
        self.db.put_cf(self.family(family), key, stored).unwrap();
    }
}

fn decode<T: DeserializeOwned>(family: &str, key: &[u8], bytes: &[u8]) -> Result<T, RecordError> {
    codec::decode(bytes)
        .map_err(|error| RecordError::Damaged { what: record::name(family, key), why: error.to_string() })
}

/// The log holds the variables of users, so nobody else may read it.
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// Keeps other processes out until the file is closed.
fn hold(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path.join("held"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("it is locked by another process")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(16 * MIB);
    options.set_max_total_wal_size(32 * MIB as u64);
    options.set_max_background_jobs(2);
    options.set_max_open_files(64);
    options.set_keep_log_file_num(3);
    options.set_max_log_file_size(MIB);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_paranoid_checks(true);
    // A write that a crash cut short was never acknowledged and is dropped. Any other damage to the
    // write-ahead log refuses to open, where the default would silently forget what follows it.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

fn family_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(8 * MIB);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}
