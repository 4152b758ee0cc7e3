//! Whether the disk has space for more.

use std::io;
use std::path::Path;

use temps_core::text;

/// What stays free for everything else on the disk, in bytes.
pub const MARGIN: u64 = 64 * 1024 * 1024;

/// The disk is too full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no space on this node: {} free, {} needed", text::bytes(self.free), text::bytes(self.needed))]
pub struct NoRoom {
    /// What is free, in bytes.
    pub free: u64,
    /// What has to be free, in bytes.
    pub needed: u64,
}

/// Free space on the disk of a file or directory, in bytes, as for a user without privileges.
///
/// # Errors
/// It cannot be found out.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let disk = nix::sys::statvfs::statvfs(path)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// Refuses where the disk has not that many bytes free, and [`MARGIN`] more. Where it cannot be found
/// out, writing will tell.
pub(crate) fn check(path: &Path, bytes: u64) -> Result<(), NoRoom> {
    let needed = bytes.saturating_add(MARGIN);
    match free_space(path) {
        Ok(free) if free < needed => Err(NoRoom { free, needed }),
        Ok(_) | Err(_) => Ok(()),
    }
}
