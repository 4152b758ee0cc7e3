//! The data directory: one server at a time, its pid, and how often it was started.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use temps_wire::files::Readers;

/// One start of the server of a data directory; the directory is free again when it is dropped.
pub(crate) struct Boot {
    /// Larger than that of every start before.
    pub(crate) number: u64,
    _lock: Flock<File>,
}

/// Makes the directory this process's own.
pub(crate) fn claim(data_dir: &Path) -> Result<Boot> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("cannot create {}", data_dir.display()))?;
    let path = data_dir.join("server.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
        bail!("another server uses {}; stop it first, or choose another --data-dir", data_dir.display());
    };
    let path = data_dir.join("boot");
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().with_context(|| format!("{} is damaged", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let number = last + 1;
    replace(&path, number.to_string().as_bytes())?;
    replace(&data_dir.join("server.pid"), std::process::id().to_string().as_bytes())?;
    Ok(Boot { number, _lock: lock })
}

/// Writes a file that only its owner can read: either the old content is there afterwards, or the new.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    temps_wire::files::replace(path, content, Readers::Owner)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::claim;

    #[test]
    fn one_server_at_a_time_and_each_start_has_a_larger_number() {
        let dir = tempfile::tempdir().unwrap();
        let first = claim(dir.path()).unwrap();
        let why = claim(dir.path()).err().unwrap().to_string();
        assert!(why.starts_with("another server uses"), "{why}");
        let number = first.number;
        drop(first);
        assert!(claim(dir.path()).unwrap().number > number);
    }
}
