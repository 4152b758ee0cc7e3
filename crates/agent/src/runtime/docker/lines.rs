//! The log of a container, line by line, as the engine kept it.
//!
//! The engine rotates the files; which they are is not known here. A stream that breaks off because the
//! engine is restarted goes on where it was.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as Answer;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use temps_core::model::{InstanceId, Millis};

use super::container::{Container, Owner, State};
use super::engine::{Engine, PING, QUICK};
use crate::logs::{LogLine, Source, TAIL, Until, printable};

/// How long until an engine that went away is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

type Frames = Pin<Box<dyn Stream<Item = Result<LogOutput, Answer>> + Send>>;

/// The log of an instance, see [`crate::runtime::Runtime::lines`].
pub(super) fn lines(
    engine: Arc<Engine>,
    owner: Owner,
    instance: InstanceId,
    tail: usize,
    until: Until,
) -> BoxStream<'static, io::Result<LogLine>> {
    let reader = Reader { engine, owner, instance, tail, until, open: None, began: false, last: None };
    let lines = futures_util::stream::try_unfold(reader, |mut reader| async move {
        let line = reader.next().await?;
        Ok(line.map(|line| (line, reader)))
    });
    lines.boxed()
}

/// The last lines as printable text, for people; none where the engine does not tell them in time.
pub(super) async fn tail(engine: &Engine, container: &str) -> Vec<String> {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true);
    let options = options.tail(&TAIL.to_string()).build();
    let frames: Result<Vec<LogOutput>, _> = engine
        .ask(PING, |docker| async move { docker.logs(container, Some(options)).try_collect().await })
        .await;
    let mut last: VecDeque<String> = VecDeque::new();
    for line in frames.unwrap_or_default().into_iter().filter_map(line) {
        if last.len() == TAIL {
            last.pop_front();
        }
        last.push_back(printable(&line.1.bytes));
    }
    last.into()
}

struct Reader {
    engine: Arc<Engine>,
    owner: Owner,
    instance: InstanceId,
    tail: usize,
    until: Until,
    open: Option<Open>,
    /// It was open before.
    began: bool,
    /// The newest line that was told.
    last: Option<Timestamp>,
}

/// A stream that is being read.
struct Open {
    frames: Frames,
    /// Nothing can come after it.
    is_last: bool,
    /// Up to this moment everything was told before.
    told: Option<Timestamp>,
}

impl Reader {
    async fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            let Some(open) = &mut self.open else {
                match self.open().await {
                    Ok(Some(open)) => self.open = Some(open),
                    Ok(None) => return Ok(None),
                    Err(error) if !self.began || self.until == Until::Now => return Err(error),
                    Err(_) => tokio::time::sleep(ASK_AGAIN).await,
                }
                continue;
            };
            let frame = match self.until {
                Until::Now => tokio::time::timeout(QUICK, open.frames.next()).await?,
                Until::Ended => open.frames.next().await,
            };
            match frame {
                Some(Ok(frame)) => {
                    let Some((at, line)) = line(frame) else { continue };
                    if open.told.is_none_or(|told| at > told) {
                        self.last = self.last.max(Some(at));
                        return Ok(Some(line));
                    }
                }
                None if open.is_last => return Ok(None),
                Some(Err(error)) if self.until == Until::Now => return Err(io::Error::other(error)),
                Some(Err(_)) | None => {
                    self.open = None;
                    tokio::time::sleep(ASK_AGAIN / 10).await;
                }
            }
        }
    }

    /// `None` where there is no such container, or none any more.
    async fn open(&mut self) -> io::Result<Option<Open>> {
        let name = self.owner.container(self.instance);
        let found = Container::find(&self.engine, &self.owner, &name, QUICK).await?;
        let Some(container) = found.filter(|c| c.instance == Some(self.instance)) else { return Ok(None) };
        let docker = self.engine.docker().await?;
        let follow = self.until == Until::Ended && container.state == State::Running;
        let frames = docker.logs(&container.id, Some(self.options(follow)));
        let told = self.last.filter(|_| self.began);
        if !self.began {
            self.began = true;
            // What is older than this was not wanted, or is told now.
            self.last = Some(Timestamp::now());
        }
        Ok(Some(Open { frames: Box::pin(frames), is_last: !follow, told }))
    }

    fn options(&self, follow: bool) -> LogsOptions {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true).follow(follow);
        match self.last {
            Some(last) => {
                let since = i32::try_from(last.as_second()).unwrap_or(0);
                options.since(since).tail("all").build()
            }
            None if self.tail == usize::MAX => options.tail("all").build(),
            None => options.tail(&self.tail.to_string()).build(),
        }
    }
}

/// A line with the moment when it was written.
fn line(frame: LogOutput) -> Option<(Timestamp, LogLine)> {
    let (source, message) = match frame {
        LogOutput::StdOut { message } | LogOutput::Console { message } => (Source::Out, message),
        LogOutput::StdErr { message } => (Source::Err, message),
        LogOutput::StdIn { .. } => return None,
    };
    let space = message.iter().position(|b| *b == b' ')?;
    let at: Timestamp = std::str::from_utf8(&message[..space]).ok()?.parse().ok()?;
    let text: Bytes = message.slice(space + 1..);
    let whole = text.last() == Some(&b'\n');
    let bytes = if whole { text.slice(..text.len() - 1) } else { text };
    let ms = Millis::try_from(at.as_millisecond()).unwrap_or(0);
    Some((at, LogLine { at: ms, source, whole, bytes }))
}

#[cfg(test)]
mod tests {
    use bollard::container::LogOutput;
    use bytes::Bytes;

    use super::line;
    use crate::logs::Source;

    #[test]
    fn frames_are_lines_whatever_is_in_them() {
        let told = |bytes: &'static [u8]| line(LogOutput::StdErr { message: Bytes::from_static(bytes) });
        let (_, whole) = told(b"2024-05-01T10:00:00.123456789Z a \xff b\n").expect("a line");
        assert_eq!((whole.at, whole.source, whole.whole), (1_714_557_600_123, Source::Err, true));
        assert_eq!(&whole.bytes[..], b"a \xff b");
        let (_, part) = told(b"2024-05-01T10:00:00.123456789Z part").expect("a line");
        assert!(!part.whole);
        let (_, empty) = told(b"2024-05-01T10:00:00.1Z \n").expect("a line");
        assert!(empty.whole && empty.bytes.is_empty());
        for hostile in [&b""[..], b" ", b"\n", b"x y\n", b"\xff \xff", b"2024-05-01T10:00:00Z"] {
            assert!(told(hostile).is_none(), "{hostile:?}");
        }
    }
}
