//! How a command ends: exit codes and what is said about a failure.

use std::fmt;
use std::process::ExitCode;

use temps_core::model::Phase;

/// The exit codes; they are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Done; a deployment is live.
    Live,
    /// Any other error.
    Other,
    /// The command line or a file is wrong.
    Usage,
    /// The deployment did not stay: the release before it is live.
    RolledBack,
    /// The deployment failed and there was nothing to go back to, or the way back failed.
    Failed,
    /// Waiting took too long; the deployment goes on.
    TimedOut,
    /// Something else is under way or exists already.
    Conflict,
    /// Not logged in, or not allowed.
    Forbidden,
    /// No node answers, or the nodes that do have no quorum.
    Unreachable,
    /// Interrupted; a deployment goes on.
    Interrupted,
}

impl Code {
    /// The number that a shell sees.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Code::Live => 0,
            Code::Other => 1,
            Code::Usage => 2,
            Code::RolledBack => 3,
            Code::Failed => 4,
            Code::TimedOut => 5,
            Code::Conflict => 6,
            Code::Forbidden => 7,
            Code::Unreachable => 8,
            Code::Interrupted => 130,
        }
    }

    /// How a watched deployment that ended in `phase` ends the command; `None` while it has not.
    #[must_use]
    pub fn of_phase(phase: Phase) -> Option<Code> {
        match phase {
            Phase::Queued
            | Phase::Building
            | Phase::Releasing
            | Phase::Stepping
            | Phase::Watching
            | Phase::Reverting => None,
            Phase::Succeeded => Some(Code::Live),
            Phase::RolledBack | Phase::Cancelled => Some(Code::RolledBack),
            Phase::Failed => Some(Code::Failed),
            Phase::Superseded => Some(Code::Conflict),
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code.number())
    }
}

/// Why a command ends early, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What and why; nothing where the reader of stdout went away.
    pub message: String,
    /// What to do, one line each.
    pub help: Vec<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: Vec::new() }
    }

    pub(crate) fn other(message: impl fmt::Display) -> Self {
        Self::new(Code::Other, message.to_string())
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message.to_string())
    }

    pub(crate) fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for line in &self.help {
            write!(f, "\n{}", format!("  {line}").trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Code::Live, "");
        }
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use temps_core::model::Phase;

    use super::Code;

    #[test]
    fn phases_map_to_exit_codes() {
        for (word, code) in [
            ("queued", None),
            ("building", None),
            ("releasing", None),
            ("stepping", None),
            ("watching", None),
            ("reverting", None),
            ("succeeded", Some(0)),
            ("rolled_back", Some(3)),
            ("failed", Some(4)),
            ("cancelled", Some(3)),
            ("superseded", Some(6)),
        ] {
            let phase = Phase::named(word).unwrap();
            assert_eq!(Code::of_phase(phase).map(Code::number), code, "{word}");
        }
        assert_eq!(Phase::named("paused"), None);
        assert_eq!(Code::of_phase(Phase::Succeeded), Some(Code::Live));
    }

    #[test]
    fn the_numbers_are_stable() {
        let all = [
            (Code::Live, 0),
            (Code::Other, 1),
            (Code::Usage, 2),
            (Code::RolledBack, 3),
            (Code::Failed, 4),
            (Code::TimedOut, 5),
            (Code::Conflict, 6),
            (Code::Forbidden, 7),
            (Code::Unreachable, 8),
            (Code::Interrupted, 130),
        ];
        for (code, number) in all {
            assert_eq!(code.number(), number);
        }
    }
}
