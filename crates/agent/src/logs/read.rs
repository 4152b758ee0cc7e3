//! Reading a log while it is written and rotated.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use super::{FILES, LogLine};
use crate::supervise::EXIT;

/// How much is read at once, in bytes.
const BLOCK: usize = 64 * 1024;
/// How often a followed log is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A line of a log tail is cut after so many bytes.
const TAIL_LINE: usize = 400;

/// How long a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// What is there now.
    Now,
    /// Until its instance has ended or was removed.
    Ended,
}

/// The last `tail` lines of the log in an instance's directory, then, if wanted, those that follow.
/// A line that was rotated away before it could be read is left out.
pub fn lines(dir: PathBuf, tail: usize, until: Until) -> impl Stream<Item = io::Result<LogLine>> + Send {
    let follow = Follow { dir, tail: Some(tail), until, cursor: None, ready: VecDeque::new() };
    futures_util::stream::try_unfold(follow, |mut follow| async move {
        let line = follow.next().await?;
        Ok(line.map(|line| (line, follow)))
    })
}

/// The last `n` lines of the log in an instance's directory as printable text, for people.
#[must_use]
pub fn last_lines(dir: &Path, n: usize) -> Vec<String> {
    let mut ready = VecDeque::new();
    let Ok(Some(mut cursor)) = Cursor::open(dir, n) else { return Vec::new() };
    while let Ok(Step::Read | Step::Switched) = cursor.step(dir, &mut ready) {
        // Lines can have come since the start was chosen.
        while ready.len() > n {
            ready.pop_front();
        }
    }
    ready.iter().map(|line| printable(&line.bytes)).collect()
}

struct Follow {
    dir: PathBuf,
    /// Lines to begin with, until the log was found.
    tail: Option<usize>,
    until: Until,
    cursor: Option<Cursor>,
    ready: VecDeque<LogLine>,
}

impl Follow {
    async fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            // Asked before reading: then nothing can come after what is read now.
            let last_look = self.until == Until::Now || ended(&self.dir);
            if self.cursor.is_none() {
                self.cursor = Cursor::open(&self.dir, self.tail.unwrap_or(usize::MAX))?;
            }
            let step = match self.cursor.as_mut() {
                Some(cursor) => cursor.step(&self.dir, &mut self.ready)?,
                None => Step::Idle,
            };
            match step {
                Step::Read | Step::Switched => {}
                Step::Idle if last_look => return Ok(None),
                Step::Idle => {
                    // A log that appears only now is read from its beginning.
                    self.tail = None;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }
}

fn ended(dir: &Path) -> bool {
    dir.join(EXIT).exists() || !dir.exists()
}

enum Step {
    /// Something was read.
    Read,
    /// The next file begins.
    Switched,
    /// There is nothing more now.
    Idle,
}

/// A place in a log.
struct Cursor {
    file: File,
    inode: u64,
    rest: BytesMut,
    /// The end of the file was seen, and a newer file after that: the writer is done with this one.
    rotated: bool,
}

impl Cursor {
    /// The place before the last `tail` lines; `None` where there is no log.
    fn open(dir: &Path, tail: usize) -> io::Result<Option<Self>> {
        let mut missing = tail;
        let mut oldest = None;
        for name in FILES {
            let Some(mut file) = open(&dir.join(name))? else { continue };
            let (start, found) = start_of_tail(&mut file, missing)?;
            file.seek(SeekFrom::Start(start))?;
            oldest = Some(Self::at(file)?);
            missing -= found.min(missing);
            if missing == 0 {
                break;
            }
        }
        Ok(oldest)
    }

    fn at(file: File) -> io::Result<Self> {
        let inode = file.metadata()?.ino();
        Ok(Self { file, inode, rest: BytesMut::new(), rotated: false })
    }

    fn step(&mut self, dir: &Path, ready: &mut VecDeque<LogLine>) -> io::Result<Step> {
        let mut block = vec![0; BLOCK];
        let n = self.file.read(&mut block)?;
        if n > 0 {
            self.rest.extend_from_slice(&block[..n]);
            self.cut(ready);
            return Ok(Step::Read);
        }
        let Some(newer) = self.newer(dir)? else { return Ok(Step::Idle) };
        if !self.rotated {
            // Lines can have been written between the end that was seen and the rotation.
            self.rotated = true;
            return Ok(Step::Switched);
        }
        *self = Self::at(newer)?;
        Ok(Step::Switched)
    }

    fn cut(&mut self, ready: &mut VecDeque<LogLine>) {
        let Some(last) = self.rest.iter().rposition(|b| *b == b'\n') else { return };
        let mut whole: Bytes = self.rest.split_to(last + 1).freeze();
        while let Some(end) = whole.iter().position(|b| *b == b'\n') {
            let line = whole.split_to(end + 1);
            ready.extend(LogLine::decode(&line.slice(..end)));
        }
    }

    /// The file after this one, once there is one.
    fn newer(&self, dir: &Path) -> io::Result<Option<File>> {
        let mut newer = None;
        for name in FILES {
            let Some(file) = open(&dir.join(name))? else { continue };
            if file.metadata()?.ino() == self.inode {
                return Ok(newer);
            }
            newer = Some(file);
        }
        // It was rotated away: go on with the oldest that is left.
        Ok(newer)
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the last `wanted` lines of a file begin, and how many there are, at most `wanted`.
fn start_of_tail(file: &mut File, wanted: usize) -> io::Result<(u64, usize)> {
    let mut at = file.seek(SeekFrom::End(0))?;
    if wanted == 0 {
        return Ok((at, 0));
    }
    let mut ends = 0;
    let mut block = vec![0; BLOCK];
    while at > 0 {
        let size = BLOCK.min(usize::try_from(at).unwrap_or(BLOCK));
        at -= size as u64;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut block[..size])?;
        for (place, _) in block[..size].iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            if ends == wanted {
                return Ok((at + place as u64 + 1, wanted));
            }
            ends += 1;
        }
    }
    Ok((0, ends))
}

/// The last line that says something, as printable text.
pub(crate) fn last_line_of(bytes: &[u8]) -> Option<String> {
    bytes.rsplit(|b| *b == b'\n').map(printable).find(|line| !line.trim().is_empty())
}

/// Text without control characters and escape sequences, at most [`TAIL_LINE`] bytes.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\u{1b}' => {
                skip_escape(&mut chars);
                continue;
            }
            '\t' => ' ',
            c if c.is_control() => continue,
            c => c,
        };
        if out.len() + c.len_utf8() > TAIL_LINE - '…'.len_utf8() {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

/// Skips the rest of a colour or cursor sequence.
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    if chars.clone().next() != Some('[') {
        return;
    }
    chars.next();
    chars.find(|c| ('@'..='~').contains(c));
}
