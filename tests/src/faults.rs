//! Faults made with signals, by process id.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};

use crate::trouble::{Result, Trouble};

/// Sends a signal. A process that is gone already is fine.
///
/// # Errors
/// When it may not be sent.
pub fn signal(pid: u32, signal: Signal) -> Result {
    match kill(Pid::from_raw(pid.cast_signed()), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Stops a process where it stands: it holds its sockets and answers nothing.
///
/// # Errors
/// When the signal may not be sent.
pub fn freeze(pid: u32) -> Result {
    signal(pid, Signal::SIGSTOP)
}

/// Lets a frozen process go on.
///
/// # Errors
/// When the signal may not be sent.
pub fn thaw(pid: u32) -> Result {
    signal(pid, Signal::SIGCONT)
}

/// Ends a process as a power cut would.
///
/// # Errors
/// When the signal may not be sent.
pub fn slay(pid: u32) -> Result {
    signal(pid, Signal::SIGKILL)
}

/// Ends a process, and with it all others of its process group where it leads one.
///
/// # Errors
/// When the signal may not be sent.
pub fn slay_with_group(pid: u32) -> Result {
    let process = Pid::from_raw(pid.cast_signed());
    if getpgid(Some(process)) == Ok(process) {
        return match killpg(process, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        };
    }
    slay(pid)
}

/// What the kernel tells of a process, or of a thread, at this place of `/proc`: the fields of its `stat` from the state
/// on, which is the third of `proc(5)`. `None`: it is gone.
#[must_use]
pub fn stat(of: &Path) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(of.join("stat")).ok()?;
    // The name of the program may have spaces and brackets in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Whether a process runs; one that only waits to be reaped does not. While one of its threads runs, it has its sockets.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let ended = |state: &String| matches!(state.as_str(), "Z" | "X");
    let alive = |of: &Path| stat(of).is_some_and(|fields| fields.first().is_some_and(|state| !ended(state)));
    let process = PathBuf::from(format!("/proc/{pid}"));
    if alive(&process) {
        return true;
    }
    let threads = std::fs::read_dir(process.join("task")).into_iter().flatten();
    threads.flatten().any(|thread| alive(&thread.path()))
}

/// Waits until a process is gone; an interrupt does not shorten this.
///
/// # Errors
/// When it is not within 10 seconds.
pub fn await_end(pid: u32) -> Result {
    let until = Instant::now() + Duration::from_secs(10);
    while is_running(pid) {
        if Instant::now() > until {
            return Err(Trouble::new(format!("process {pid} does not end")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Processes that work in `dir` or name it on their command line, with that command line.
#[must_use]
pub fn processes_of(dir: &Path) -> Vec<(u32, String)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own && is_running(*pid)).filter_map(|pid| belongs(pid, dir)).collect()
}

fn belongs(pid: u32, dir: &Path) -> Option<(u32, String)> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let works_there = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
    (works_there || line.contains(&*dir.to_string_lossy())).then_some((pid, line))
}
