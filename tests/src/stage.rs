//! What the demo and the chaos runs share: where they write, and how they end.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use crate::trouble::Result;
use crate::wait;

/// Where a program tells its story: stdout for people, stderr when stdout is for one JSON object.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    json: bool,
}

/// What a program found.
#[derive(Debug)]
pub struct Verdict {
    /// For `--json`.
    pub object: Value,
    /// What was wrong; nothing where all is well.
    pub complaints: Vec<String>,
}

impl Stage {
    /// Tells a line or several.
    pub fn say(self, text: &str) {
        let text = format!("{}\n", text.trim_end());
        // A closed output has nobody to tell.
        let _ = if self.json {
            std::io::stderr().write_all(text.as_bytes())
        } else {
            std::io::stdout().write_all(text.as_bytes())
        };
    }
}

/// Runs a program to its verdict. An interrupt makes it clean up and fail.
#[must_use]
pub fn run(json: bool, program: impl FnOnce(Stage) -> Result<Verdict>) -> ExitCode {
    let stage = Stage { json };
    let verdict = wait::fail_on_signals().and_then(|()| program(stage));
    let mut complaints = match &verdict {
        Ok(verdict) => verdict.complaints.clone(),
        Err(trouble) => vec![trouble.to_string()],
    };
    if let (true, Ok(verdict)) = (json, &verdict) {
        let written = writeln!(std::io::stdout(), "{}", verdict.object);
        complaints.extend(written.err().map(|error| error.to_string()));
    }
    for complaint in &complaints {
        let _ = writeln!(std::io::stderr(), "FAILED: {complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
