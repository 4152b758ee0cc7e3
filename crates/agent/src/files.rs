//! Small files that are either whole or absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces a file. Nobody sees half of it, also after a crash of this process.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}

/// [`write`] of a value as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write(path, &serde_json::to_vec(value)?)
}

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Content<T> {
    /// There is no such file.
    Nothing,
    /// Something that nobody has written.
    Damaged,
    /// A value.
    Value(T),
}

impl<T> Content<T> {
    /// The value, where there is one.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Content::Value(value) => Some(value),
            Content::Nothing | Content::Damaged => None,
        }
    }
}

/// The value in a file.
///
/// # Errors
/// The file cannot be read now.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Content<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).map_or(Content::Damaged, Content::Value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::Nothing),
        Err(error) => Err(error),
    }
}

/// Creates a directory that only this user can enter, parents included.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes renames within a directory last over a crash of the machine.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a directory tree, write-protected directories included. Nothing to remove is no error.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock_tree(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn unlock_tree(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock_tree(&entry.path())?;
        }
    }
    Ok(())
}
