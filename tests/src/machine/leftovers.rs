//! What runs have left that were killed: their directories tell whose they were, and so do the names of
//! their namespaces and interfaces.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use tempfile::TempDir;

use super::{engine, net, run, unmount_below};
use crate::faults;
use crate::trouble::{Context, Result};

/// How directories of clusters begin.
const PREFIX: &str = "temps-";

/// The file that tells whose a directory is. Without it, nobody clears the directory away.
const OWNER: &str = "owner";

/// A new directory that is cleared away by a later run if this one is killed.
///
/// # Errors
/// When it cannot be made.
pub fn directory() -> Result<TempDir> {
    let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
    fs::write(dir.path().join(OWNER), identity(std::process::id()).unwrap_or_default())?;
    Ok(dir)
}

/// A directory is kept for a person to look at.
pub fn keep(dir: &Path) {
    // Then it is cleared away one day; nothing worse.
    let _ = fs::remove_file(dir.join(OWNER));
}

/// Clears away, once, what is left of runs that are dead. What cannot be cleared is told, and stays.
pub fn clear() {
    static ONCE: Once = Once::new();
    ONCE.call_once(clear_now);
}

fn clear_now() {
    let told = |what: &str, result: Result| {
        if let Err(trouble) = result {
            // Nobody is left to be told that stderr is closed.
            let _ = writeln!(std::io::stderr(), "cannot clear away {what}: {trouble}");
        }
    };
    for dir in abandoned() {
        told(&dir.display().to_string(), raze(&dir));
    }
    for name in names("/var/run/netns") {
        told(&name, net::remove_namespace(&name));
    }
    for name in names("/sys/class/net") {
        told(&name, net::remove_link(&name));
    }
    told("rules of the filter", rules());
}

/// A process, told apart from others that had or will have its number.
fn identity(pid: u32) -> Option<String> {
    let fields = faults::stat(Path::new(&format!("/proc/{pid}")))?;
    Some(format!("{pid} {}", fields.get(19)?))
}

fn abandoned() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return Vec::new();
    };
    let dirs = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_abandoned = |dir: &PathBuf| {
        let ours = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let Ok(owner) = fs::read_to_string(dir.join(OWNER)) else {
            return false;
        };
        let pid = owner.split(' ').next().and_then(|pid| pid.parse().ok());
        ours && pid.is_some_and(|pid| identity(pid).as_deref() != Some(&owner))
    };
    dirs.filter(is_abandoned).collect()
}

fn raze(dir: &Path) -> Result {
    let dir = fs::canonicalize(dir)?;
    // Servers before engines: nobody may start a container again.
    for (pid, _) in faults::processes_of(&dir) {
        faults::slay(pid)?;
    }
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.join("daemon.json").is_file() {
            engine::raze(&path)?;
        }
    }
    unmount_below(&dir)?;
    fs::remove_dir_all(&dir).context(dir.display())
}

fn is_dead(name: &str) -> bool {
    net::owner(name).is_some_and(|pid| !faults::is_running(pid))
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| is_dead(name)).collect()
}

fn rules() -> Result {
    if super::find("iptables").is_none() {
        return Ok(());
    }
    let all = run("iptables", &["-w", "-S"])?;
    let ours = |line: &&str| line.split(' ').any(is_dead);
    let rules: BTreeSet<&str> =
        all.lines().filter(ours).filter_map(|line| line.strip_prefix("-A ")).collect();
    rules.into_iter().try_for_each(|rule| net::filter("-D", rule))
}
