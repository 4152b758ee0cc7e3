//! The command line, run as a user runs it.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine;
use crate::trouble::{Context, Result, Trouble};
use crate::wait;

/// How a user calls `temps`: which nodes, as whom.
#[derive(Clone, Debug)]
pub struct Cli {
    /// The binary.
    pub binary: PathBuf,
    /// `host:port` of nodes, tried in this order.
    pub endpoints: Vec<String>,
    /// The API token.
    pub token: String,
    /// The home directory: an empty one, so that nobody's own configuration is read.
    pub home: PathBuf,
    /// More environment variables.
    pub variables: Vec<(String, String)>,
    /// How long a command may take.
    pub limit: Duration,
    /// The network namespace where it runs, if not in ours.
    pub namespace: Option<String>,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Cli {
    /// The same user with one more environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command, not yet started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.namespace {
            Some(namespace) => machine::inside(namespace, &self.binary),
            None => Command::new(&self.binary),
        };
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("TEMPS_ENDPOINTS", self.endpoints.join(","))
            .env("TEMPS_TOKEN", &self.token)
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a command, for example to kill it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        self.command(arguments).spawn().context(self.binary.display())
    }

    /// Runs a command to its end, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be started, or takes longer than `limit`.
    pub fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let started = Instant::now();
        let mut child = self.start(arguments)?;
        let stdout = reader(child.stdout.take());
        let stderr = reader(child.stderr.take());
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > self.limit {
                child.kill()?;
                child.wait()?;
                let said = stderr.join().unwrap_or_default();
                let limit = self.limit;
                return Err(Trouble::new(format!("temps {arguments:?} took over {limit:?}: {said}")));
            }
            wait::nap(Duration::from_millis(10)).inspect_err(|_| drop(child.kill()))?;
        };
        Ok(Ran {
            code: status.code().unwrap_or(-1),
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
            took: started.elapsed(),
        })
    }

    /// Runs a command that has to succeed, and returns its stdout.
    ///
    /// # Errors
    /// When it does not.
    pub fn text(&self, arguments: &[&str]) -> Result<String> {
        let ran = self.run(arguments)?;
        if ran.code != 0 {
            return Err(Trouble::new(format!("temps {arguments:?} answered {ran:#?}")));
        }
        Ok(ran.stdout)
    }

    /// Runs a command with `--json` that has to succeed, and returns the object.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let text = self.text(&arguments)?;
        serde_json::from_str(&text).context(format!("temps {arguments:?} printed {text}"))
    }
}

impl Ran {
    /// The object that it printed.
    ///
    /// # Errors
    /// When stdout is something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).context(format!("no JSON on stdout: {self:#?}"))
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
