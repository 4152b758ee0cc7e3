//! The list of chunks that an image is made of.
//!
//! It describes the archive that the engine gave, entry by entry; each chunk is a piece of one entry, so
//! that equal layers of different images give equal chunks. It may come from another node and is not
//! trusted: what would not be a small, closed archive of known size is refused.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use temps_core::model::{Artifact, Form};

use super::is_digest;

/// An entry is cut into pieces of this size, in bytes. Another size would give other chunks.
pub(crate) const PIECE: usize = 4 * 1024 * 1024;
/// A larger manifest is refused, in bytes: enough for 400 GB.
pub(super) const MANIFEST_BYTES: u64 = 16 * 1024 * 1024;
/// A piece that cannot be compressed grows a little.
const STORED_PIECE: u64 = PIECE as u64 + 64 * 1024;
/// The only version that is known.
const VERSION: u32 = 1;
/// More entries than this are refused.
const ENTRIES: usize = 100_000;
/// A longer name is refused, in bytes.
const NAME: usize = 1_024;

/// An image as a list of chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    /// The image's identity for the engine.
    pub(crate) image: String,
    /// The archive, in its order.
    pub(crate) entries: Vec<Entry>,
}

/// An entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    /// Modification time, in Unix seconds.
    pub(crate) mtime: u64,
    /// Of a file, in bytes.
    #[serde(default)]
    pub(crate) size: u64,
    /// Where a link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) chunks: Vec<Piece>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// SHA-256 of the stored, compressed bytes, in hex.
    pub(crate) digest: String,
    /// How many of them.
    pub(crate) bytes: u64,
    /// How many they become.
    pub(crate) size: u64,
}

impl Manifest {
    pub(crate) fn new(image: String, entries: Vec<Entry>) -> Self {
        Self { version: VERSION, image, entries }
    }

    /// Reads a manifest whose digest was checked.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > MANIFEST_BYTES {
            return Err(format!("it has more than {MANIFEST_BYTES} bytes"));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("it cannot be read ({error})"))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Refuses a manifest that is not what an artifact says of it.
    pub(super) fn check_against(&self, artifact: &Artifact) -> Result<(), String> {
        let Form::Image { id, total } = &artifact.form else {
            return Err("it belongs to no image".to_owned());
        };
        if *id != self.image {
            return Err(format!("it is of the image {} instead of {id}", self.image));
        }
        let sum = self.total();
        if sum != *total {
            return Err(format!("its chunks have {sum} bytes instead of {total}"));
        }
        Ok(())
    }

    /// Its chunks with their stored sizes, each once.
    pub(crate) fn chunks(&self) -> BTreeMap<String, u64> {
        self.pieces().map(|piece| (piece.digest.clone(), piece.bytes)).collect()
    }

    /// Its chunks in the order in which they are needed.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.entries.iter().flat_map(|entry| &entry.chunks)
    }

    /// What all chunks take, each once, in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.chunks().values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// The size of all files, in bytes.
    pub(crate) fn plain(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.size))
    }

    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("its version is {} instead of {VERSION}", self.version));
        }
        if !is_image_id(&self.image) {
            return Err("it names no image".to_owned());
        }
        if self.entries.len() > ENTRIES {
            return Err(format!("it has more than {ENTRIES} entries"));
        }
        let mut known: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for entry in &self.entries {
            entry.check().map_err(|why| format!("entry {:?} {why}", shortened(&entry.name)))?;
            for piece in &entry.chunks {
                let sizes = (piece.bytes, piece.size);
                if *known.entry(&piece.digest).or_insert(sizes) != sizes {
                    return Err(format!("the chunk {} has two sizes", piece.digest));
                }
            }
        }
        Ok(())
    }
}

impl Entry {
    fn check(&self) -> Result<(), String> {
        let path = Path::new(&self.name);
        if self.name.len() > NAME || !is_clean(&self.name) || climb(path, 0).is_none_or(|depth| depth == 0) {
            return Err("has a name that is not allowed".to_owned());
        }
        if self.mode > 0o7777 {
            return Err("has a mode that does not exist".to_owned());
        }
        let depth = climb(path, 0).unwrap_or_default().saturating_sub(1);
        let stays = |from| {
            let link = self.link.as_deref().unwrap_or_default();
            !link.is_empty() && link.len() <= NAME && is_clean(link) && climb(Path::new(link), from).is_some()
        };
        let fits = match self.kind {
            Kind::File => return self.check_pieces(),
            Kind::Directory => self.link.is_none(),
            Kind::Symlink => stays(depth),
            Kind::Hardlink => stays(0),
        };
        if !fits {
            return Err("links to something that is not allowed".to_owned());
        }
        if self.size != 0 || !self.chunks.is_empty() {
            return Err("has a content although it is no file".to_owned());
        }
        Ok(())
    }

    fn check_pieces(&self) -> Result<(), String> {
        if self.link.is_some() {
            return Err("is a file and a link".to_owned());
        }
        let mut size: u64 = 0;
        for piece in &self.chunks {
            if !is_digest(&piece.digest) {
                return Err("has a chunk without a digest".to_owned());
            }
            let plausible =
                (1..=PIECE as u64).contains(&piece.size) && (1..=STORED_PIECE).contains(&piece.bytes);
            if !plausible {
                return Err("has a chunk of an impossible size".to_owned());
            }
            size = size.saturating_add(piece.size);
        }
        if size != self.size {
            return Err(format!("has chunks of {size} bytes and a size of {}", self.size));
        }
        Ok(())
    }
}

/// How deep a path ends below the root, when it starts at `depth`; `None` where it is absolute or leaves
/// the root on its way.
fn climb(path: &Path, mut depth: usize) -> Option<usize> {
    let mut descended = false;
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => {
                depth += 1;
                descended = true;
            }
            // It may climb only before it descends: then nothing that it passes can lead it out.
            Component::ParentDir if !descended && depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(depth)
}

fn is_clean(name: &str) -> bool {
    !name.chars().any(char::is_control)
}

fn shortened(name: &str) -> String {
    name.chars().take(100).collect()
}

/// Whether it is an image's identity for the engine.
pub(crate) fn is_image_id(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_digest)
}

#[cfg(test)]
mod tests;
