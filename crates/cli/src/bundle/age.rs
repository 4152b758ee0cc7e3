//! The one time that all files of an archive have.
//!
//! It is made of their content: the same content has the same time on every machine, and other content has
//! another one. A file server that takes size and time for what a file is would otherwise tell browsers that
//! a changed file of the same size is the one that they know.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::BundleError;
use super::pack::Counter;
use super::walk::{Entry, What};

/// In September 2001: late enough for every format of archives, and so early that nothing is in the future.
const EARLIEST: u64 = 1_000_000_000;
/// More than eight years in seconds, as a power of two.
const SPAN: u64 = 1 << 28;

/// The time of all entries, in Unix seconds.
pub(super) fn of(root: &Path, entries: &[Entry], counter: &mut Counter<'_, '_>) -> Result<u64, BundleError> {
    let mut hash = Sha256::new();
    for entry in entries {
        let path = entry.path.as_os_str().as_encoded_bytes();
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path);
        match &entry.what {
            What::Directory => hash.update(b"d"),
            What::Link(target) => {
                hash.update(b"l");
                hash.update(target.as_os_str().as_encoded_bytes());
            }
            What::Made(content) => {
                hash.update(b"f-");
                hash.update(content);
            }
            What::File { executable, bytes } => {
                hash.update(if *executable { b"fx" } else { b"f-" });
                hash.update(bytes.to_be_bytes());
                read(&root.join(&entry.path), &mut hash, counter)?;
            }
        }
    }
    let digest = hash.finalize();
    let head = u64::from_be_bytes(digest[..8].try_into().expect("a digest is longer than eight bytes"));
    Ok(EARLIEST + head % SPAN)
}

fn read(path: &Path, hash: &mut Sha256, counter: &mut Counter<'_, '_>) -> Result<(), BundleError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // Packing it will tell.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BundleError::Read { path: path.to_owned(), source }),
    };
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(BundleError::Read { path: path.to_owned(), source }),
        };
        hash.update(&buffer[..n]);
        counter.count(n)?;
    }
}
