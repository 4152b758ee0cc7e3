//! Chunks that must not go while somebody works with them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use temps_core::model::{Artifact, Form};

use super::manifest::MANIFEST_BYTES;
use super::shelf::Stored;
use super::{CHUNKS, IMAGES, INCOMING, Manifest, Piece, Store};
use crate::files;

/// Keeps chunks as long as it lives. Those that nothing else needs go with it.
///
/// Its functions read and write files at once: they are for threads that may wait.
#[derive(Debug)]
pub(crate) struct Hold {
    store: Arc<Store>,
    chunks: BTreeSet<String>,
}

impl Hold {
    /// Holds nothing yet.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, chunks: BTreeSet::new() }
    }

    /// Holds the chunks of a stored image, which it gives as well; `None` where it is not stored, or its
    /// manifest is damaged and was taken away.
    pub(crate) fn of_image(store: Arc<Store>, digest: &str) -> io::Result<Option<(Self, Manifest)>> {
        let mut hold = Self::new(store);
        {
            let mut shelf = hold.store.shelf();
            let Some(Stored::Image { chunks, .. }) = shelf.stored(digest) else { return Ok(None) };
            hold.chunks = chunks.clone();
            shelf.need(hold.chunks.iter());
        }
        let bytes = fs::read(hold.store.dir.join(IMAGES).join(digest))?;
        let manifest = Manifest::parse(&bytes).ok();
        let manifest = manifest.filter(|_| hex::encode(Sha256::digest(&bytes)) == digest);
        if manifest.is_none() {
            hold.store.spoil(digest);
        }
        Ok(manifest.map(|manifest| (hold, manifest)))
    }

    /// Stores a chunk, and says under which digest; whether it is new is told as well.
    pub(crate) fn put(&mut self, chunk: &[u8]) -> io::Result<(String, bool)> {
        let digest = hex::encode(Sha256::digest(chunk));
        if self.chunks.insert(digest.clone()) {
            self.store.shelf().need([&digest].into_iter());
        }
        let known = self.store.shelf().chunk(&digest);
        if known == Some(chunk.len() as u64)
            && fs::read(self.store.chunk_path(&digest)).is_ok_and(|found| found == chunk)
        {
            return Ok((digest, false));
        }
        let file = self.write(chunk)?;
        self.store.shelf().put(&self.store.dir, file.path(), &digest, chunk.len() as u64)?;
        // It has another name now.
        let _ = file.into_temp_path().keep();
        Ok((digest, true))
    }

    /// The content of a chunk as it is stored; `None` where it is damaged or was taken away.
    pub(crate) fn get(&self, piece: &Piece) -> io::Result<Option<Vec<u8>>> {
        let path = self.store.chunk_path(&piece.digest);
        // What is too long is not read to its end.
        let is_right = fs::metadata(&path).is_ok_and(|found| found.len() == piece.bytes);
        match if is_right { fs::read(path) } else { Ok(Vec::new()) } {
            Ok(bytes) if hex::encode(Sha256::digest(&bytes)) == piece.digest => Ok(Some(bytes)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores an image whose chunks were all put here.
    pub(crate) fn publish(self, manifest: &Manifest) -> io::Result<Artifact> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let bytes = serde_json::to_vec(manifest)?;
        // Nobody could fetch what is not acceptable.
        Manifest::parse(&bytes).map_err(invalid)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let size = bytes.len() as u64;
        debug_assert!(size <= MANIFEST_BYTES);
        let file = self.write(&bytes)?;
        files::sync_dir(&self.store.dir.join(CHUNKS))?;
        let chunks = manifest.chunks();
        {
            let mut shelf = self.store.shelf();
            if let Some(lost) = chunks.keys().find(|chunk| shelf.chunk(chunk).is_none()) {
                return Err(invalid(format!("the chunk {lost} was lost meanwhile")));
            }
            fs::rename(file.path(), self.store.dir.join(IMAGES).join(&digest))?;
            let stored = Stored::Image { bytes: size, chunks: chunks.into_keys().collect() };
            shelf.add(&self.store.dir, &digest, stored);
        }
        let _ = file.into_temp_path().keep();
        files::sync_dir(&self.store.dir.join(IMAGES))?;
        self.store.changed.send_replace(());
        let form = Form::Image { id: manifest.image.clone(), total: manifest.total() };
        Ok(Artifact { digest, bytes: size, form })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::NamedTempFile::new_in(self.store.dir.join(INCOMING))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.store.shelf().release(&self.store.dir, self.chunks.iter());
    }
}
