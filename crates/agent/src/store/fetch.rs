//! Getting an artifact from nodes that have it, going on where the last one stopped.

use std::io;

use async_trait::async_trait;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use temps_core::model::{Artifact, NodeId};
use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::{Chunks, Store, StoreError, check_digest};

/// How artifacts are read from other nodes.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// The content of an artifact from `offset` on, from the first of `from` that can be reached.
    ///
    /// # Errors
    /// None of them can be reached, or none has it.
    async fn fetch(&self, from: &[NodeId], digest: &str, offset: u64) -> io::Result<Chunks>;
}

impl Store {
    /// Gets an artifact. Each of `holders` is tried first once; what came before an error is kept, also
    /// over a restart.
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
        let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "no node has it").into());
        let mut from = holders.to_vec();
        for _ in holders {
            outcome = self.fetch_once(artifact, &from, fetch).await;
            if outcome.is_ok() {
                return Ok(());
            }
            from.rotate_left(1);
        }
        outcome
    }

    async fn fetch_once(
        &self,
        artifact: &Artifact,
        from: &[NodeId],
        fetch: &dyn Fetch,
    ) -> Result<(), StoreError> {
        let path = self.dir.join("partial").join(&artifact.digest);
        let mut file = OpenOptions::new().append(true).create(true).open(&path).await?;
        let mut got = file.metadata().await?.len();
        if got > artifact.bytes {
            file.set_len(0).await?;
            got = 0;
        }
        if got < artifact.bytes {
            let mut content = fetch.fetch(from, &artifact.digest, got).await?;
            while let Some(chunk) = content.next().await {
                let chunk = chunk?;
                got += chunk.len() as u64;
                if got > artifact.bytes {
                    break;
                }
                file.write_all(&chunk).await?;
            }
        }
        file.sync_all().await?;
        if got < artifact.bytes {
            return Err(StoreError::Size { expected: artifact.bytes, got });
        }
        if got > artifact.bytes || digest_of(path.clone()).await? != artifact.digest {
            // Nobody knows which part is wrong.
            fs::remove_file(&path).await?;
            return Err(StoreError::Mismatch(artifact.digest.clone()));
        }
        self.take(&path, &artifact.digest).await?;
        Ok(())
    }
}

async fn digest_of(path: std::path::PathBuf) -> io::Result<String> {
    let hashing = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
        Ok(hex::encode(hash.finalize()))
    });
    hashing.await.map_err(io::Error::other)?
}
