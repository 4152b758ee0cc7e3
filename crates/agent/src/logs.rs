//! The log of one instance: what it wrote to standard output and standard error, line by line.
//!
//! A line is `<Unix ms> out <bytes>`; `err` for standard error, and `out+` or `err+` for a part of a
//! longer line that goes on in the next one of the same stream. The bytes are the application's own,
//! whatever they are, so nothing is lost. The newest lines are in `log`, older ones in `log.1` and
//! `log.2`. What the lines mean is not known here.

mod read;
mod write;

use bytes::Bytes;
use temps_core::model::Millis;

pub(crate) use read::last_line_of;
pub(crate) use read::printable;
pub use read::{Until, last_lines, lines};
pub(crate) use write::{Cutter, RotatedLog};

/// The files of a log, newest first.
pub(crate) const FILES: [&str; 3] = ["log", "log.1", "log.2"];

/// When one of them is full, in bytes.
pub(crate) const FILE_BYTES: u64 = 10 * 1024 * 1024;

/// A longer line is written in parts, in bytes.
pub(crate) const LINE_BYTES: usize = 16 * 1024;

/// How many of the last lines are told with a failure.
pub(crate) const TAIL: usize = 20;

/// Where an application wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, by the wall clock of its node, in Unix milliseconds.
    pub at: Millis,
    /// Where it was written.
    pub source: Source,
    /// False for a part of a line that goes on in the next one of the same source.
    pub whole: bool,
    /// The bytes, without the line end.
    pub bytes: Bytes,
}

impl LogLine {
    fn encode(at: Millis, source: Source, whole: bool, bytes: &[u8], into: &mut Vec<u8>) {
        let word = match (source, whole) {
            (Source::Out, true) => " out ",
            (Source::Out, false) => " out+ ",
            (Source::Err, true) => " err ",
            (Source::Err, false) => " err+ ",
        };
        into.extend_from_slice(at.to_string().as_bytes());
        into.extend_from_slice(word.as_bytes());
        into.extend_from_slice(bytes);
        into.push(b'\n');
    }

    /// A line of the file without its end; `None` where it is not one, such as after a full disk.
    fn decode(line: &Bytes) -> Option<Self> {
        let time_end = line.iter().position(|b| *b == b' ')?;
        let word_end = time_end + 1 + line.get(time_end + 1..)?.iter().position(|b| *b == b' ')?;
        let (source, whole) = match &line[time_end + 1..word_end] {
            b"out" => (Source::Out, true),
            b"out+" => (Source::Out, false),
            b"err" => (Source::Err, true),
            b"err+" => (Source::Err, false),
            _ => return None,
        };
        let at = std::str::from_utf8(&line[..time_end]).ok()?.parse().ok()?;
        Some(Self { at, source, whole, bytes: line.slice(word_end + 1..) })
    }
}

#[cfg(test)]
mod tests;
