//! Finding out what a store has, after a start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::{MANIFEST_BYTES, Manifest};
use super::shelf::{Shelf, Stored};
use super::{CHUNKS, IMAGES, INCOMING, PARTIAL, PARTIAL_CHUNKS, is_digest};
use crate::files;

/// What is below `dir`. Leftovers are removed; what was fetched of an artifact stays.
pub(super) fn shelf(dir: &Path) -> io::Result<Shelf> {
    files::remove_tree(&dir.join(INCOMING))?;
    for part in [PARTIAL, INCOMING, IMAGES, CHUNKS, PARTIAL_CHUNKS] {
        files::private_dir(&dir.join(part))?;
    }
    let mut shelf = Shelf::default();
    for (name, bytes) in named(dir)? {
        shelf.add(dir, &name, Stored::File { bytes });
    }
    let chunks = dir.join(CHUNKS);
    for (name, bytes) in named(&chunks)? {
        shelf.found(&name, bytes);
    }
    for (name, bytes) in named(&dir.join(IMAGES))? {
        let path = dir.join(IMAGES).join(&name);
        let Some(manifest) = manifest(&path, &name)? else {
            tracing::warn!(digest = name, "the stored manifest of an image is damaged");
            fs::remove_file(path)?;
            continue;
        };
        let wanted = manifest.chunks();
        for (chunk, size) in &wanted {
            if shelf.chunk(chunk).is_some_and(|found| found != *size) {
                tracing::warn!(digest = chunk, "a stored chunk is damaged");
                shelf.spoil(dir, chunk)?;
            }
        }
        let is_whole = wanted.keys().all(|chunk| shelf.chunk(chunk).is_some());
        let wanted: BTreeSet<_> = wanted.into_keys().collect();
        if is_whole {
            shelf.add(dir, &name, Stored::Image { bytes, chunks: wanted });
        } else {
            fs::rename(path, dir.join(PARTIAL).join(&name))?;
            shelf.begin(&name, wanted);
        }
    }
    for (name, _) in named(&dir.join(PARTIAL))? {
        if let Some(manifest) = manifest(&dir.join(PARTIAL).join(&name), &name)? {
            shelf.begin(&name, manifest.chunks().into_keys().collect());
        }
    }
    // What an export, a deletion or a fetch that was given up has left.
    shelf.sweep(dir)?;
    for (name, _) in named(&dir.join(PARTIAL_CHUNKS))? {
        if !shelf.is_needed(&name) {
            fs::remove_file(dir.join(PARTIAL_CHUNKS).join(name))?;
        }
    }
    Ok(shelf)
}

/// The manifest in a file; `None` where it is something else, or a part of one.
fn manifest(path: &Path, digest: &str) -> io::Result<Option<Manifest>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?;
    // Nothing else begins like that, and most of it need not be read.
    (&mut file).take(1).read_to_end(&mut bytes)?;
    if bytes != b"{" || file.metadata()?.len() > MANIFEST_BYTES {
        return Ok(None);
    }
    file.take(MANIFEST_BYTES).read_to_end(&mut bytes)?;
    if hex::encode(Sha256::digest(&bytes)) != digest {
        return Ok(None);
    }
    Ok(Manifest::parse(&bytes).ok())
}

/// The files of a directory that have a digest as their name, with their sizes.
fn named(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_digest(&name) {
            found.push((name, entry.metadata()?.len()));
        }
    }
    Ok(found)
}
