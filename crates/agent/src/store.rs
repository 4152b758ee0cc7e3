//! Stored artifacts: files named by the SHA-256 of their content.
//!
//! A file is there only when it is whole, verified and on the disk. An image is a manifest whose chunks
//! are files of their own; it is there only when all of them are, and images share equal chunks. Other
//! nodes read manifests and chunks alike, by digest. What is in an artifact otherwise, and who needs it,
//! is not known here.

mod fetch;
mod hold;
mod manifest;
mod open;
mod room;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use temps_core::model::{Artifact, Form};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{OwnedMutexGuard, watch};

pub use fetch::Fetch;
pub(crate) use hold::Hold;
pub(crate) use manifest::{Entry, Kind, Manifest, PIECE, Piece, is_image_id};
pub(crate) use room::check as room_on;
pub use room::{MARGIN, NoRoom, free_space};

use crate::files;
use shelf::{Shelf, Stored};

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
    /// The content is what its name says, and cannot be used.
    #[error("the manifest of the image was refused: {0}")]
    Refused(String),
    /// The disk is too full.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Nobody who has it could be reached, or the disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Stored artifacts.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    shelf: Mutex<Shelf>,
    /// Who writes a file that several may want at a time.
    turns: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
    changed: watch::Sender<()>,
}

impl Store {
    /// Opens or creates the directory `dir`. What was not completely stored is thrown away, except for
    /// fetches, which go on where they were.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        let shelf = Mutex::new(open::shelf(&dir)?);
        Ok(Self { dir, shelf, turns: Mutex::default(), changed: watch::Sender::new(()) })
    }

    /// Whether an artifact is stored, completely.
    #[must_use]
    pub fn has(&self, digest: &str) -> bool {
        self.shelf().has(digest)
    }

    /// Digests of all stored artifacts.
    #[must_use]
    pub fn list(&self) -> BTreeSet<String> {
        self.shelf().list()
    }

    /// Digests of all stored artifacts and of images that are stored in part.
    #[must_use]
    pub fn known(&self) -> BTreeSet<String> {
        self.shelf().known()
    }

    /// The space that everything here takes, in bytes; parts of single files excluded.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shelf().bytes()
    }

    /// Free space on the disk of the store, in bytes.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn free(&self) -> io::Result<u64> {
        free_space(&self.dir)
    }

    /// Refuses where the disk of the store has not that many bytes free, and [`MARGIN`] more.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn room_for(&self, bytes: u64) -> Result<(), NoRoom> {
        room::check(&self.dir, bytes)
    }

    /// Tells when the list has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Stores what comes, and returns once it is verified and on the disk. What is stored already is
    /// not read from the stream. An image cannot come this way, since it is more than one file.
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
        if artifact.form != Form::Bundle {
            return Err(StoreError::Refused("an image is fetched chunk by chunk".to_owned()));
        }
        let incoming = tempfile::NamedTempFile::new_in(self.dir.join(INCOMING))?;
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
        self.take(incoming.path(), artifact).await?;
        // It has another name now; there is nothing left to remove under the old one.
        let _ = incoming.into_temp_path().keep();
        Ok(())
    }

    /// The content of an artifact or a chunk from `offset` on.
    ///
    /// # Errors
    /// It is not stored, or cannot be read.
    pub async fn read(&self, digest: &str, offset: u64) -> io::Result<Chunks> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{digest} is not stored here"));
        let path = self.find(digest).ok_or_else(missing)?;
        if offset == 0 && !self.has(digest) && hash_of(path.clone()).await? != digest {
            // Whoever asks gets it from another node then, and so does this one.
            tracing::warn!(digest, "a stored chunk is damaged");
            self.spoil(digest);
            return Err(missing());
        }
        let mut file = File::open(path).await?;
        file.seek(SeekFrom::Start(offset)).await?;
        Ok(Box::pin(futures_util::stream::try_unfold(file, |mut file| async move {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let n = file.read_buf(&mut chunk).await?;
            Ok((n > 0).then(|| (chunk.freeze(), file)))
        })))
    }

    /// The file of an artifact or a chunk, where it is stored.
    #[must_use]
    pub fn find(&self, digest: &str) -> Option<PathBuf> {
        let shelf = self.shelf();
        match shelf.stored(digest) {
            Some(stored) => Some(self.dir.join(stored.dir()).join(digest)),
            None => shelf.chunk(digest).map(|_| self.chunk_path(digest)),
        }
    }

    /// The size of an artifact's file or of a chunk in bytes, where it is stored.
    #[must_use]
    pub fn size_of(&self, digest: &str) -> Option<u64> {
        let shelf = self.shelf();
        shelf.stored(digest).map(Stored::bytes).or_else(|| shelf.chunk(digest))
    }

    /// The file of an artifact, where a bundle has it if it is not stored.
    #[must_use]
    pub fn path(&self, digest: &str) -> PathBuf {
        self.find(digest).unwrap_or_else(|| self.dir.join(digest))
    }

    /// Removes a stored artifact; of an image also the chunks that nothing else needs. Who is reading it
    /// reads on.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub async fn delete(&self, digest: &str) -> Result<(), StoreError> {
        check_digest(digest)?;
        let removed = self.shelf().remove(&self.dir, digest);
        self.changed.send_replace(());
        Ok(removed?)
    }

    /// Counts an artifact as not stored from now on.
    pub(crate) fn hide(&self, digest: &str) {
        self.shelf().hide(digest);
        self.changed.send_replace(());
    }

    /// Takes a damaged chunk or manifest away. The images that it belongs to count as not stored until
    /// it was fetched again; their other chunks stay.
    pub(crate) fn spoil(&self, digest: &str) {
        if let Err(error) = self.shelf().spoil(&self.dir, digest) {
            tracing::warn!(digest, %error, "a damaged file cannot be removed");
        }
        self.changed.send_replace(());
    }

    /// Throws away what was fetched of artifacts that are neither stored nor in `keep`, and that nobody
    /// fetches now.
    ///
    /// # Errors
    /// Something cannot be listed or removed.
    pub fn tidy(&self, keep: &BTreeSet<String>) -> io::Result<()> {
        for entry in std::fs::read_dir(self.dir.join(PARTIAL))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if is_digest(&name) && !keep.contains(&name) && !self.is_busy(&name) {
                self.shelf().give_up(&self.dir, &name)?;
            }
        }
        Ok(())
    }

    /// Makes a verified file of this directory a stored artifact.
    async fn take(&self, file: &Path, artifact: &Artifact) -> io::Result<()> {
        fs::rename(file, self.dir.join(&artifact.digest)).await?;
        sync_dir(self.dir.clone()).await?;
        self.shelf().add(&self.dir, &artifact.digest, Stored::File { bytes: artifact.bytes });
        self.changed.send_replace(());
        Ok(())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chunk_path(&self, digest: &str) -> PathBuf {
        self.dir.join(CHUNKS).join(digest)
    }

    /// Waits until nobody else writes the file of this digest.
    async fn turn(&self, digest: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(digest).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(digest.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }

    fn is_busy(&self, digest: &str) -> bool {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(digest).is_some_and(|turn| turn.strong_count() > 0)
    }
}

/// Where things are, below the directory of the store; bundles are in the directory itself.
const INCOMING: &str = "incoming";
const PARTIAL: &str = "partial";
const IMAGES: &str = "images";
const CHUNKS: &str = "chunks";
const PARTIAL_CHUNKS: &str = "partial-chunks";

pub(crate) fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_digest(digest: &str) -> Result<(), StoreError> {
    if is_digest(digest) { Ok(()) } else { Err(StoreError::NotADigest(digest.to_owned())) }
}

async fn sync_dir(dir: PathBuf) -> io::Result<()> {
    tokio::task::spawn_blocking(move || files::sync_dir(&dir)).await.map_err(io::Error::other)?
}

/// The digest of a file.
pub(crate) async fn hash_of(path: PathBuf) -> io::Result<String> {
    let hashing = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
        Ok(hex::encode(hash.finalize()))
    });
    hashing.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
