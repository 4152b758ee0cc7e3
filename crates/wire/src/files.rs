//! Small files that are either the old or the new ones after a crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody on the machine: mode 0644.
    All,
    /// Its owner alone: mode 0600.
    Owner,
}

/// Replaces the file at once, and returns when that survives a power loss.
///
/// # Errors
/// The file cannot be written; then the old one is there.
pub fn replace(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let mode = match readers {
        Readers::All => 0o644,
        Readers::Owner => 0o600,
    };
    let mut new = name.to_owned();
    new.push(".new");
    let new = dir.join(new);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    // A file left over from a crash keeps its mode when it is opened again.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

/// Whether somebody other than the owner may read it.
pub(crate) fn is_exposed(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}
