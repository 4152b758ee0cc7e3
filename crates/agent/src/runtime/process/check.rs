//! One run of a command beside an instance.
//!
//! It has the instance's directory and variables, and a process group of its own that is killed when its
//! leader has ended or its time is up. What several runs add up to is not known here.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use temps_core::text;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::logs::last_line_of;
use crate::proc::Process;

/// So much of the end of its output is kept to say what was wrong, in bytes.
const WORDS: usize = 4 * 1024;
/// How long output is waited for after its end.
const WORDS_WAIT: Duration = Duration::from_millis(200);

pub(super) async fn run(
    command: &str,
    directory: &Path,
    environment: Vec<(OsString, OsString)>,
    limit: Duration,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("the check cannot be run: {error}");
    let (child, output) = spawn(command, directory, environment).map_err(failed)?;
    let leader = i32::try_from(child.id()).ok().and_then(Process::now);
    // Also where this future is dropped.
    let group = Group(leader);
    let mut output = pipe::Receiver::from_owned_fd(output).map_err(failed)?;
    let ending = tokio::task::spawn_blocking(move || end(child, leader));
    let mut words = Vec::new();
    let ended = {
        let reading = read(&mut output, &mut words);
        tokio::pin!(reading, ending);
        let watching = async {
            tokio::select! {
                () = &mut reading => ending.await,
                ended = &mut ending => {
                    let _ = timeout(WORDS_WAIT, &mut reading).await;
                    ended
                }
            }
        };
        timeout(limit, watching).await
    };
    drop(group);
    let said = match last_line_of(&words) {
        Some(line) => format!(": {line}"),
        None => String::new(),
    };
    match ended {
        Ok(Ok(Ok(status))) if status.success() => Ok(()),
        Ok(Ok(Ok(status))) => Err(format!("the check ended with {}{said}", how(status))),
        Ok(Ok(Err(error))) => Err(failed(error)),
        Ok(Err(error)) => Err(failed(io::Error::other(error))),
        Err(_) => {
            let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            Err(format!("the check took longer than {}{said}", text::duration(limit)))
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown exit code".to_owned(),
    }
}

fn spawn(
    command: &str,
    directory: &Path,
    environment: Vec<(OsString, OsString)>,
) -> io::Result<(Child, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .current_dir(directory)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((child, reader.into()))
}

/// Waits for the leader, and kills what it leaves behind while its number is still its own.
fn end(mut child: Child, leader: Option<Process>) -> io::Result<ExitStatus> {
    if let Some(leader) = leader {
        let ended =
            || waitid(Id::Pid(Pid::from_raw(leader.pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        while ended() == Err(Errno::EINTR) {}
        leader.signal_group(Signal::SIGKILL);
    }
    child.wait()
}

async fn read(output: &mut pipe::Receiver, words: &mut Vec<u8>) {
    let mut block = vec![0; WORDS];
    while let Ok(n @ 1..) = output.read(&mut block).await {
        words.extend_from_slice(&block[..n]);
        let surplus = words.len().saturating_sub(WORDS);
        words.drain(..surplus);
    }
}

/// A process group that is killed when this is dropped, unless its leader was seen to its end.
struct Group(Option<Process>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            leader.signal_group(Signal::SIGKILL);
        }
    }
}
