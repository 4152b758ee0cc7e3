//! A command beside an instance, in its container.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use temps_core::model::{InstanceId, Millis};
use temps_core::text;

use super::DockerRuntime;
use super::engine::{Engine, EngineError, QUICK};
use super::words::words;
use crate::logs::printable;

/// How long until an engine that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How much of an unfinished line is kept, in bytes.
const LINE: usize = 4 * 1024;
/// How often the engine is asked for the exit code of a command whose output has ended.
const CODE_TRIES: u32 = 20;

/// Runs it. While the engine does not answer nothing is known, and nothing is answered.
pub(super) async fn check(
    runtime: &DockerRuntime,
    instance: InstanceId,
    command: &str,
    limit: Duration,
) -> Result<(), String> {
    let Some(words) = words(command) else { return Err("the command is empty".to_owned()) };
    loop {
        match once(runtime, instance, words.clone(), limit).await {
            Ok(outcome) => return outcome,
            Err(error) if error.is_away() => tokio::time::sleep(ASK_AGAIN).await,
            Err(EngineError::Missing(_)) => return Err("its container is gone".to_owned()),
            Err(EngineError::Conflict(_)) => return Err("it does not run".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

async fn once(
    runtime: &DockerRuntime,
    instance: InstanceId,
    words: Vec<String>,
    limit: Duration,
) -> Result<Result<(), String>, EngineError> {
    let engine = &runtime.engine;
    let name = runtime.owner.container(instance);
    let config = ExecConfig {
        cmd: Some(words),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..ExecConfig::default()
    };
    let container = name.as_str();
    let created =
        engine.ask(QUICK, |docker| async move { docker.create_exec(container, config).await }).await?;
    let id = created.id.as_str();
    match tokio::time::timeout(limit, run(engine, id)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            // An engine that hangs looks like a command that does.
            engine.ping().await?;
            end(engine, id).await;
            let limit = Millis::try_from(limit.as_millis()).unwrap_or(Millis::MAX);
            Ok(Err(format!("no end within {}", text::duration(limit))))
        }
    }
}

async fn run(engine: &Engine, id: &str) -> Result<Result<(), String>, EngineError> {
    let options = StartExecOptions::default();
    let started =
        engine.ask(QUICK, |docker| async move { docker.start_exec(id, Some(options)).await }).await?;
    let mut last = LastLine::default();
    if let StartExecResults::Attached { mut output, .. } = started {
        while let Some(Ok(frame)) = output.next().await {
            if let LogOutput::StdOut { message }
            | LogOutput::StdErr { message }
            | LogOutput::Console { message } = frame
            {
                last.take(&message);
            }
        }
    }
    for _ in 0..CODE_TRIES {
        let told = engine.ask(QUICK, |docker| async move { docker.inspect_exec(id).await }).await?;
        if told.running == Some(true) {
            tokio::time::sleep(ASK_AGAIN / 20).await;
            continue;
        }
        return Ok(match (told.exit_code, last.text()) {
            (Some(0), _) => Ok(()),
            (Some(code), line) if line.is_empty() => Err(format!("exit code {code}")),
            (Some(code), line) => Err(format!("exit code {code}: {line}")),
            (None, _) => Err("it ended without an exit code".to_owned()),
        });
    }
    Ok(Err("it closed its output and goes on".to_owned()))
}

/// Ends a command that takes too long. The engine has no word for that; its process is signalled where it
/// can be seen from here, and only if it is in a container.
async fn end(engine: &Engine, id: &str) {
    let told = engine.ask(QUICK, |docker| async move { docker.inspect_exec(id).await }).await;
    let Ok(told) = told else { return };
    let Some(pid) = told.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) else { return };
    let container = told.container_id.unwrap_or_default();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if !container.is_empty() && groups.contains(&container) {
        // Where this is not allowed, it goes on until it ends by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The last line that is not empty.
#[derive(Debug, Default)]
struct LastLine {
    done: Vec<u8>,
    open: Vec<u8>,
}

impl LastLine {
    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let room = LINE.saturating_sub(self.open.len());
            self.open.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.open);
                if !line.trim_ascii().is_empty() {
                    self.done = line;
                }
            }
        }
    }

    fn text(&self) -> String {
        let line = if self.open.trim_ascii().is_empty() { &self.done } else { &self.open };
        printable(line.trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE, LastLine};

    #[test]
    fn the_last_line_is_found_wherever_the_stream_is_cut() {
        let mut last = LastLine::default();
        assert_eq!(last.text(), "");
        for part in [&b"one\ntw"[..], b"o\n", b"\n  \n"] {
            last.take(part);
        }
        assert_eq!(last.text(), "two");
        last.take(b"three");
        assert_eq!(last.text(), "three");
        last.take(&vec![b'x'; 10 * LINE]);
        assert!(last.open.len() <= LINE);
    }
}
