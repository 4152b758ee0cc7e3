//! The logs of builds, one directory for each deployment.
//!
//! `log` and its older parts are as those of instances; `exit.json` says that nothing more comes, until
//! the same deployment is built again. `made.json` lists the layers that the engine made for it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use temps_core::model::DeploymentId;
use temps_ledger::wall;

use super::steps::Steps;
use crate::files::{self, Content};
use crate::logs::{Cutter, FILE_BYTES, FILES, LogLine, RotatedLog, Source, TAIL, Until, last_lines, lines};
use crate::supervise::EXIT;

const MADE: &str = "made.json";

/// Layers that came of one attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Made {
    /// When it began, in Unix seconds: older ones are not its own, whatever its output says.
    pub(super) since: i64,
    /// Newest first.
    pub(super) layers: Vec<String>,
}

/// The logs of the builds on this node.
#[derive(Clone, Debug)]
pub struct BuildLogs {
    dir: PathBuf,
}

impl BuildLogs {
    /// Builds that were cut off by the end of the server are over.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        files::private_dir(&dir)?;
        let logs = Self { dir };
        for (_, dir) in logs.all()? {
            if dir.join(FILES[0]).exists() {
                files::write(&dir.join(EXIT), b"{}")?;
            }
        }
        Ok(logs)
    }

    /// Whether this node has a log of the build for a deployment.
    #[must_use]
    pub fn has(&self, deployment: DeploymentId) -> bool {
        self.of(deployment).join(FILES[0]).exists()
    }

    /// The last `tail` lines, then, if wanted, those that come until the build has ended. Nothing where
    /// this node has none.
    #[must_use]
    pub fn lines(
        &self,
        deployment: DeploymentId,
        tail: usize,
        until: Until,
    ) -> BoxStream<'static, io::Result<LogLine>> {
        lines(self.of(deployment), tail, until).boxed()
    }

    /// Begins or continues the log for a deployment.
    pub(super) fn begin(&self, deployment: DeploymentId) -> io::Result<BuildLog> {
        let dir = self.of(deployment);
        files::private_dir(&dir)?;
        let mut log = BuildLog {
            log: RotatedLog::new(&dir, FILE_BYTES),
            cutter: Cutter::new(Source::Out),
            steps: Steps::default(),
            since: i64::try_from(wall() / 1000).unwrap_or_default(),
            is_over: false,
            dir,
        };
        let is_again = log.dir.join(FILES[0]).exists();
        // A reader finds a log that has begun, and not yet its end.
        log.note(if is_again { "building again" } else { "building" });
        match fs::remove_file(log.dir.join(EXIT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(log),
        }
    }

    /// Removes the logs of all deployments but these, and gives the layers that are left of them.
    pub(super) fn forget(&self, keep: &BTreeSet<DeploymentId>) -> io::Result<Vec<(DeploymentId, Vec<Made>)>> {
        let mut left = Vec::new();
        for (deployment, dir) in self.all()? {
            if keep.contains(&deployment) {
                continue;
            }
            let made = made(&dir);
            if made.is_empty() {
                files::remove_tree(&dir)?;
                continue;
            }
            for name in FILES.into_iter().chain([EXIT]) {
                match fs::remove_file(dir.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            left.push((deployment, made));
        }
        Ok(left)
    }

    /// The layers of a forgotten build are gone.
    pub(super) fn forget_made(&self, deployment: DeploymentId) {
        if let Err(error) = files::remove_tree(&self.of(deployment)) {
            tracing::warn!(%deployment, %error, "the directory of an old build cannot be removed");
        }
    }

    fn of(&self, deployment: DeploymentId) -> PathBuf {
        self.dir.join(deployment.0.to_string())
    }

    fn all(&self) -> io::Result<Vec<(DeploymentId, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if let Ok(number) = entry.file_name().to_string_lossy().parse() {
                found.push((DeploymentId(number), entry.path()));
            }
        }
        Ok(found)
    }
}

fn made(dir: &Path) -> Vec<Made> {
    files::read_json(&dir.join(MADE)).ok().and_then(Content::value).unwrap_or_default()
}

/// A log that is written; it has an end when this is gone.
pub(super) struct BuildLog {
    dir: PathBuf,
    log: RotatedLog,
    cutter: Cutter,
    pub(super) steps: Steps,
    since: i64,
    is_over: bool,
}

impl BuildLog {
    /// What the engine wrote.
    pub(super) fn write(&mut self, text: &str) {
        self.steps.take(text);
        self.append(text.as_bytes());
    }

    fn append(&mut self, bytes: &[u8]) {
        let lines = self.cutter.take(wall(), bytes);
        if !lines.is_empty() {
            self.log.write(&lines);
        }
    }

    /// A line of our own.
    pub(super) fn note(&mut self, line: &str) {
        let rest = self.cutter.finish(wall());
        self.log.write(&rest);
        self.append(format!("{}\n", line.trim_end()).as_bytes());
    }

    /// Records the layers that the engine made.
    fn record(&self) -> io::Result<()> {
        let layers = self.steps.made();
        if layers.is_empty() {
            return Ok(());
        }
        let mut all = made(&self.dir);
        all.insert(0, Made { since: self.since, layers });
        files::write_json(&self.dir.join(MADE), &all)
    }

    /// The last lines.
    pub(super) fn tail(&mut self) -> Vec<String> {
        let rest = self.cutter.finish(wall());
        self.log.write(&rest);
        last_lines(&self.dir, TAIL)
    }

    /// Says how it ended.
    pub(super) fn end(mut self, line: &str) {
        self.note(line);
        self.is_over = true;
    }
}

impl Drop for BuildLog {
    fn drop(&mut self) {
        if !self.is_over {
            self.note("cancelled");
        }
        if let Err(error) = self.record() {
            tracing::warn!(%error, "the layers of a build are not recorded, and stay");
        }
        if let Err(error) = files::write(&self.dir.join(EXIT), b"{}") {
            tracing::warn!(%error, "the end of a build log is not recorded");
        }
    }
}
