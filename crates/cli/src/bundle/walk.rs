//! What is in a directory, in one order on every machine.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::ignore::Sort;
use super::plan::{Fate, Plan, add_made};
use super::{BundleError, link};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    /// With its size in bytes, and whether it can be executed.
    File {
        bytes: u64,
        executable: bool,
    },
    /// With what it says.
    Link(PathBuf),
    /// A file that is not there, with its content.
    Made(Vec<u8>),
}

/// Something that is packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the top.
    pub(super) path: PathBuf,
    pub(super) what: What,
}

/// A directory that is being looked into.
struct Open {
    /// The paths in it, the first by name last.
    left: Vec<PathBuf>,
    /// It is packed itself once something in it is.
    waits: Option<PathBuf>,
}

/// Everything in `root` that is not left out, each directory before its content, sorted by name; then what
/// is made.
pub(super) fn walk(root: &Path, plan: &Plan) -> Result<Vec<Entry>, BundleError> {
    let rules = plan.rules(root)?;
    let mut entries = Vec::new();
    // A stack instead of recursion: a hostile depth of directories is no problem.
    let mut open = vec![Open { left: listing(root, Path::new(""))?, waits: None }];
    while let Some(directory) = open.last_mut() {
        let Some(path) = directory.left.pop() else {
            open.pop();
            continue;
        };
        let full = root.join(&path);
        let metadata = std::fs::symlink_metadata(&full).map_err(BundleError::read(&full))?;
        let sort = if metadata.is_dir() { Sort::Directory } else { Sort::Other };
        match rules.fate(&path, sort) {
            Fate::Out => {}
            Fate::OnlyInside => open.push(Open { left: listing(root, &path)?, waits: Some(path) }),
            Fate::In => {
                let what = what(root, &path, &metadata)?;
                let above = open.iter_mut().filter_map(|directory| directory.waits.take());
                entries.extend(above.map(|path| Entry { path, what: What::Directory }));
                if what == What::Directory {
                    open.push(Open { left: listing(root, &path)?, waits: None });
                }
                entries.push(Entry { path, what });
            }
        }
    }
    add_made(plan, &mut entries);
    Ok(entries)
}

/// The paths in a directory, the first by name last.
fn listing(root: &Path, directory: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let full = root.join(directory);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&full).map_err(BundleError::read(&full))? {
        paths.push(directory.join(entry.map_err(BundleError::read(&full))?.file_name()));
    }
    paths.sort_by(|a, b| b.as_os_str().as_encoded_bytes().cmp(a.as_os_str().as_encoded_bytes()));
    Ok(paths)
}

fn what(root: &Path, path: &Path, metadata: &Metadata) -> Result<What, BundleError> {
    let kind = metadata.file_type();
    let special = |kind| Err(BundleError::Special { path: path.to_owned(), kind });
    if kind.is_dir() {
        return Ok(What::Directory);
    }
    if kind.is_file() {
        let executable = metadata.permissions().mode() & 0o111 != 0;
        return Ok(What::File { bytes: metadata.len(), executable });
    }
    if kind.is_symlink() {
        let full = root.join(path);
        let target = std::fs::read_link(&full).map_err(BundleError::read(&full))?;
        if !link::stays_inside(root, path, &target) {
            return Err(BundleError::Escapes { path: path.to_owned(), target });
        }
        return Ok(What::Link(target));
    }
    if kind.is_fifo() {
        special("named pipe")
    } else if kind.is_socket() {
        special("socket")
    } else {
        special("device")
    }
}
