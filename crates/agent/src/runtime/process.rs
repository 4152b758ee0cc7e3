//! Instances as local processes.
//!
//! Each instance has a directory, a port of its own and a supervisor that outlives the server; what is
//! written in the directory is all there is to know, so a new server finds everything again. A process is
//! known by number and start time, and its group is signalled only while both match.

mod bundle;
mod check;
mod dir;
mod launch;
mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use nix::sys::signal::Signal;
use temps_core::model::{Exit, InstanceId, RuntimeKind};
use tokio::time::{Instant, sleep};

use self::bundle::Bundles;
use self::dir::{InstanceDir, Look};
use self::ports::Ports;
use super::{Condition, Found, Job, Running, Runtime, StartError};
use crate::files;
use crate::logs::{self, LogLine, Until};
use crate::proc;
use crate::supervise::Ended;

/// How often the files of a running instance are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a supervisor that holds its lock may take to start the application.
const STARTING_WAIT: Duration = Duration::from_secs(10);
/// How long an application may take to disappear after SIGKILL.
const KILL_WAIT: Duration = Duration::from_secs(30);
/// The prefix of directories that are being removed.
const GONE: &str = ".gone-";

/// Where processes are kept, and with what.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// The data directory of this node's agent.
    pub data: PathBuf,
    /// Ports for instances. Nodes on one machine need ranges of their own.
    pub ports: RangeInclusive<u16>,
    /// The program, and arguments before the directory, that call [`crate::supervise`].
    pub supervisor: (PathBuf, Vec<OsString>),
}

/// Instances as local processes.
#[derive(Debug)]
pub struct ProcessRuntime {
    instances: PathBuf,
    supervisor: (PathBuf, Vec<OsString>),
    bundles: Bundles,
    ports: tokio::sync::Mutex<Ports>,
    /// The variables of what this server has started. They are on no disk.
    surroundings: Mutex<BTreeMap<InstanceId, Vec<(String, String)>>>,
}

impl ProcessRuntime {
    /// Opens or creates the directories, and clears away what was left half done.
    ///
    /// # Errors
    /// The data directory cannot be used.
    pub fn new(options: ProcessOptions) -> io::Result<Self> {
        files::private_dir(&options.data)?;
        // Working directories and commands must not depend on where the server was started.
        let data = fs::canonicalize(&options.data)?;
        let instances = data.join("instances");
        files::private_dir(&instances)?;
        for entry in fs::read_dir(&instances)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(GONE) {
                files::remove_tree(&entry.path())?;
            }
        }
        Ok(Self {
            bundles: Bundles::open(data.join("bundles"), &proc::boot_id())?,
            ports: tokio::sync::Mutex::new(Ports::open(options.ports, data.join("last-port"))),
            supervisor: options.supervisor,
            surroundings: Mutex::default(),
            instances,
        })
    }

    fn dir(&self, id: InstanceId) -> InstanceDir {
        InstanceDir::new(&self.instances, id)
    }

    fn dirs(&self) -> io::Result<Vec<InstanceDir>> {
        let mut dirs = Vec::new();
        for entry in fs::read_dir(&self.instances)? {
            // Whatever has no name of ours is not ours.
            if let Some(id) = instance_id(Path::new(&entry?.file_name())) {
                dirs.push(self.dir(id));
            }
        }
        Ok(dirs)
    }

    fn held_ports(&self) -> io::Result<BTreeSet<u16>> {
        let dirs = self.dirs()?;
        Ok(dirs.iter().filter_map(|dir| dir.record().ok().flatten()?.port).collect())
    }

    /// [`InstanceDir::look`], with what is about to happen awaited.
    async fn look(&self, dir: &InstanceDir) -> io::Result<Look> {
        let until = Instant::now() + STARTING_WAIT;
        loop {
            match dir.look()? {
                Look::Starting if Instant::now() < until => sleep(LOOK_AGAIN).await,
                Look::Orphaned(started) => return Ok(Look::Ended(dir.bury(&started).await)),
                other => return Ok(other),
            }
        }
    }

    async fn find(&self, dir: InstanceDir) -> io::Result<Option<Found>> {
        let condition = match self.look(&dir).await? {
            Look::Nothing => return Ok(None),
            Look::Running(started) => {
                let port = dir.record()?.and_then(|r| r.port);
                Condition::Running(dir.running(&started, port))
            }
            Look::Ended(ended) => Condition::Ended(dir.exit(ended)),
            Look::Unstarted | Look::Starting | Look::Orphaned(_) => Condition::Unstarted,
        };
        let record = dir.record()?;
        Ok(Some(Found {
            instance: dir.id,
            digest: record.as_ref().map(|r| r.digest.clone()).unwrap_or_default(),
            stop_grace: Duration::from_millis(record.map_or(0, |r| r.stop_grace)),
            condition,
        }))
    }
}

fn instance_id(name: &Path) -> Option<InstanceId> {
    let name = name.to_str()?;
    let id = InstanceId(name.strip_prefix('i')?.parse().ok()?);
    (id.to_string() == name).then_some(id)
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn start(&self, job: &Job) -> Result<Running, StartError> {
        let dir = self.dir(job.work.instance.id);
        match self.look(&dir).await? {
            Look::Running(started) => {
                let port = dir.record()?.and_then(|r| r.port);
                return Ok(dir.running(&started, port));
            }
            Look::Ended(_) => return Err(StartError::Ended),
            Look::Starting => return Err(StartError::Failed("its supervisor does not start it".to_owned())),
            Look::Unstarted => self.remove(dir.id).await?,
            Look::Nothing | Look::Orphaned(_) => {}
        }
        launch::launch(self, job, &dir).await
    }

    async fn list(&self) -> io::Result<Vec<Found>> {
        let mut all = Vec::new();
        for dir in self.dirs()? {
            all.extend(self.find(dir).await?);
        }
        Ok(all)
    }

    async fn wait(&self, instance: InstanceId) -> Exit {
        let dir = self.dir(instance);
        let mut last = None;
        loop {
            match self.look(&dir).await {
                Ok(Look::Ended(ended)) => return dir.exit(ended),
                Ok(Look::Running(started)) => last = Some(started),
                Ok(Look::Nothing) => {
                    if let Some(started) = &last {
                        dir.bury(started).await;
                    }
                    return dir.exit(Ended::excused("its directory was removed"));
                }
                Ok(Look::Unstarted) => return dir.exit(Ended::error("it was never started")),
                Ok(Look::Starting | Look::Orphaned(_)) => {}
                Err(error) => tracing::warn!(%instance, %error, "the files of an instance cannot be read"),
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Everything that ends is told by [`Runtime::wait`], and an address never changes.
    async fn changed(&self) {
        std::future::pending().await
    }

    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    async fn trouble(&self) -> Option<String> {
        None
    }

    async fn check(&self, instance: InstanceId, command: &str, limit: Duration) -> Result<(), String> {
        let (directory, environment) = self.surroundings(instance)?;
        check::run(command, &directory, environment, limit).await
    }

    async fn is(&self, instance: InstanceId, incarnation: &str) -> bool {
        let dir = self.dir(instance);
        match dir.look() {
            Ok(Look::Running(started)) => dir.incarnation(&started) == incarnation && started.app.lives(),
            Ok(Look::Nothing | Look::Unstarted | Look::Starting | Look::Ended(_) | Look::Orphaned(_))
            | Err(_) => false,
        }
    }

    async fn stop(&self, instance: InstanceId, grace: Duration) -> io::Result<()> {
        let dir = self.dir(instance);
        let Look::Running(started) = self.look(&dir).await? else { return Ok(()) };
        dir.ask()?;
        let signal = dir.record()?.map_or(Signal::SIGTERM, |record| record.stop_signal());
        started.app.signal_group(signal);
        if self.ends_within(&dir, grace).await? {
            return Ok(());
        }
        dir.note_kill()?;
        started.app.signal_group(Signal::SIGKILL);
        if self.ends_within(&dir, KILL_WAIT).await? {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end although it was killed"))
    }

    async fn remove(&self, instance: InstanceId) -> io::Result<()> {
        let dir = self.dir(instance);
        match dir.look()? {
            Look::Running(_) | Look::Starting => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it runs"));
            }
            Look::Orphaned(started) => drop(dir.bury(&started).await),
            Look::Nothing | Look::Unstarted | Look::Ended(_) => {}
        }
        self.surroundings.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
        let gone = self.instances.join(format!("{GONE}{instance}"));
        let removing = tokio::task::spawn_blocking(move || {
            files::remove_tree(&gone)?;
            match fs::rename(&dir.path, &gone) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => files::remove_tree(&gone),
            }
        });
        removing.await.map_err(io::Error::other)?
    }

    async fn discard(&self, digest: &str) -> io::Result<()> {
        self.bundles.discard(digest).await
    }

    fn lines(
        &self,
        instance: InstanceId,
        tail: usize,
        until: Until,
    ) -> BoxStream<'static, io::Result<LogLine>> {
        Box::pin(logs::lines(self.dir(instance).path, tail, until))
    }
}

impl ProcessRuntime {
    /// The working directory and the variables of a running instance.
    fn surroundings(&self, instance: InstanceId) -> Result<(PathBuf, Vec<(OsString, OsString)>), String> {
        let dir = self.dir(instance);
        let record = dir.record().ok().flatten();
        let (Ok(Look::Running(started)), Some(record)) = (dir.look(), record) else {
            return Err("it does not run".to_owned());
        };
        let known = self.surroundings.lock().unwrap_or_else(PoisonError::into_inner).get(&instance).cloned();
        let variables = match known {
            Some(known) => known.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            // An earlier server has started it.
            None => started.app.environment(),
        };
        Ok((self.bundles.directory(&record.digest), variables))
    }

    async fn ends_within(&self, dir: &InstanceDir, limit: Duration) -> io::Result<bool> {
        let until = Instant::now() + limit;
        loop {
            match self.look(dir).await? {
                Look::Ended(_) | Look::Nothing => return Ok(true),
                _ if Instant::now() >= until => return Ok(false),
                _ => sleep(LOOK_AGAIN.min(until.saturating_duration_since(Instant::now()))).await,
            }
        }
    }
}
