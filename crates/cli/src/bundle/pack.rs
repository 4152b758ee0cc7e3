//! Writing the archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use temps_core::text;

use super::plan::Plan;
use super::walk::{Entry, What, walk};
use super::{BYTES_MAX, Bundle, BundleError, age};

/// A fixed level: another one would change the digest of every bundle.
const LEVEL: i32 = 3;

/// What is told how many bytes of how many were read, and says whether to go on.
pub(super) type Progress<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// Packs a directory. `progress` is told how many bytes of how many were read, and says whether to go on;
/// everything is read twice.
///
/// # Errors
/// [`BundleError`] where something in it cannot be deployed, or `progress` said to stop.
pub fn pack(
    root: &Path,
    plan: &Plan,
    mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Bundle, BundleError> {
    pack_up_to(root, plan, BYTES_MAX, &mut progress)
}

pub(super) fn pack_up_to(
    root: &Path,
    plan: &Plan,
    limit: u64,
    progress: &mut Progress<'_>,
) -> Result<Bundle, BundleError> {
    if !root.is_dir() {
        return Err(BundleError::NotADirectory { path: root.to_owned() });
    }
    let entries = walk(root, plan)?;
    let files = entries.iter().filter(|entry| entry.what != What::Directory).count();
    if files == plan.made().len() {
        return Err(BundleError::Empty { path: root.to_owned() });
    }
    let total = entries.iter().map(size).sum::<u64>() * 2;
    let mut counter = Counter { done: 0, total, progress };
    let age = age::of(root, &entries, &mut counter)?;
    let written = |source| BundleError::Write { source };
    let sink = Sink { file: tempfile::tempfile().map_err(written)?, hash: Sha256::new(), bytes: 0, limit };
    let encoder = zstd::Encoder::new(sink, LEVEL).map_err(written)?;
    let mut archive = Builder::new(encoder);
    for entry in &entries {
        add(&mut archive, root, entry, age, &mut counter).map_err(|e| explain(e, limit, &entries))?;
    }
    let end = |source| explain(BundleError::Write { source }, limit, &entries);
    let sink = archive.into_inner().map_err(end)?.finish().map_err(end)?;
    let mut file = sink.file;
    file.rewind().map_err(written)?;
    Ok(Bundle { file, digest: hex::encode(sink.hash.finalize()), bytes: sink.bytes, files })
}

/// How much was read, and who wants to know.
pub(super) struct Counter<'a, 'b> {
    done: u64,
    total: u64,
    progress: &'a mut Progress<'b>,
}

impl Counter<'_, '_> {
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), BundleError> {
        self.done += bytes as u64;
        if (self.progress)(self.done, self.total).is_break() { Err(BundleError::Stopped) } else { Ok(()) }
    }
}

fn size(entry: &Entry) -> u64 {
    match entry.what {
        What::File { bytes, .. } => bytes,
        What::Directory | What::Link(_) | What::Made(_) => 0,
    }
}

fn add(
    archive: &mut Builder<impl Write>,
    root: &Path,
    entry: &Entry,
    age: u64,
    counter: &mut Counter<'_, '_>,
) -> Result<(), BundleError> {
    let written = |source| BundleError::Write { source };
    let mut header = Header::new_gnu();
    header.set_mtime(age);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match &entry.what {
        What::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            archive.append_data(&mut header, &entry.path, io::empty()).map_err(written)
        }
        What::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, &entry.path, target).map_err(written)
        }
        What::Made(content) => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, &entry.path, content.as_slice()).map_err(written)
        }
        What::File { bytes, executable } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(*bytes);
            add_file(archive, header, root, &entry.path, counter)
        }
    }
}

fn add_file(
    archive: &mut Builder<impl Write>,
    mut header: Header,
    root: &Path,
    path: &Path,
    counter: &mut Counter<'_, '_>,
) -> Result<(), BundleError> {
    let full = root.join(path);
    let changed = || BundleError::Changed { path: path.to_owned() };
    let file = match File::open(&full) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(changed()),
        Err(source) => return Err(BundleError::Read { path: full, source }),
    };
    let left = header.size().map_err(|source| BundleError::Write { source })?;
    let mut exact = Exact { file: &file, left, counter, failed: None };
    let appended = archive.append_data(&mut header, path, &mut exact);
    let missing = exact.left;
    match exact.failed {
        Some(Broken::Read(source)) => return Err(BundleError::Read { path: full, source }),
        Some(Broken::Stopped) => return Err(BundleError::Stopped),
        None => appended.map_err(|source| BundleError::Write { source })?,
    }
    let grown = (&file).read(&mut [0]).map_err(BundleError::read(&full))?;
    if missing > 0 || grown > 0 { Err(changed()) } else { Ok(()) }
}

/// At most as many bytes as the header says, whatever the file does meanwhile. Where fewer come, the
/// archive is thrown away.
struct Exact<'a, 'b, 'c> {
    file: &'a File,
    left: u64,
    counter: &'a mut Counter<'b, 'c>,
    failed: Option<Broken>,
}

enum Broken {
    Read(io::Error),
    Stopped,
}

impl Read for Exact<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        match self.file.read(&mut buffer[..room]) {
            Ok(n) => {
                self.left -= n as u64;
                if self.counter.count(n).is_err() {
                    self.failed = Some(Broken::Stopped);
                    return Err(io::Error::other("stopped"));
                }
                Ok(n)
            }
            Err(e) => {
                let copy = io::Error::new(e.kind(), e.to_string());
                self.failed = Some(Broken::Read(e));
                Err(copy)
            }
        }
    }
}

/// Where the archive goes, counted and hashed on the way.
struct Sink {
    file: File,
    hash: Sha256,
    bytes: u64,
    limit: u64,
}

/// Marks that the limit was reached; it is told from a full disk by this.
#[derive(Debug, thiserror::Error)]
#[error("the bundle is too large")]
struct LimitReached;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes + bytes.len() as u64 > self.limit {
            return Err(io::Error::other(LimitReached));
        }
        let n = self.file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Names the largest parts, where the bundle is too large.
fn explain(error: BundleError, limit: u64, entries: &[Entry]) -> BundleError {
    match error {
        BundleError::Write { source } if source.get_ref().is_some_and(|inner| inner.is::<LimitReached>()) => {
            BundleError::TooLarge { limit, largest: largest(entries) }
        }
        other => other,
    }
}

fn largest(entries: &[Entry]) -> String {
    let mut sizes: BTreeMap<PathBuf, u64> = BTreeMap::new();
    for entry in entries {
        let top = entry.path.iter().next().map(PathBuf::from).unwrap_or_default();
        *sizes.entry(top).or_default() += size(entry);
    }
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let parts =
        sizes.iter().take(3).map(|(path, bytes)| format!("{} ({})", path.display(), text::bytes(*bytes)));
    parts.collect::<Vec<_>>().join(", ")
}
