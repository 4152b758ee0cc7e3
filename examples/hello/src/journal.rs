//! The application's log: lines on stderr, and at `LOG_TO`, which outlives the instance.

use std::io::Write;

use crate::notes::Notes;
use crate::settings::Settings;

/// Where log lines go.
#[derive(Debug)]
pub(crate) struct Journal {
    who: String,
    notes: Option<Notes>,
}

impl Journal {
    pub(crate) fn open(settings: &Settings) -> Self {
        Self {
            who: format!("{} {}", settings.version, settings.instance),
            notes: settings.log_to.map(Notes::to),
        }
    }

    /// Writes one line in one system call, so that lines of several instances do not mix.
    /// A log that cannot be written stops nobody.
    pub(crate) fn line(&self, text: &str) {
        let line = format!("{}: {text}", self.who);
        let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
        if let Some(notes) = &self.notes {
            let _ = notes.tell(&line);
        }
    }
}
