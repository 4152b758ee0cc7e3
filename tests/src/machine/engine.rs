//! A Docker engine in a network namespace: started, stopped, killed and cleared by us alone.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{net, unmount_below};
use crate::faults;
use crate::trouble::{Context, Result, Trouble};
use crate::wait;

/// How long an engine may take to answer, on a busy machine.
const START: Duration = Duration::from_secs(30);

/// How long it may take to end.
const END: Duration = Duration::from_secs(20);

/// An engine. Its containers outlive it; [`Engine::clear`] ends them, too.
#[derive(Debug)]
pub struct Engine {
    namespace: String,
    dir: PathBuf,
    process: Option<Child>,
}

impl Engine {
    pub(super) fn new(namespace: &str, dir: PathBuf) -> Self {
        Self { namespace: namespace.to_owned(), dir, process: None }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// Where its images and containers are.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where it keeps what a container writes to its log.
    #[must_use]
    pub fn log_dir(&self, container: &str) -> PathBuf {
        self.data().join("containers").join(container)
    }

    /// Bytes that are free where its images and containers are.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn free(&self) -> Result<u64> {
        let told = nix::sys::statvfs::statvfs(&self.data())?;
        Ok(told.blocks_available() * told.fragment_size())
    }

    fn log(&self) -> PathBuf {
        self.dir.with_extension("engine.log")
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let skip = text.lines().count().saturating_sub(lines);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&mut self) -> Result {
        self.launch()?;
        let answers = wait::until("an engine to answer", START, || self.answers());
        answers.map_err(|trouble| Trouble::new(format!("{trouble}; its log ends:\n{}", self.log_tail(8))))
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn launch(&mut self) -> Result {
        if self.is_up() {
            return Err(Trouble::new(format!("the engine of {} runs already", self.dir.display())));
        }
        fs::create_dir_all(&self.dir)?;
        let pid_file = self.dir.join("pid");
        for file in [&pid_file, &self.dir.join("exec/containerd/containerd.pid")] {
            let pid = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
            // Killed ones leave it behind, and the next engine would take whoever has the number now, or a process
            // that only waits to be reaped, for its own.
            if pid.is_some_and(|pid| !faults::is_running(pid)) {
                fs::remove_file(file)?;
            }
        }
        let settings = self.dir.join("daemon.json");
        fs::write(&settings, "{}")?;
        let log: File = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = net::inside(&self.namespace, "dockerd");
        command
            .arg("--config-file")
            .arg(settings)
            .arg("--data-root")
            .arg(self.data())
            .arg("--exec-root")
            .arg(self.dir.join("exec"))
            .arg("--pidfile")
            .arg(pid_file)
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            // A containerd that runs here for all serves several engines, each in a space of its own.
            .arg(format!("--containerd-namespace={}", self.namespace))
            .arg(format!("--containerd-plugins-namespace={}-plugins", self.namespace))
            .args(["--live-restore", "--bip", "172.30.255.1/24"])
            // An interrupt from the terminal is for us, who then end it in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.process = Some(command.spawn().context("nsenter")?);
        Ok(())
    }

    /// Whether its process runs. Reaps it if it has ended.
    pub fn is_up(&mut self) -> bool {
        self.process.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id, while it was not ended from here.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Whether it answers now.
    #[must_use]
    pub fn answers(&self) -> bool {
        ping(&self.socket()).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Ends it in order; its containers live on.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result {
        let Some(mut child) = self.process.take() else {
            return Ok(());
        };
        faults::signal(child.id(), Signal::SIGTERM)?;
        let until = Instant::now() + END;
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                return Err(Trouble::new(format!("the engine did not end:\n{}", self.log_tail(10))));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills it as a power cut would; its containers live on.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result {
        let Some(mut child) = self.process.take() else {
            return Ok(());
        };
        child.kill()?;
        child.wait()?;
        // Its containerd dies with it, but a moment later; the next engine must not take that one for its own.
        let settings = self.dir.join("exec/containerd/containerd.toml");
        let until = Instant::now() + Duration::from_secs(2);
        while !faults::processes_of(&settings).is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// All processes in its containers, whether it runs or not.
    #[must_use]
    pub fn pids(&self) -> BTreeSet<u32> {
        pids_of(&self.data())
    }

    /// Ends its containers and itself, and deletes its files; its log stays.
    ///
    /// # Errors
    /// When something survives.
    pub fn clear(&mut self) -> Result {
        if self.is_up() && self.answers() {
            // What the engine cannot remove is ended below.
            let _ = self.remove_all();
        }
        let stopped = self.stop();
        raze(&self.dir)?;
        stopped
    }
}

/// Asks for a sign of life.
fn ping(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 64];
    let n = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
}

/// Ids of all containers that an engine has written down.
fn ids_in(data: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(data.join("containers")) else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Processes whose control group names a container of this engine.
fn pids_of(data: &Path) -> BTreeSet<u32> {
    let ids = ids_in(data);
    if ids.is_empty() {
        return BTreeSet::new();
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let inside = |pid: &u32| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        ids.iter().any(|id| groups.contains(id.as_str())) && faults::is_running(*pid)
    };
    pids.filter(inside).collect()
}

/// Ends everything of an engine whose files are in `dir`, whoever started it, and deletes the files.
pub(super) fn raze(dir: &Path) -> Result {
    let data = dir.join("data");
    let ids = ids_in(&data);
    // The engine first, or it would start again what is ended.
    for (pid, _) in faults::processes_of(dir) {
        faults::slay(pid)?;
    }
    for pid in pids_of(&data) {
        faults::slay(pid)?;
    }
    let until = Instant::now() + END;
    while !pids_of(&data).is_empty() || !faults::processes_of(dir).is_empty() {
        if Instant::now() > until {
            return Err(Trouble::new(format!("processes of the engine in {} survive", dir.display())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    unmount_below(dir)?;
    for id in ids {
        remove_groups(&id);
    }
    if dir.exists() {
        fs::remove_dir_all(dir).context(dir.display())?;
    }
    Ok(())
}

/// Removes a container's control groups, which its runtime would have removed.
fn remove_groups(id: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    for group in hierarchies.chain([root.to_owned()]).map(|dir| dir.join("docker").join(id)) {
        // One that is not there, or is in use for a moment still, does no harm.
        let _ = fs::remove_dir(group);
    }
}
