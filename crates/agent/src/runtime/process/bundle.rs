//! Bundles: archives that become the directory an instance runs in.
//!
//! A bundle comes from a user and is not trusted: an entry that would be written, or that points,
//! outside of the bundle refuses the whole of it. What is in a bundle is not known here.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType};

use crate::files;
use crate::runtime::StartError;

/// The first bytes of a zstd frame; anything else is taken for a plain tar archive.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// More entries than this are refused.
const MAX_ENTRIES: u64 = 1_000_000;
/// A larger content is refused, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// Unpacked bundles, one directory for each digest, shared by instances and never changed.
#[derive(Debug)]
pub(super) struct Bundles {
    dir: PathBuf,
    /// One at a time: two instances of a new bundle do not unpack it twice.
    turn: tokio::sync::Mutex<()>,
}

impl Bundles {
    /// What was unpacked before the machine restarted may be torn, and is thrown away.
    pub(super) fn open(dir: PathBuf, boot: &str) -> io::Result<Self> {
        let seen = dir.join(".boot");
        if fs::read_to_string(&seen).is_ok_and(|text| text == boot) {
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(".new-") {
                    files::remove_tree(&entry.path())?;
                }
            }
        } else {
            files::remove_tree(&dir)?;
            files::private_dir(&dir)?;
            files::write(&seen, boot.as_bytes())?;
        }
        Ok(Self { dir, turn: tokio::sync::Mutex::new(()) })
    }

    /// The directory of a bundle, unpacked from `artifact` if it is not there.
    pub(super) async fn unpacked(&self, digest: &str, artifact: &Path) -> Result<PathBuf, StartError> {
        let _turn = self.turn.lock().await;
        let ready = self.dir.join(digest);
        if ready.is_dir() {
            return Ok(ready);
        }
        let unfinished = self.dir.join(format!(".new-{digest}"));
        let (digest, artifact, target) = (digest.to_owned(), artifact.to_owned(), ready.clone());
        let unpacking = tokio::task::spawn_blocking(move || {
            files::remove_tree(&unfinished)?;
            files::private_dir(&unfinished)?;
            let outcome = unpack(&artifact, &digest, &unfinished)
                .and_then(|()| fs::rename(&unfinished, &target).map_err(StartError::from));
            if outcome.is_err() {
                files::remove_tree(&unfinished)?;
            }
            outcome
        });
        unpacking.await.map_err(|error| StartError::Failed(error.to_string()))??;
        Ok(ready)
    }

    /// Where a bundle is, once it was unpacked.
    pub(super) fn directory(&self, digest: &str) -> PathBuf {
        self.dir.join(digest)
    }

    pub(super) async fn discard(&self, digest: &str) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let (path, gone) = (self.dir.join(digest), self.dir.join(format!(".new-{digest}")));
        if !path.is_dir() {
            return Ok(());
        }
        let removing = tokio::task::spawn_blocking(move || {
            files::remove_tree(&gone)?;
            fs::rename(&path, &gone)?;
            files::remove_tree(&gone)
        });
        removing.await.map_err(io::Error::other)?
    }
}

/// A reader that knows the digest of what went through it.
struct Hashed<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(into)?;
        self.hash.update(&into[..n]);
        Ok(n)
    }
}

fn unpack(artifact: &Path, digest: &str, into: &Path) -> Result<(), StartError> {
    let mut file = File::open(artifact)?;
    let mut magic = [0; 4];
    let is_zstd = file.read_exact(&mut magic).is_ok() && magic == ZSTD;
    let file = File::open(artifact)?;
    let mut hashed = Hashed { from: BufReader::new(file), hash: Sha256::new() };
    let outcome = if is_zstd {
        zstd::Decoder::new(&mut hashed).map_err(StartError::from).and_then(|plain| extract(plain, into))
    } else {
        extract(&mut hashed, into)
    };
    // The digest decides first: a damaged file can look like anything.
    io::copy(&mut hashed, &mut io::sink())?;
    if hex::encode(hashed.hash.finalize()) != digest {
        return Err(StartError::Damaged);
    }
    outcome
}

fn extract(plain: impl Read, into: &Path) -> Result<(), StartError> {
    let mut archive = Archive::new(plain);
    let (mut entries, mut bytes, mut dirs) = (0, 0, Vec::new());
    let unreadable =
        |error: io::Error| StartError::Refused(format!("the bundle is not a tar archive ({error})"));
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        entries += 1;
        bytes += entry.size();
        if entries > MAX_ENTRIES || bytes > MAX_BYTES {
            return Err(StartError::Refused(format!(
                "the bundle has more than {MAX_ENTRIES} entries or {MAX_BYTES} bytes"
            )));
        }
        place(&mut entry, into, &mut dirs)?;
    }
    // Instances share it: nobody may write to it. Directories last, or nothing could be put into them.
    for dir in dirs.iter().rev().chain([&into.to_owned()]) {
        fs::set_permissions(dir, Permissions::from_mode(0o555))?;
    }
    Ok(())
}

fn place(entry: &mut Entry<'_, impl Read>, root: &Path, dirs: &mut Vec<PathBuf>) -> Result<(), StartError> {
    let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let refused = |why: &str| StartError::Refused(format!("entry {shown:?} of the bundle {why}"));
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(());
    }
    let path = inside(&entry.path()?).ok_or_else(|| refused("has a path outside of the bundle"))?;
    let Some(parent) = path.parent() else {
        // The root itself.
        return if kind.is_dir() { Ok(()) } else { Err(refused("has no name")) };
    };
    make_dirs(root, parent, dirs).map_err(|error| refused(&error.to_string()))?;
    let target = root.join(&path);
    match kind {
        EntryType::Directory => {
            make_dirs(root, &path, dirs).map_err(|error| refused(&error.to_string()))?;
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => write_file(entry, &target)?,
        EntryType::Symlink => {
            let link = entry.link_name()?.ok_or_else(|| refused("links to nothing"))?;
            if !stays_inside(parent, &link) {
                return Err(refused("links outside of the bundle"));
            }
            make_room(&target)?;
            std::os::unix::fs::symlink(&link, &target)?;
        }
        EntryType::Link => {
            let link = entry.link_name()?.ok_or_else(|| refused("links to nothing"))?;
            let other = inside(&link).ok_or_else(|| refused("links outside of the bundle"))?;
            let is_file = is_reached_without_links(root, &other)
                && fs::symlink_metadata(root.join(&other)).is_ok_and(|m| m.is_file());
            if !is_file {
                return Err(refused("links to something that is not a file of the bundle"));
            }
            make_room(&target)?;
            fs::hard_link(root.join(&other), &target)?;
        }
        _ => return Err(refused("is neither a file, a directory nor a link")),
    }
    Ok(())
}

/// The path without `.`; `None` where it is absolute or climbs.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// Whether a symbolic link in the directory `parent`, itself no link, stays inside. It may climb only
/// before it descends: then nothing that it passes can lead it out.
fn stays_inside(parent: &Path, link: &Path) -> bool {
    let mut depth = parent.components().count();
    let mut descends = false;
    for component in link.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => descends = true,
            Component::ParentDir if !descends && depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

fn is_reached_without_links(root: &Path, path: &Path) -> bool {
    let mut at = root.to_owned();
    let Some(parent) = path.parent() else { return false };
    parent.components().all(|component| {
        at.push(component);
        fs::symlink_metadata(&at).is_ok_and(|m| m.is_dir())
    })
}

/// Creates the directories of a path, none of which may be a link.
fn make_dirs(root: &Path, path: &Path, dirs: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut at = root.to_owned();
    for component in path.components() {
        at.push(component);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(io::Error::other("lies below something that is not a directory")),
            Err(_) => {
                fs::create_dir(&at)?;
                dirs.push(at.clone());
            }
        }
    }
    Ok(())
}

/// A later entry of the same name replaces an earlier one, as everywhere with tar.
fn make_room(target: &Path) -> io::Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_file(entry: &mut Entry<'_, impl Read>, target: &Path) -> Result<(), StartError> {
    make_room(target)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target)?;
    io::copy(entry, &mut file)?;
    if let Ok(seconds) = entry.header().mtime()
        && let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    {
        // Answers about static files tell it; all nodes should tell the same. Some file systems cannot.
        let _ = file.set_modified(time);
    }
    let mode = entry.header().mode().unwrap_or(0o644);
    file.set_permissions(Permissions::from_mode(0o444 | mode & 0o111))?;
    Ok(())
}

#[cfg(test)]
mod tests;
