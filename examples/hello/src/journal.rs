//! The application's log: lines on stderr, and in `LOG_FILE`, which outlives the instance.

use std::fs::{File, OpenOptions};
use std::io::Write;

use crate::settings::Settings;

/// Where log lines go.
#[derive(Debug)]
pub(crate) struct Journal {
    who: String,
    file: Option<File>,
}

impl Journal {
    pub(crate) fn open(settings: &Settings) -> Self {
        let open = |path| OpenOptions::new().append(true).create(true).open(path).ok();
        Self {
            who: format!("{} {}", settings.version, settings.instance),
            file: settings.log_file.as_ref().and_then(open),
        }
    }

    /// Writes one line in one system call, so that lines of several instances do not mix.
    /// A log that cannot be written stops nobody.
    pub(crate) fn line(&self, text: &str) {
        let line = format!("{}: {text}\n", self.who);
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(mut file) = self.file.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
    }
}
