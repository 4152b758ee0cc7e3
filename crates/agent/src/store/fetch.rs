//! Getting an artifact from nodes that have it, going on where the last one stopped.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use temps_core::model::{Artifact, Form, NodeId};
use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::manifest::MANIFEST_BYTES;
use super::{
    CHUNKS, Chunks, IMAGES, Manifest, PARTIAL, PARTIAL_CHUNKS, Piece, Store, StoreError, check_digest,
    hash_of, sync_dir,
};

/// A holder that sends nothing for so long is given up for the next one.
const SILENCE: Duration = if cfg!(test) { Duration::from_secs(3) } else { Duration::from_secs(20) };

/// How artifacts are read from other nodes.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// The content of an artifact or a chunk from `offset` on, from the first of `from` that can be reached.
    ///
    /// # Errors
    /// None of them can be reached, or none has it.
    async fn fetch(&self, from: &[NodeId], digest: &str, offset: u64) -> io::Result<Chunks>;
}

/// Where to fetch from, and how.
struct Source<'a> {
    /// The next to try first.
    holders: Vec<NodeId>,
    fetch: &'a dyn Fetch,
}

impl Store {
    /// Gets an artifact; of an image, only the chunks that are not here. Each of `holders` is tried first
    /// once for each file; what came before an error is kept, also over a restart.
    ///
    /// # Errors
    /// [`StoreError`]; calling again goes on where it was.
    pub async fn fetch(
        &self,
        artifact: &Artifact,
        holders: &[NodeId],
        fetch: &dyn Fetch,
    ) -> Result<(), StoreError> {
        check_digest(&artifact.digest)?;
        if self.has(&artifact.digest) {
            return Ok(());
        }
        let _turn = self.turn(&artifact.digest).await;
        if self.has(&artifact.digest) {
            return Ok(());
        }
        let mut source = Source { holders: holders.to_vec(), fetch };
        let path = self.dir.join(PARTIAL).join(&artifact.digest);
        match artifact.form {
            Form::Bundle => {
                source.get(&path, &artifact.digest, artifact.bytes).await?;
                Ok(self.take(&path, artifact).await?)
            }
            Form::Image { .. } => self.fetch_image(artifact, &mut source, &path).await,
        }
    }

    async fn fetch_image(
        &self,
        artifact: &Artifact,
        source: &mut Source<'_>,
        path: &Path,
    ) -> Result<(), StoreError> {
        if artifact.bytes > MANIFEST_BYTES {
            return Err(StoreError::Refused(format!("it has more than {MANIFEST_BYTES} bytes")));
        }
        source.get(path, &artifact.digest, artifact.bytes).await?;
        let bytes = fs::read(path).await?;
        let checked = Manifest::parse(&bytes).and_then(|m| m.check_against(artifact).map(|()| m));
        let manifest = match checked {
            Ok(manifest) => manifest,
            Err(why) => {
                self.shelf().give_up(&self.dir, &artifact.digest)?;
                return Err(StoreError::Refused(why));
            }
        };
        let chunks: BTreeSet<_> = manifest.chunks().into_keys().collect();
        self.shelf().begin(&artifact.digest, chunks);
        let missing = self.missing(&manifest);
        self.room_for(missing.iter().map(|piece| piece.bytes).sum())?;
        for piece in missing {
            self.fetch_chunk(piece, source).await?;
        }
        sync_dir(self.dir.join(CHUNKS)).await?;
        if !self.shelf().finish(&self.dir, &artifact.digest, artifact.bytes)? {
            // One of them was found to be damaged meanwhile.
            return Err(io::Error::new(io::ErrorKind::Interrupted, "a chunk is missing again").into());
        }
        sync_dir(self.dir.join(IMAGES)).await?;
        self.changed.send_replace(());
        Ok(())
    }

    /// The chunks that are not here, each once, in the order in which they are needed.
    fn missing<'a>(&self, manifest: &'a Manifest) -> Vec<&'a Piece> {
        let shelf = self.shelf();
        let mut seen = BTreeSet::new();
        let is_missing = |piece: &&Piece| shelf.chunk(&piece.digest) != Some(piece.bytes);
        manifest.pieces().filter(is_missing).filter(|piece| seen.insert(&piece.digest)).collect()
    }

    async fn fetch_chunk(&self, piece: &Piece, source: &mut Source<'_>) -> Result<(), StoreError> {
        let _turn = self.turn(&piece.digest).await;
        if self.shelf().chunk(&piece.digest) == Some(piece.bytes) {
            return Ok(());
        }
        let path = self.dir.join(PARTIAL_CHUNKS).join(&piece.digest);
        source.get(&path, &piece.digest, piece.bytes).await?;
        self.shelf().put(&self.dir, &path, &piece.digest, piece.bytes)?;
        Ok(())
    }
}

impl Source<'_> {
    /// Completes the file at `path`, verified and on the disk.
    async fn get(&mut self, path: &Path, digest: &str, bytes: u64) -> Result<(), StoreError> {
        let mut file = OpenOptions::new().append(true).create(true).open(path).await?;
        if file.metadata().await?.len() == bytes && is_verified(&mut file, path, digest).await? {
            return Ok(());
        }
        let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "no node has it").into());
        for _ in 0..self.holders.len() {
            outcome = self.get_from_first(path, digest, bytes).await;
            if outcome.is_ok() {
                break;
            }
            self.holders.rotate_left(1);
        }
        outcome
    }

    async fn get_from_first(&self, path: &Path, digest: &str, bytes: u64) -> Result<(), StoreError> {
        let mut file = OpenOptions::new().append(true).create(true).open(path).await?;
        let mut got = file.metadata().await?.len();
        if got >= bytes {
            // It was complete, and wrong.
            file.set_len(0).await?;
            got = 0;
        }
        let mut content = heard(self.fetch.fetch(&self.holders, digest, got)).await?;
        loop {
            let chunk = match heard(content.try_next()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    file.flush().await?;
                    return Err(error.into());
                }
            };
            got += chunk.len() as u64;
            if got > bytes {
                break;
            }
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        if got < bytes {
            return Err(StoreError::Size { expected: bytes, got });
        }
        if got > bytes || !is_verified(&mut file, path, digest).await? {
            // Nobody knows which part is wrong.
            fs::remove_file(path).await?;
            return Err(StoreError::Mismatch(digest.to_owned()));
        }
        Ok(())
    }
}

/// What a node answers, unless it is silent for too long.
async fn heard<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let silent = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "the node that has it sends nothing"));
    tokio::time::timeout(SILENCE, answer).await.unwrap_or_else(silent)
}

/// Whether a complete file is what its name says; it is on the disk then.
async fn is_verified(file: &mut fs::File, path: &Path, digest: &str) -> io::Result<bool> {
    file.sync_all().await?;
    Ok(hash_of(path.to_owned()).await? == digest)
}
