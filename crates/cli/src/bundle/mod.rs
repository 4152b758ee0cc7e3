//! What is sent: one compressed archive of a directory, the same bytes for the same content. It runs as it
//! is, or an image is built from it.
//!
//! The archive is a tar compressed with zstd. Entries are sorted, owners are zero, modes are 0755 or 0644 by
//! the executable bit, and the time of all comes from their content, so that two machines make the same
//! digest of the same files. Which cluster it goes to is not known here.

mod age;
mod dockerignore;
mod ignore;
mod link;
mod pack;
mod plan;
#[cfg(test)]
mod tests;
mod walk;

use std::fs::File;
use std::path::{Path, PathBuf};

use temps_core::text;

pub use ignore::{IgnoreError, NAME as IGNORE_FILE};
pub use pack::pack;
pub use plan::Plan;

use walk::{Entry, What};

/// The largest bundle, in bytes as it is sent.
pub const BYTES_MAX: u64 = 2 << 30;

/// A packed directory.
#[derive(Debug)]
pub struct Bundle {
    /// The archive; it has no name, so that it is gone when this is.
    pub file: File,
    /// SHA-256 of it, in hex.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// How many files are in it.
    pub files: usize,
}

/// Why a directory cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Something cannot be read or written.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write the bundle in {}: {source}", std::env::temp_dir().display())]
    Write {
        /// Why.
        source: std::io::Error,
    },
    /// It is no directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// What.
        path: PathBuf,
    },
    /// There is no file in it.
    #[error("there is nothing to deploy in {}", path.display())]
    Empty {
        /// Which directory.
        path: PathBuf,
    },
    /// A symbolic link leads out of the directory.
    #[error(
        "{} is a symbolic link to {}, which is outside of the directory and would not exist on a node; copy the file, or name the link in {IGNORE_FILE}",
        path.display(), target.display()
    )]
    Escapes {
        /// The link.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A pipe, socket or device.
    #[error("{} is a {kind} and cannot be deployed; remove it, or name it in {IGNORE_FILE}", path.display())]
    Special {
        /// Which.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A file grew, shrank or vanished while it was read.
    #[error("{} changed while it was packed; try again when nothing writes to it, or name it in {IGNORE_FILE}", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// It is larger than a bundle may be.
    #[error("the bundle is larger than {}; the largest parts are {largest}. Name what is not needed in {IGNORE_FILE}", text::bytes(*limit))]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The largest entries at the top of the directory, with their sizes.
        largest: String,
    },
    /// Whoever asked for it changed their mind.
    #[error("packing was stopped")]
    Stopped,
    /// The list of what to leave out has a mistake.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
}

impl BundleError {
    fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Read { path: path.to_owned(), source }
    }
}
