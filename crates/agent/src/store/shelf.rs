//! What is stored, and who needs which chunk.
//!
//! Files are renamed and removed here, in one step with the books: a chunk that somebody begins to need
//! cannot be removed for somebody else. Reading and writing takes longer and is done elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::{CHUNKS, IMAGES, PARTIAL, PARTIAL_CHUNKS};

/// A stored artifact.
#[derive(Debug)]
pub(super) enum Stored {
    /// One file.
    File {
        /// Its size.
        bytes: u64,
    },
    /// A manifest, and chunks.
    Image {
        /// The size of the manifest.
        bytes: u64,
        /// Digests.
        chunks: BTreeSet<String>,
    },
}

impl Stored {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Stored::File { bytes } | Stored::Image { bytes, .. } => *bytes,
        }
    }

    /// Where its file is, below the directory of the store.
    pub(super) fn dir(&self) -> &'static str {
        match self {
            Stored::File { .. } => "",
            Stored::Image { .. } => IMAGES,
        }
    }
}

/// The books of a store.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    stored: BTreeMap<String, Stored>,
    /// Those of them that do not count any more.
    hidden: BTreeSet<String>,
    /// Manifests that are here in full, and not all of their chunks.
    pending: BTreeMap<String, BTreeSet<String>>,
    /// Chunks that are here, with their sizes.
    chunks: BTreeMap<String, u64>,
    /// How many need a chunk, whether it is here or not.
    needed: BTreeMap<String, usize>,
}

impl Shelf {
    pub(super) fn has(&self, digest: &str) -> bool {
        self.stored.contains_key(digest) && !self.hidden.contains(digest)
    }

    pub(super) fn list(&self) -> BTreeSet<String> {
        self.stored.keys().filter(|digest| !self.hidden.contains(*digest)).cloned().collect()
    }

    pub(super) fn known(&self) -> BTreeSet<String> {
        self.list().into_iter().chain(self.pending.keys().cloned()).collect()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.stored.values().map(Stored::bytes).chain(self.chunks.values().copied()).sum()
    }

    pub(super) fn stored(&self, digest: &str) -> Option<&Stored> {
        self.stored.get(digest).filter(|_| !self.hidden.contains(digest))
    }

    pub(super) fn chunk(&self, digest: &str) -> Option<u64> {
        self.chunks.get(digest).copied()
    }

    pub(super) fn hide(&mut self, digest: &str) {
        if self.stored.contains_key(digest) {
            self.hidden.insert(digest.to_owned());
        }
    }

    /// An artifact is stored from now on, whose file is in its place.
    pub(super) fn add(&mut self, dir: &Path, digest: &str, stored: Stored) {
        if let Stored::Image { chunks, .. } = &stored {
            self.need(chunks.iter());
        }
        self.hidden.remove(digest);
        if let Some(Stored::Image { chunks, .. }) = self.stored.insert(digest.to_owned(), stored) {
            self.release(dir, chunks.iter());
        }
        // It may have been exported here while it was fetched.
        if let Err(error) = self.give_up(dir, digest) {
            tracing::warn!(digest, %error, "a fetch that is not needed any more cannot be removed");
        }
    }

    /// A manifest is here in full, and its chunks are needed.
    pub(super) fn begin(&mut self, digest: &str, chunks: BTreeSet<String>) {
        if !self.pending.contains_key(digest) {
            self.need(chunks.iter());
            self.pending.insert(digest.to_owned(), chunks);
        }
    }

    /// An image is stored from now on, if nothing is missing of what [`Self::begin`] was told.
    pub(super) fn finish(&mut self, dir: &Path, digest: &str, bytes: u64) -> io::Result<bool> {
        let whole = |chunks: &BTreeSet<String>| chunks.iter().all(|chunk| self.chunks.contains_key(chunk));
        let Some(chunks) = self.pending.get(digest).filter(|chunks| whole(chunks)).cloned() else {
            return Ok(false);
        };
        fs::rename(dir.join(PARTIAL).join(digest), dir.join(IMAGES).join(digest))?;
        self.add(dir, digest, Stored::Image { bytes, chunks });
        Ok(true)
    }

    /// Throws away what is here of an artifact that is not stored.
    pub(super) fn give_up(&mut self, dir: &Path, digest: &str) -> io::Result<()> {
        remove_file(&dir.join(PARTIAL).join(digest))?;
        if let Some(chunks) = self.pending.remove(digest) {
            self.release(dir, chunks.iter());
        }
        Ok(())
    }

    /// A stored artifact goes.
    pub(super) fn remove(&mut self, dir: &Path, digest: &str) -> io::Result<()> {
        self.hidden.remove(digest);
        let Some(stored) = self.stored.remove(digest) else { return Ok(()) };
        let removed = remove_file(&dir.join(stored.dir()).join(digest));
        if let Stored::Image { chunks, .. } = stored {
            self.release(dir, chunks.iter());
        }
        removed
    }

    /// A damaged file goes; images that it belongs to become unfinished ones.
    pub(super) fn spoil(&mut self, dir: &Path, digest: &str) -> io::Result<()> {
        if self.stored.contains_key(digest) {
            return self.remove(dir, digest);
        }
        if self.chunks.remove(digest).is_none() {
            return Ok(());
        }
        let spoiled = |(image, stored): (&String, &Stored)| match stored {
            Stored::Image { chunks, .. } if chunks.contains(digest) => Some(image.clone()),
            Stored::Image { .. } | Stored::File { .. } => None,
        };
        let spoiled: Vec<_> = self.stored.iter().filter_map(spoiled).collect();
        for image in spoiled {
            fs::rename(dir.join(IMAGES).join(&image), dir.join(PARTIAL).join(&image))?;
            if let Some(Stored::Image { chunks, .. }) = self.stored.remove(&image) {
                self.begin(&image, chunks.clone());
                self.release(dir, chunks.iter());
            }
            self.hidden.remove(&image);
        }
        remove_file(&dir.join(CHUNKS).join(digest))
    }

    /// Somebody needs chunks; those that are here stay.
    pub(super) fn need<'a>(&mut self, chunks: impl Iterator<Item = &'a String>) {
        for chunk in chunks {
            *self.needed.entry(chunk.clone()).or_default() += 1;
        }
    }

    /// Somebody needs chunks no longer; those that nobody needs go.
    pub(super) fn release<'a>(&mut self, dir: &Path, chunks: impl Iterator<Item = &'a String>) {
        for chunk in chunks {
            let Some(needed) = self.needed.get_mut(chunk) else { continue };
            *needed -= 1;
            if *needed > 0 {
                continue;
            }
            self.needed.remove(chunk);
            let mut places = vec![PARTIAL_CHUNKS];
            if self.chunks.remove(chunk).is_some() {
                places.push(CHUNKS);
            }
            for place in places {
                if let Err(error) = remove_file(&dir.join(place).join(chunk)) {
                    tracing::warn!(chunk, %error, "a chunk that nothing needs cannot be removed");
                }
            }
        }
    }

    /// Puts a verified chunk into its place, unless nobody needs it any more.
    pub(super) fn put(&mut self, dir: &Path, file: &Path, digest: &str, bytes: u64) -> io::Result<bool> {
        if !self.needed.contains_key(digest) {
            return Ok(false);
        }
        fs::rename(file, dir.join(CHUNKS).join(digest))?;
        self.chunks.insert(digest.to_owned(), bytes);
        Ok(true)
    }

    /// A chunk that was found in its place.
    pub(super) fn found(&mut self, digest: &str, bytes: u64) {
        self.chunks.insert(digest.to_owned(), bytes);
    }

    /// Removes the chunks that were found and that nothing needs.
    pub(super) fn sweep(&mut self, dir: &Path) -> io::Result<()> {
        let (needed, chunks) = (&self.needed, &mut self.chunks);
        let unneeded: Vec<_> = chunks.keys().filter(|chunk| !needed.contains_key(*chunk)).cloned().collect();
        for chunk in unneeded {
            chunks.remove(&chunk);
            remove_file(&dir.join(CHUNKS).join(&chunk))?;
        }
        Ok(())
    }

    /// Whether something needs a chunk.
    pub(super) fn is_needed(&self, digest: &str) -> bool {
        self.needed.contains_key(digest)
    }
}

/// Removes a file; none is no error.
fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
