//! The parent of one application process.
//!
//! It lives apart from the server, so that exit codes and log lines survive whatever happens to that:
//! it starts the application, copies its output into the log, and writes down how it ended. It decides
//! nothing: whoever stops the application signals it directly.
//!
//! In its directory: `lock` is held while it lives, `running.json` says which process it started,
//! `exit.json` how that ended; the file `asked`, written by others, says that the end is wanted.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use temps_core::model::Millis;
use temps_ledger::wall;

use crate::files;
use crate::logs::{Cutter, FILE_BYTES, RotatedLog, Source};
use crate::proc::{self, Process};

pub(crate) const RUNNING: &str = "running.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const ASKED: &str = "asked";
const LOCK: &str = "lock";

/// How long to wait for the lock, which somebody may hold for a moment to see whether it is free.
const LOCK_WAIT: Duration = Duration::from_millis(500);
/// How long killed processes may take to disappear.
const CLEAR_WAIT: Duration = Duration::from_secs(10);
/// How long output is waited for after the last process has ended.
const OUTPUT_WAIT: Duration = Duration::from_secs(2);
/// How often writing down the end is tried again, once a second: a full disk may be freed.
const EXIT_TRIES: u32 = 300;

/// What to start. It is read from standard input: its variables are on no disk and in no command line.
#[derive(Serialize, Deserialize)]
pub(crate) struct Launch {
    /// For `/bin/sh -c`.
    pub(crate) command: String,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// The whole environment, in order; a later one of the same name wins.
    pub(crate) environment: Vec<(String, String)>,
}

/// What was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Started {
    /// The application, leader of its own process group.
    pub(crate) app: Process,
    /// Its parent.
    pub(crate) supervisor: Process,
    /// During which run of the machine.
    pub(crate) boot: String,
    /// When, in milliseconds of that run.
    pub(crate) uptime: Millis,
}

/// How it ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Exit code, where there is one.
    pub(crate) code: Option<i32>,
    /// Signal number, where it was killed by one.
    pub(crate) signal: Option<i32>,
    /// Why there is neither.
    pub(crate) error: Option<String>,
    /// Not the application ended it, but its machine or somebody there.
    #[serde(default)]
    pub(crate) excused: bool,
    /// Wall clock, for people.
    pub(crate) wall: Millis,
}

impl Ended {
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self { error: Some(text.into()), wall: wall(), ..Self::default() }
    }

    /// An end that the application is not to blame for.
    pub(crate) fn excused(text: impl Into<String>) -> Self {
        Self { excused: true, ..Self::error(text) }
    }
}

/// Runs until the application has ended. The hidden subcommand `supervise DIR` of the binary is this.
#[must_use]
pub fn supervise(dir: &Path) -> ExitCode {
    match run(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There may be nobody to read it.
            let _ = writeln!(io::stderr(), "{}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

/// Takes the lock of an instance's directory; `None` where a supervisor holds it.
pub(crate) fn try_lock(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

fn run(dir: &Path) -> io::Result<()> {
    // Signals for the server's group or terminal are not for this process. It may lead a session already.
    let _ = nix::unistd::setsid();
    let _signals = survive_signals()?;
    // Whoever has lost its parent among the application's processes becomes a child of this one.
    nix::sys::prctl::set_child_subreaper(true)?;

    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let launch: Launch = serde_json::from_str(&text)?;
    drop(text);
    let _lock = lock(dir)?;
    if dir.join(RUNNING).exists() || dir.join(EXIT).exists() {
        return Err(io::Error::other("this instance was started before"));
    }

    let mut child = match spawn(&launch) {
        Ok(child) => child,
        Err(error) => {
            finish(dir, &Ended::error(format!("could not be started: {error}")))?;
            return announce();
        }
    };
    drop(launch);
    let leader = i32::try_from(child.id()).map_err(io::Error::other)?;
    if let Err(error) = note(dir, leader) {
        let _ = child.kill();
        wait_for(leader);
        clear(leader, Whom::Everybody);
        let _ = child.wait();
        return finish(dir, &Ended::error(format!("could not be noted: {error}")));
    }
    announce()?;

    let output = Output::copy(&mut child, dir);
    wait_for(leader);
    let whom = if dir.join(ASKED).exists() { Whom::Strays } else { Whom::Everybody };
    clear(leader, whom);
    let status = child.wait()?;
    output.wait();
    finish(dir, &Ended { code: status.code(), signal: status.signal(), wall: wall(), ..Ended::default() })
}

/// SIGTERM, SIGINT and SIGHUP do nothing here from now on. They are caught, not ignored or blocked:
/// both of these the application would inherit.
fn survive_signals() -> io::Result<tokio::runtime::Runtime> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()] {
        drop(signal(kind)?);
    }
    drop(guard);
    Ok(runtime)
}

/// The server takes the lock and hands it over as standard error: so there is no moment in which somebody
/// else could think that nothing is about to start here.
fn lock(dir: &Path) -> io::Result<File> {
    let given = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let file = |m: &Metadata| (m.dev(), m.ino());
    let own = std::fs::metadata(dir.join(LOCK)).as_ref().map(file).ok();
    if own == Some(file(&given.metadata()?)) && given.try_lock().is_ok() {
        return Ok(given);
    }
    let until = Instant::now() + LOCK_WAIT;
    loop {
        if let Some(lock) = try_lock(dir)? {
            return Ok(lock);
        }
        if Instant::now() > until {
            return Err(io::Error::other("this instance has a supervisor"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn spawn(launch: &Launch) -> io::Result<Child> {
    Command::new("/bin/sh")
        .arg("-c")
        .arg(&launch.command)
        .current_dir(&launch.directory)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

fn note(dir: &Path, leader: i32) -> io::Result<()> {
    let gone = || io::Error::other("/proc does not show it");
    let started = Started {
        app: Process::now(leader).ok_or_else(gone)?,
        supervisor: Process::now(nix::unistd::getpid().as_raw()).ok_or_else(gone)?,
        boot: proc::boot_id(),
        uptime: proc::uptime(),
    };
    files::write_json(&dir.join(RUNNING), &started)
}

/// Tells the server that the files are there. It may have gone.
fn announce() -> io::Result<()> {
    let mut out = io::stdout();
    let _ = out.write_all(b"ok\n").and_then(|()| out.flush());
    Ok(())
}

/// Returns when the leader has ended. Its number stays taken until [`Child::wait`], so that it can be
/// told from any other process for as long as anything of its group is left.
fn wait_for(leader: i32) {
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(status) => match status.pid() {
                Some(pid) if pid.as_raw() == leader => return,
                Some(pid) => reap(pid.as_raw()),
                None => {}
            },
            Err(Errno::EINTR) => {}
            // A status that has no name, such as the end by a real-time signal.
            Err(_) => {
                let ended: Vec<_> = children().into_iter().filter(|c| c.ended).collect();
                if ended.iter().any(|c| c.process.pid == leader) {
                    return;
                }
                ended.iter().for_each(|c| reap(c.process.pid));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn children() -> Vec<proc::Stat> {
    proc::children(nix::unistd::getpid().as_raw())
}

fn reap(pid: i32) {
    let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
}

/// Who is killed once the leader has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// All that it left behind.
    Everybody,
    /// Those that have left its group. The others were asked to end and may take their time; who asked
    /// kills them when it is up.
    Strays,
}

/// Returns when no process of the application is left but its ended leader.
fn clear(leader: i32, whom: Whom) {
    let until = Instant::now() + CLEAR_WAIT;
    loop {
        let left: Vec<_> = children().into_iter().filter(|c| c.process.pid != leader).collect();
        if left.is_empty() {
            return;
        }
        let mut waits = false;
        for process in left {
            let pid = process.process.pid;
            if process.ended {
                reap(pid);
            } else if whom == Whom::Strays && process.group == leader {
                waits = true;
            } else {
                // It is a child of this process, so the number is still its own.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        if !waits && Instant::now() > until {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn finish(dir: &Path, ended: &Ended) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match files::write_json(&dir.join(EXIT), ended) {
            Err(error) if error.kind() != io::ErrorKind::NotFound && tries < EXIT_TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_secs(1));
            }
            other => return other,
        }
    }
}

/// The threads that copy an application's output.
struct Output {
    done: mpsc::Receiver<()>,
}

impl Output {
    fn copy(child: &mut Child, dir: &Path) -> Self {
        let log = Arc::new(Mutex::new(RotatedLog::new(dir, FILE_BYTES)));
        let (tell, done) = mpsc::channel();
        if let Some(pipe) = child.stdout.take() {
            let (log, tell) = (Arc::clone(&log), tell.clone());
            std::thread::spawn(move || copy(pipe, Source::Out, &log, &tell));
        }
        if let Some(pipe) = child.stderr.take() {
            std::thread::spawn(move || copy(pipe, Source::Err, &log, &tell));
        }
        Self { done }
    }

    /// Both streams are usually at their end already. A process elsewhere can hold one open for ever.
    fn wait(&self) {
        let until = Instant::now() + OUTPUT_WAIT;
        for _ in 0..2 {
            let _ = self.done.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

fn copy(mut pipe: impl Read, source: Source, log: &Mutex<RotatedLog>, tell: &mpsc::Sender<()>) {
    let mut cutter = Cutter::new(source);
    let mut block = vec![0; 64 * 1024];
    loop {
        let lines = match pipe.read(&mut block) {
            Ok(0) => break,
            Ok(n) => cutter.take(wall(), &block[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if !lines.is_empty() {
            log.lock().unwrap_or_else(PoisonError::into_inner).write(&lines);
        }
    }
    log.lock().unwrap_or_else(PoisonError::into_inner).write(&cutter.finish(wall()));
    let _ = tell.send(());
}
