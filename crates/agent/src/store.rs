//! Stored artifacts: files named by the SHA-256 of their content.
//!
//! A file is there only when it is whole, verified and on the disk. What is in an artifact, and who needs
//! it, is not known here.

mod fetch;

use std::collections::BTreeSet;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use temps_core::model::Artifact;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::watch;

pub use fetch::Fetch;

use crate::files;

/// How much is read at once, in bytes.
const CHUNK: usize = 128 * 1024;

/// The content of an artifact, or the rest of it.
pub type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Why an artifact was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name is not 64 lower-case hexadecimal digits.
    #[error("{0:?} is not a SHA-256 digest")]
    NotADigest(String),
    /// The content is not what its name says: send it again.
    #[error("the content does not have the digest {0}")]
    Mismatch(String),
    /// The size is not what was announced.
    #[error("{got} bytes came instead of {expected}")]
    Size {
        /// What was announced.
        expected: u64,
        /// What came, at least.
        got: u64,
    },
    /// Nobody who has it could be reached, or the disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Stored artifacts.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    stored: Mutex<BTreeSet<String>>,
    changed: watch::Sender<()>,
}

impl Store {
    /// Opens or creates the directory `dir`. What was not completely stored is thrown away, except for
    /// fetches, which go on where they were.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        files::private_dir(&dir.join("partial"))?;
        files::remove_tree(&dir.join("incoming"))?;
        files::private_dir(&dir.join("incoming"))?;
        let mut stored = BTreeSet::new();
        for entry in std::fs::read_dir(&dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if is_digest(&name) {
                stored.insert(name);
            }
        }
        Ok(Self { dir, stored: Mutex::new(stored), changed: watch::Sender::new(()) })
    }

    /// Whether an artifact is stored.
    #[must_use]
    pub fn has(&self, digest: &str) -> bool {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    /// Digests of all stored artifacts.
    #[must_use]
    pub fn list(&self) -> BTreeSet<String> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells when the list has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Stores what comes, and returns once it is verified and on the disk. What is stored already is
    /// not read from the stream.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is stored then.
    pub async fn store<S>(&self, artifact: &Artifact, content: S) -> Result<(), StoreError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send,
    {
        check_digest(&artifact.digest)?;
        if self.has(&artifact.digest) {
            return Ok(());
        }
        let incoming = tempfile::NamedTempFile::new_in(self.dir.join("incoming"))?;
        let mut file = File::from_std(incoming.reopen()?);
        let mut hash = Sha256::new();
        let mut got = 0;
        let mut content = std::pin::pin!(content);
        while let Some(chunk) = content.next().await {
            let chunk = chunk?;
            got += chunk.len() as u64;
            if got > artifact.bytes {
                return Err(StoreError::Size { expected: artifact.bytes, got });
            }
            hash.update(&chunk);
            file.write_all(&chunk).await?;
        }
        if got != artifact.bytes {
            return Err(StoreError::Size { expected: artifact.bytes, got });
        }
        if hex::encode(hash.finalize()) != artifact.digest {
            return Err(StoreError::Mismatch(artifact.digest.clone()));
        }
        file.sync_all().await?;
        self.take(incoming.path(), &artifact.digest).await?;
        // It has another name now; there is nothing left to remove under the old one.
        let _ = incoming.into_temp_path().keep();
        Ok(())
    }

    /// The content from `offset` on.
    ///
    /// # Errors
    /// It is not stored, or cannot be read.
    pub async fn read(&self, digest: &str, offset: u64) -> io::Result<Chunks> {
        if !self.has(digest) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{digest} is not stored here")));
        }
        let mut file = File::open(self.path(digest)).await?;
        file.seek(SeekFrom::Start(offset)).await?;
        Ok(Box::pin(futures_util::stream::try_unfold(file, |mut file| async move {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let n = file.read_buf(&mut chunk).await?;
            Ok((n > 0).then(|| (chunk.freeze(), file)))
        })))
    }

    /// The file of an artifact.
    #[must_use]
    pub fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(digest)
    }

    /// Removes an artifact. Who is reading it reads on.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub async fn delete(&self, digest: &str) -> Result<(), StoreError> {
        check_digest(digest)?;
        self.hide(digest);
        match fs::remove_file(self.path(digest)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Counts an artifact as not stored from now on.
    pub(crate) fn hide(&self, digest: &str) {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
        self.changed.send_replace(());
    }

    /// Makes a verified file of this directory a stored artifact.
    async fn take(&self, file: &Path, digest: &str) -> io::Result<()> {
        fs::rename(file, self.path(digest)).await?;
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || files::sync_dir(&dir)).await.map_err(io::Error::other)??;
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned());
        self.changed.send_replace(());
        Ok(())
    }
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_digest(digest: &str) -> Result<(), StoreError> {
    if is_digest(digest) { Ok(()) } else { Err(StoreError::NotADigest(digest.to_owned())) }
}

#[cfg(test)]
mod tests;
