//! What must be known of an instance where its container cannot tell, or is gone.
//!
//! A directory for each instance: `instance.json` before its container is created, again with what makes
//! its start unique once it runs; `asked` before a stop signal is sent and `signalled` after that;
//! `killed` before a kill after the grace; `exit.json` once it is judged how it ended, so that it is judged
//! once. Variables are in none.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use temps_core::model::{Exit, InstanceId, Millis};

use crate::files;
use crate::proc;

const INSTANCE: &str = "instance.json";
const ASKED: &str = "asked";
const SIGNALLED: &str = "signalled";
const KILLED: &str = "killed";
const EXIT: &str = "exit.json";

/// What was decided before an instance was started, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) digest: String,
    pub(super) stop_grace: Millis,
    /// What makes its start unique, from the moment it runs.
    pub(super) incarnation: Option<String>,
    /// Which run of the machine that was.
    pub(super) boot: String,
    /// How long the machine had been running when it was started.
    pub(super) uptime: Millis,
}

/// The directory of one instance.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    path: PathBuf,
}

impl Marks {
    pub(super) fn new(all: &Path, instance: InstanceId) -> Self {
        Self { path: all.join(instance.to_string()) }
    }

    /// Instances with a directory.
    pub(super) fn all(all: &Path) -> io::Result<Vec<InstanceId>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(all)? {
            let name = entry?.file_name();
            // Whatever has no name of ours is not ours.
            let id = name.to_str().and_then(|name| Some((name, name.strip_prefix('i')?.parse().ok()?)));
            found.extend(id.and_then(|(name, id)| {
                let id = InstanceId(id);
                (id.to_string() == name).then_some(id)
            }));
        }
        Ok(found)
    }

    pub(super) fn record(&self) -> io::Result<Option<Record>> {
        Ok(files::read_json(&self.path.join(INSTANCE))?.value())
    }

    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        files::private_dir(&self.path)?;
        files::write_json(&self.path.join(INSTANCE), record)
    }

    /// That the end is wanted, before it is asked for.
    pub(super) fn ask(&self) -> io::Result<()> {
        files::private_dir(&self.path)?;
        if self.is_asked() { Ok(()) } else { files::write(&self.path.join(ASKED), b"") }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.path.join(ASKED).exists()
    }

    /// That the signal was sent.
    pub(super) fn note_signal(&self) -> io::Result<()> {
        files::write(&self.path.join(SIGNALLED), b"")
    }

    /// How long ago the signal was sent, if it was.
    pub(super) fn signalled(&self) -> Option<Duration> {
        let at = std::fs::metadata(self.path.join(SIGNALLED)).and_then(|m| m.modified()).ok()?;
        // A clock that went back must not make the grace longer.
        Some(SystemTime::now().duration_since(at).unwrap_or_default())
    }

    pub(super) fn note_kill(&self) -> io::Result<()> {
        files::write(&self.path.join(KILLED), b"")
    }

    /// It had ended before the kill could meet it.
    pub(super) fn unnote_kill(&self) {
        let _ = std::fs::remove_file(self.path.join(KILLED));
    }

    pub(super) fn is_killed(&self) -> bool {
        self.path.join(KILLED).exists()
    }

    /// How it ended, once that was judged.
    pub(super) fn exit(&self) -> io::Result<Option<Exit>> {
        Ok(files::read_json(&self.path.join(EXIT))?.value())
    }

    /// Where the directory was removed meanwhile, it stays removed.
    pub(super) fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        files::write_json(&self.path.join(EXIT), exit)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        files::remove_tree(&self.path)
    }
}

impl Record {
    /// The record of what has just started.
    pub(super) fn started(&self, incarnation: String) -> Self {
        Self { incarnation: Some(incarnation), boot: proc::boot_id(), uptime: proc::uptime(), ..self.clone() }
    }

    /// Whether that is the start that is meant; before it is written down, any is.
    pub(super) fn is_same_start(&self, incarnation: &str) -> bool {
        self.incarnation.as_ref().is_none_or(|meant| meant == incarnation)
    }

    /// The container that ran.
    pub(super) fn container(&self) -> Option<&str> {
        self.incarnation.as_ref()?.split('@').next()
    }

    /// Whether it was started before the machine was.
    pub(super) fn is_of_another_boot(&self) -> bool {
        self.incarnation.is_some() && self.boot != proc::boot_id()
    }

    /// For how long it has been running, if it runs; a clock that jumps changes nothing.
    pub(super) fn age(&self) -> Duration {
        Duration::from_millis(proc::uptime().saturating_sub(self.uptime))
    }
}
