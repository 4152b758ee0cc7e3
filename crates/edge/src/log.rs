//! The log of requests: a thread of its own writes it, and no request waits for that.
//!
//! Where it cannot keep up, or the disk does not take it, lines are dropped and counted. The file is only ever appended
//! to, whole lines at a time, so two edges may share it while one takes over. One that was moved away is opened anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};

use crate::config::EdgeError;
use crate::record::Line;

/// So many lines may wait to be written.
const MOST: usize = 8192;

/// How long lines gather, so that a busy edge wakes the thread seldom.
const GATHER: Duration = Duration::from_millis(20);

/// So much is written at once.
const BLOCK: usize = 64 * 1024;

/// Where requests are logged.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// `None`: there will be no more.
    lines: SyncSender<Option<Box<Line>>>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Never waits.
    pub(crate) fn write(&self, line: Box<Line>) {
        if self.lines.try_send(Some(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread. Dropping this waits until everything is written.
#[derive(Debug)]
pub(crate) struct Writing {
    log: Log,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.log.lines.send(None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Opens the file and starts the thread.
pub(crate) fn start(path: PathBuf) -> Result<(Log, Writing), EdgeError> {
    let refuse = |source| EdgeError::File { path: path.clone(), source };
    let file = open(&path).map_err(refuse)?;
    let (lines, inbox) = sync_channel(MOST);
    let log = Log { lines, dropped: Arc::default() };
    let writer =
        Writer { path, file, inbox, dropped: Arc::clone(&log.dropped), block: Vec::new(), torn: false };
    let failed = |error: io::Error| EdgeError::Worker(error.to_string());
    let thread =
        std::thread::Builder::new().name("edge-log".to_owned()).spawn(|| writer.run()).map_err(failed)?;
    Ok((log.clone(), Writing { log, thread: Some(thread) }))
}

struct Writer {
    path: PathBuf,
    file: File,
    inbox: Receiver<Option<Box<Line>>>,
    dropped: Arc<AtomicU64>,
    block: Vec<u8>,
    /// What was written last failed, and may have left half a line.
    torn: bool,
}

impl Writer {
    fn run(mut self) {
        while let Ok(Some(line)) = self.inbox.recv() {
            std::thread::sleep(GATHER);
            let goes_on = self.write_all(line);
            if !goes_on {
                return;
            }
        }
    }

    /// Writes a line and those that wait. `false`: there will be no more.
    fn write_all(&mut self, line: Box<Line>) -> bool {
        self.follow();
        let mut written = 0;
        let mut next = Ok(Some(line));
        while let Ok(Some(mut line)) = next {
            line.dropped = self.dropped.swap(0, Ordering::Relaxed);
            written += line.dropped + 1;
            // A line that has no JSON form would be a mistake of ours.
            if serde_json::to_writer(&mut self.block, &line).is_ok() {
                self.block.push(b'\n');
            }
            if self.block.len() >= BLOCK {
                self.flush(std::mem::take(&mut written));
            }
            next = self.inbox.try_recv();
        }
        self.flush(written);
        matches!(next, Err(TryRecvError::Empty))
    }

    /// Writes what gathered: so many lines, those that were dropped before included.
    fn flush(&mut self, lines: u64) {
        if self.torn {
            self.block.insert(0, b'\n');
        }
        match self.file.write_all(&self.block) {
            Ok(()) => {
                if self.torn {
                    info!(path = %self.path.display(), "the log is written again");
                }
                self.torn = false;
            }
            Err(error) => {
                if !self.torn {
                    warn!(path = %self.path.display(), %error, "the log cannot be written");
                }
                self.torn = true;
                self.dropped.fetch_add(lines, Ordering::Relaxed);
            }
        }
        self.block.clear();
    }

    /// Goes on in a file of the same name, if this one was moved away.
    fn follow(&mut self) {
        let same =
            |own: &fs::Metadata, named: &fs::Metadata| (own.dev(), own.ino()) == (named.dev(), named.ino());
        let named = fs::metadata(&self.path);
        if let (Ok(own), Ok(named)) = (self.file.metadata(), &named)
            && same(&own, named)
        {
            return;
        }
        match open(&self.path) {
            Ok(file) => self.file = file,
            // The one that was moved away is better than none.
            Err(error) => warn!(path = %self.path.display(), %error, "the log cannot be opened anew"),
        }
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    use http::{HeaderValue, Request};

    use super::{Log, Writer};
    use crate::client::Client;
    use crate::record::Record;

    #[test]
    fn what_does_not_fit_is_dropped_and_the_next_line_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (lines, inbox) = sync_channel(2);
        let log = Log { lines, dropped: Arc::default() };
        let client = Client::new(Ipv4Addr::LOCALHOST.into(), "http", &Arc::from([]));
        let ask = |path: &str| {
            let request = Request::get(path).body(()).unwrap();
            drop(Record::begin(&log, &client, &HeaderValue::from_static("id"), &request));
        };
        let mut writer = Writer {
            file: super::open(&path).unwrap(),
            path: path.clone(),
            inbox,
            dropped: Arc::clone(&log.dropped),
            block: Vec::new(),
            torn: false,
        };
        let mut write = || {
            let line = writer.inbox.recv().unwrap().unwrap();
            assert!(writer.write_all(line));
        };
        let told = || -> Vec<(String, u64)> {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            lines
                .map(|l| (l["path"].as_str().unwrap().to_owned(), l["dropped"].as_u64().unwrap_or(0)))
                .collect()
        };
        // Nobody reads, and nobody waits.
        ["/1", "/2", "/3", "/4", "/5"].into_iter().for_each(ask);
        write();
        ask("/6");
        write();
        let expected = [("/1", 3), ("/2", 0), ("/6", 0)].map(|(path, n)| (path.to_owned(), n));
        assert_eq!(told(), expected);

        // A disk that takes nothing for a while.
        writer.file = OpenOptions::new().read(true).open(&path).unwrap();
        ["/7", "/8"].into_iter().for_each(ask);
        let line = writer.inbox.recv().unwrap().unwrap();
        assert!(writer.write_all(line));
        writer.file = super::open(&path).unwrap();
        ask("/9");
        let line = writer.inbox.recv().unwrap().unwrap();
        assert!(writer.write_all(line));
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("\"/7\"") && !text.contains("\"/8\""), "{text}");
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["path"], &last["dropped"]), (&"/9".into(), &2.into()));
    }
}
