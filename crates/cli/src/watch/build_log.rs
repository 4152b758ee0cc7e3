//! The log of a build, from whichever node answers.
//!
//! Where the stream is lost it goes on from another node behind the last line that was given out. How the
//! deployment ends is not known here.

use std::time::{Duration, Instant};

use temps_wire::client::{Client, ClientError};
use temps_wire::proto::{BuildLogRequest, LogLine};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Time before a lost stream is opened again, or a log that has not begun is asked for.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a lost stream is tried again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines that are read ahead.
const AHEAD: usize = 256;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) deployment: u64,
    pub(crate) follow: bool,
    /// So many lines from the end; all where 0.
    pub(crate) tail: u32,
    /// A log that is not there yet is waited for.
    pub(crate) waits: bool,
}

/// Lines as they come; the last item may be the error that ended them.
#[derive(Debug)]
pub(crate) struct BuildLog {
    lines: mpsc::Receiver<Result<LogLine, ClientError>>,
    reading: JoinHandle<()>,
    /// Nothing more comes.
    pub(super) is_over: bool,
}

impl BuildLog {
    pub(crate) fn open(client: &Client, ask: Ask) -> Self {
        let (sender, lines) = mpsc::channel(AHEAD);
        let reading = tokio::spawn(read(client.clone(), ask, sender));
        Self { lines, reading, is_over: false }
    }

    /// The next line. What is waited for is lost to nobody where this is given up.
    pub(crate) async fn next(&mut self) -> Option<Result<LogLine, ClientError>> {
        let next = self.lines.recv().await;
        self.is_over = next.is_none();
        next
    }
}

impl Drop for BuildLog {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// How far a log was read.
#[derive(Debug, Default)]
struct Read {
    node: String,
    /// Time of the last line, and how many of the lines with this time were given out.
    wall_ms: u64,
    at_that_time: usize,
}

impl Read {
    fn take(&mut self, line: &LogLine) {
        let same = line.wall_ms == self.wall_ms;
        self.at_that_time = if same { self.at_that_time + 1 } else { 1 };
        self.wall_ms = line.wall_ms;
        self.node.clone_from(&line.node);
    }
}

/// Drops the lines of a log that was opened again and that were given out already.
struct Again {
    wall_ms: u64,
    left: usize,
    node: String,
}

impl Again {
    fn is_known(&mut self, line: &LogLine) -> bool {
        // Another node builds from the start, and has a log of its own.
        if line.node != self.node || line.wall_ms > self.wall_ms {
            self.left = 0;
            self.wall_ms = 0;
            return false;
        }
        if line.wall_ms < self.wall_ms {
            return true;
        }
        let known = self.left > 0;
        self.left = self.left.saturating_sub(1);
        known
    }
}

async fn read(client: Client, ask: Ask, sender: mpsc::Sender<Result<LogLine, ClientError>>) {
    let mut read: Option<Read> = None;
    let mut lost: Option<Instant> = None;
    loop {
        let request = BuildLogRequest {
            deployment: ask.deployment,
            follow: ask.follow,
            // What was given out is found again only from the start.
            tail: if read.is_some() { 0 } else { ask.tail },
        };
        let error = match client.call(|mut api| async move { api.build_log(request).await }).await {
            Ok(mut lines) => {
                let mut again = read.as_ref().map(|r| Again {
                    wall_ms: r.wall_ms,
                    left: r.at_that_time,
                    node: r.node.clone(),
                });
                loop {
                    match lines.message().await {
                        Ok(Some(line)) => {
                            lost = None;
                            if again.as_mut().is_some_and(|again| again.is_known(&line)) {
                                continue;
                            }
                            read.get_or_insert_default().take(&line);
                            if sender.send(Ok(line)).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => return,
                        Err(status) => break ClientError::from(status),
                    }
                }
            }
            Err(error) => error,
        };
        let since = *lost.get_or_insert_with(Instant::now);
        let passing = match &error {
            ClientError::Unreachable { .. } | ClientError::NoQuorum { .. } => since.elapsed() < PATIENCE,
            ClientError::NotFound { .. } => ask.waits,
            _ => false,
        };
        if !passing {
            // Nobody listens any more: nobody has to know.
            let _ = sender.send(Err(error)).await;
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::LogLine;

    use super::{Again, Read};

    fn line(node: &str, wall_ms: u64) -> LogLine {
        LogLine { node: node.to_owned(), wall_ms, ..LogLine::default() }
    }

    #[test]
    fn a_log_that_is_opened_again_goes_on_behind_the_last_line() {
        let mut read = Read::default();
        for wall_ms in [1, 2, 2] {
            read.take(&line("n1", wall_ms));
        }
        let again = || Again { wall_ms: read.wall_ms, left: read.at_that_time, node: read.node.clone() };
        let mut same = again();
        let known: Vec<bool> = [1, 2, 2, 2, 3].iter().map(|at| same.is_known(&line("n1", *at))).collect();
        assert_eq!(known, [true, true, true, false, false]);
        let mut other = again();
        assert!(!other.is_known(&line("n2", 1)) && !other.is_known(&line("n2", 1)));
    }
}
