//! Writing a log that never grows beyond its files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use temps_core::model::Millis;

use super::{FILES, LINE_BYTES, LogLine, Source};

/// A log that is written. An application is never held up by it: what cannot be written is dropped.
#[derive(Debug)]
pub(crate) struct RotatedLog {
    dir: PathBuf,
    file_bytes: u64,
    file: Option<File>,
    size: u64,
    /// The file may end in the middle of a line.
    torn: bool,
}

impl RotatedLog {
    /// Continues the log in `dir`; a file that reaches `file_bytes` is rotated.
    pub(crate) fn new(dir: &Path, file_bytes: u64) -> Self {
        Self { dir: dir.to_owned(), file_bytes, file: None, size: 0, torn: false }
    }

    /// Writes encoded lines in one piece.
    pub(crate) fn write(&mut self, lines: &[u8]) {
        if self.try_write(lines).is_err() {
            self.torn = true;
            self.file = None;
        }
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let full = self.file.is_some() && self.size > 0 && self.size + lines.len() as u64 > self.file_bytes;
        if full {
            self.file = None;
            for pair in FILES.windows(2).rev() {
                match fs::rename(self.dir.join(pair[0]), self.dir.join(pair[1])) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        if self.file.is_none() {
            let path = self.dir.join(FILES[0]);
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        let Some(file) = self.file.as_mut() else { return Ok(()) };
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }
}

/// Cuts what one stream of an application brings into lines.
#[derive(Debug)]
pub(crate) struct Cutter {
    source: Source,
    rest: Vec<u8>,
}

impl Cutter {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, rest: Vec::new() }
    }

    /// Takes what came, and gives the lines that are complete, encoded.
    pub(crate) fn take(&mut self, at: Millis, mut bytes: &[u8]) -> Vec<u8> {
        let mut lines = Vec::with_capacity(bytes.len() + 64);
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.parts(at, &mut lines);
            LogLine::encode(at, self.source, true, &self.rest, &mut lines);
            self.rest.clear();
        }
        self.rest.extend_from_slice(bytes);
        self.parts(at, &mut lines);
        lines
    }

    /// What is left when the stream has ended without a line end.
    pub(crate) fn finish(&mut self, at: Millis) -> Vec<u8> {
        let mut lines = Vec::new();
        if !self.rest.is_empty() {
            LogLine::encode(at, self.source, true, &self.rest, &mut lines);
            self.rest.clear();
        }
        lines
    }

    fn parts(&mut self, at: Millis, lines: &mut Vec<u8>) {
        let mut done = 0;
        while self.rest.len() - done > LINE_BYTES {
            LogLine::encode(at, self.source, false, &self.rest[done..done + LINE_BYTES], lines);
            done += LINE_BYTES;
        }
        self.rest.drain(..done);
    }
}
