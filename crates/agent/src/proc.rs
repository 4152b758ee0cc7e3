//! Processes of this machine, told apart by number and start time.
//!
//! A process number alone names nobody: the kernel hands it out again. Number and start time together
//! name one process until the machine restarts. What the processes are for is not known here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use temps_core::model::Millis;

/// One process, for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since the machine did: field 22 of `/proc/<pid>/stat`.
    pub(crate) start: u64,
}

/// The parts of `/proc/<pid>/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Which process, exactly.
    pub(crate) process: Process,
    /// It has ended, and waits for its parent to ask how.
    pub(crate) ended: bool,
    /// Its parent's number.
    pub(crate) parent: i32,
    /// Its process group.
    pub(crate) group: i32,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn now(pid: i32) -> Option<Self> {
        stat(pid).map(|s| s.process)
    }

    /// It runs, or has ended and keeps its number because nobody asked how.
    pub(crate) fn exists(self) -> bool {
        stat(self.pid).is_some_and(|s| s.process == self)
    }

    /// It runs.
    pub(crate) fn lives(self) -> bool {
        stat(self.pid).is_some_and(|s| s.process == self && !s.ended)
    }

    /// The variables that it was started with, as far as it has not written over them.
    pub(crate) fn environment(self) -> Vec<(OsString, OsString)> {
        let text = std::fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        // The number may have been handed on before it was read.
        if !self.lives() {
            return Vec::new();
        }
        let pair = |line: &[u8]| {
            let at = line.iter().position(|b| *b == b'=')?;
            let (name, value) = (line.get(..at)?, line.get(at + 1..)?);
            (!name.is_empty()).then(|| (OsStr::from_bytes(name).into(), OsStr::from_bytes(value).into()))
        };
        text.split(|b| *b == 0).filter_map(pair).collect()
    }

    /// Signals the process group that it leads. Nobody is signalled where the number is another's now.
    pub(crate) fn signal_group(self, signal: Signal) {
        if self.exists() {
            // Who has ended in between needs no signal.
            let _ = killpg(Pid::from_raw(self.pid), signal);
        }
    }
}

/// What the kernel says about a process number.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: i32, line: &[u8]) -> Option<Stat> {
    // The name in parentheses may contain anything, parentheses and spaces included.
    let after_name = line.iter().rposition(|b| *b == b')')? + 1;
    let rest = std::str::from_utf8(line.get(after_name..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        // State is the third field of the line and the first one here.
        ended: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        process: Process { pid, start: fields.get(19)?.parse().ok()? },
    })
}

/// The children of a process, ended ones included.
pub(crate) fn children(of: i32) -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .filter(|s| s.parent == of)
        .collect()
}

/// What tells this run of the machine from the one before.
pub(crate) fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// How long the machine has been running; it never jumps.
pub(crate) fn uptime() -> Millis {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let first = text.split_ascii_whitespace().next().unwrap_or("0");
    let (seconds, hundredths) = first.split_once('.').unwrap_or((first, "0"));
    seconds.parse().unwrap_or(0) * 1_000 + hundredths.parse().unwrap_or(0) * 10
}

#[cfg(test)]
mod tests {
    use super::{Process, Stat, boot_id, children, parse, stat, uptime};

    #[test]
    fn a_name_cannot_pretend_to_be_fields() {
        let line = b"7 (a) R 1 (x) S 3 4 5 0 -1 4 9 0 0 0 0 0 0 0 20 0 1 0 208409 313 38 1\n";
        let expected =
            Stat { process: Process { pid: 7, start: 208_409 }, ended: false, parent: 3, group: 4 };
        assert_eq!(parse(7, line), Some(expected));
        for hostile in [&b""[..], b"7", b"7 (a", b"7 (a)", b"7 (a) S", b"7 (a) S x y z"] {
            assert_eq!(parse(7, hostile), None);
        }
    }

    #[test]
    fn this_process_is_found_and_another_start_of_its_number_is_not() {
        let me = Process::now(i32::try_from(std::process::id()).expect("small")).expect("this process runs");
        assert!(me.exists() && me.lives());
        let other = Process { start: me.start + 1, ..me };
        assert!(!other.exists() && !other.lives());
        let parent = stat(me.pid).expect("this process runs").parent;
        assert!(children(parent).iter().any(|c| c.process == me));
        assert!(!boot_id().is_empty());
        assert!(uptime() > 0);
    }
}
