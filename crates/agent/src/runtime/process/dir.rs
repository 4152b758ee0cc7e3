//! The directory of one instance: everything that is known about it on this node.
//!
//! `instance.json` is written before anything starts; `running.json` and `exit.json` by the supervisor;
//! `asked` before a stop signal is sent, `killed` before a kill after the grace. Variables are in none.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use temps_core::model::{Endpoint, Exit, InstanceId, Millis};

use crate::files::{self, Content};
use crate::logs::{TAIL, last_lines};
use crate::proc;
use crate::runtime::Running;
use crate::supervise::{ASKED, EXIT, Ended, RUNNING, Started, try_lock};

const INSTANCE: &str = "instance.json";
const KILLED: &str = "killed";
/// How long a killed application may take to disappear.
const BURY_WAIT: Duration = Duration::from_secs(5);

/// What was decided before an instance was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) instance: InstanceId,
    pub(super) digest: String,
    pub(super) port: Option<u16>,
    pub(super) stop_grace: Millis,
    /// The signal that asks it to end, where that is not SIGTERM.
    #[serde(default)]
    pub(super) stop_signal: Option<String>,
}

impl Record {
    pub(super) fn stop_signal(&self) -> Signal {
        self.stop_signal.as_deref().and_then(signal).unwrap_or(Signal::SIGTERM)
    }
}

/// A signal by its name, with or without `SIG`.
pub(super) fn signal(name: &str) -> Option<Signal> {
    let name = name.to_ascii_uppercase();
    let whole = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    whole.parse().ok()
}

/// How an instance is.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// There is no such directory.
    Nothing,
    /// Nothing was started yet, and nobody is about to.
    Unstarted,
    /// A supervisor is about to start it.
    Starting,
    /// It runs.
    Running(Started),
    /// It has ended.
    Ended(Ended),
    /// Its supervisor was killed; the application may still run.
    Orphaned(Started),
}

/// The directory of one instance.
#[derive(Clone, Debug)]
pub(super) struct InstanceDir {
    pub(super) id: InstanceId,
    pub(super) path: PathBuf,
}

impl InstanceDir {
    pub(super) fn new(instances: &Path, id: InstanceId) -> Self {
        Self { id, path: instances.join(id.to_string()) }
    }

    /// Creates it.
    pub(super) fn create(&self, record: &Record) -> io::Result<()> {
        files::private_dir(&self.home())?;
        files::write_json(&self.path.join(INSTANCE), record)
    }

    /// A directory of its own that the application may write to.
    pub(super) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    pub(super) fn record(&self) -> io::Result<Option<Record>> {
        Ok(files::read_json(&self.path.join(INSTANCE))?.value())
    }

    pub(super) fn started(&self) -> io::Result<Option<Started>> {
        Ok(files::read_json(&self.path.join(RUNNING))?.value())
    }

    pub(super) fn look(&self) -> io::Result<Look> {
        if !self.path.is_dir() {
            return Ok(Look::Nothing);
        }
        let started = self.started()?;
        // Asked before the file is: a supervisor writes it and then ends.
        let supervised = started.as_ref().is_some_and(|s| s.boot == proc::boot_id() && s.supervisor.lives());
        match files::read_json(&self.path.join(EXIT))? {
            Content::Value(ended) => return Ok(Look::Ended(ended)),
            Content::Damaged => return Ok(Look::Ended(Ended::error("how it ended cannot be read"))),
            Content::Nothing => {}
        }
        Ok(match started {
            Some(started) if supervised => Look::Running(started),
            Some(started) if started.boot == proc::boot_id() => Look::Orphaned(started),
            Some(_) => Look::Ended(Ended::excused("the machine was restarted")),
            // Or it is running, and what was written about that is damaged: the same, for who asks.
            None if try_lock(&self.path)?.is_none() => Look::Starting,
            None => Look::Unstarted,
        })
    }

    /// Ends what has lost its supervisor, because nobody would know how it ends or keep its log.
    pub(super) async fn bury(&self, started: &Started) -> Ended {
        started.app.signal_group(Signal::SIGKILL);
        let until = tokio::time::Instant::now() + BURY_WAIT;
        while started.app.lives() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ended = Ended::excused("its supervisor was killed, so it was killed too");
        let _ = files::write_json(&self.path.join(EXIT), &ended);
        ended
    }

    /// That the end is wanted, before it is asked for.
    pub(super) fn ask(&self) -> io::Result<()> {
        files::write(&self.path.join(ASKED), b"")
    }

    pub(super) fn note_kill(&self) -> io::Result<()> {
        files::write(&self.path.join(KILLED), b"")
    }

    pub(super) fn running(&self, started: &Started, port: Option<u16>) -> Running {
        let incarnation = self.incarnation(started);
        let endpoint = port
            .map(|port| Endpoint { address: format!("127.0.0.1:{port}"), incarnation: incarnation.clone() });
        let age = Duration::from_millis(proc::uptime().saturating_sub(started.uptime));
        Running { incarnation, endpoint, age }
    }

    pub(super) fn incarnation(&self, started: &Started) -> String {
        format!("{}-{}-{}", started.app.pid, started.app.start, self.id)
    }

    pub(super) fn exit(&self, ended: Ended) -> Exit {
        let asked = self.path.join(ASKED).exists();
        Exit {
            code: ended.code,
            signal: ended.signal,
            error: ended.error,
            asked,
            killed_after_grace: self.path.join(KILLED).exists(),
            oom: false,
            excused: ended.excused,
            // Nobody asks why something ended that was told to.
            log_tail: if asked { Vec::new() } else { last_lines(&self.path, TAIL) },
        }
    }
}
