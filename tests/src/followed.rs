//! A command that tells a deployment's events as they come: whoever waits here knows each within milliseconds.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::Cli;
use crate::deployment::{Event, number_in, text};
use crate::trouble::{Context, Result, Trouble};
use crate::wait;

/// Time between two looks for an interrupt.
const LOOK: Duration = Duration::from_millis(50);

/// A running `temps deploy --watch` or the like. Dropping it ends the command, and nothing else.
#[derive(Debug)]
pub struct Followed {
    child: Child,
    lines: Receiver<Value>,
    errors: Option<JoinHandle<String>>,
    /// The number of the deployment, once it has told an event.
    pub number: Option<u64>,
    /// What it has told until now.
    pub events: Vec<Event>,
}

impl Followed {
    /// Starts a command with `--json --watch`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(cli: &Cli, arguments: &[&str]) -> Result<Self> {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--json", "--watch"]);
        let mut child = cli.start(&arguments)?;
        let (sender, lines) = channel();
        let stdout = child.stdout.take().ok_or_else(|| Trouble::new("no stdout"))?;
        std::thread::spawn(move || tell(stdout, |value| sender.send(value).is_ok()));
        let errors = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // What was read until an error is still worth showing.
                let _ = stderr.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        Ok(Self { child, lines, errors, number: None, events: Vec::new() })
    }

    /// Waits until it has told so many events; fewer where it has ended before.
    ///
    /// # Errors
    /// When it told fewer within `limit`, or the program was interrupted.
    pub fn reach(&mut self, events: usize, limit: Duration) -> Result {
        let until = Instant::now() + limit;
        while self.events.len() < events {
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => self.take(&line),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if wait::is_interrupted() {
                return Err(Trouble::new("interrupted"));
            }
            if Instant::now() > until {
                let told = self.events.len();
                return Err(Trouble::new(format!("{told} and not {events} events within {limit:?}")));
            }
        }
        Ok(())
    }

    /// Waits until it ends, which it does with the deployment; its exit code and what it wrote to stderr.
    ///
    /// # Errors
    /// When it has not ended within `limit`, or the program was interrupted.
    pub fn end(&mut self, limit: Duration) -> Result<(i32, String)> {
        self.reach(usize::MAX, limit)?;
        let status = self.child.wait()?;
        let said = self.errors.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        Ok((status.code().unwrap_or(-1), said))
    }

    fn take(&mut self, line: &Value) {
        if text(line, "kind") != "build_log" {
            self.number = self.number.or_else(|| number_in(line).ok());
            self.events.push(Event::read(line));
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // It has ended already, or nobody asks any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tell(stdout: ChildStdout, mut take: impl FnMut(Value) -> bool) {
    for line in BufReader::new(stdout).lines() {
        let value = line.context("stdout").and_then(|line| Ok(serde_json::from_str(&line)?));
        let Ok(value) = value else { return };
        if !take(value) {
            return;
        }
    }
}
