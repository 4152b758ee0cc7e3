//! How a running deployment is shown: redrawn lines at a terminal, plain lines elsewhere.

use std::io;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use temps_wire::proto::{Event, LogLine};

use super::board::Board;
use crate::screen::{Paint, Screen, Tone, escape_bytes};
use crate::{json, timeline};

/// A sign of life at least this often where lines are not redrawn.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Where the lines of events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// They are the result.
    Result,
    /// They are the result, as one JSON object a line.
    Json,
    /// They are progress; the result comes at the end.
    Progress,
}

/// Shows a deployment while it goes on.
pub(super) struct Show {
    lines: Lines,
    board: Board,
    live: Option<Live>,
    /// When the last line was written.
    last: Instant,
}

impl Show {
    pub(super) fn new(lines: Lines, screen: &Screen) -> Self {
        let now = Instant::now();
        let live = screen.look.redraws.then(Live::new);
        Self { lines, board: Board::new(now), live, last: now }
    }

    pub(super) fn event(&mut self, screen: &mut Screen, event: &Event) -> io::Result<()> {
        let now = Instant::now();
        self.board.apply(event, now);
        self.last = now;
        let zone = screen.look.zone.clone();
        self.still(|| match self.lines {
            Lines::Result => screen.say(&timeline::line(event, &zone, screen.look.out)),
            Lines::Json => screen.object_line(&json::event(event)),
            Lines::Progress => {
                screen.note(&timeline::line(event, &zone, screen.look.err));
                Ok(())
            }
        })?;
        self.redraw(now);
        Ok(())
    }

    /// A line of the log of the build.
    pub(super) fn build_line(&mut self, screen: &mut Screen, number: u64, line: &LogLine) -> io::Result<()> {
        self.last = Instant::now();
        let text = escape_bytes(&line.text);
        // Where it cannot be told by its tone, it is told by a word.
        let text = match screen.look.err {
            Paint::On if self.live.is_some() => screen.look.err.tone(Tone::Quiet, &text),
            Paint::On | Paint::Off => format!("build | {text}"),
        };
        self.still(|| match self.lines {
            Lines::Json => screen.object_line(&json::build_line(number, line)),
            Lines::Result | Lines::Progress => {
                screen.note(&text);
                Ok(())
            }
        })
    }

    /// A second or so has passed.
    pub(super) fn tick(&mut self, screen: &mut Screen) {
        let now = Instant::now();
        if self.live.is_some() {
            self.redraw(now);
        } else if now.duration_since(self.last) >= HEARTBEAT {
            self.last = now;
            let time = timeline::clock(timeline::now_ms(), &screen.look.zone);
            let line = format!("{time}  … {}", self.board.heartbeat(now));
            screen.note(&screen.look.err.tone(Tone::Quiet, &line));
        }
    }

    /// Something worth knowing that is no event.
    pub(super) fn warn(&mut self, screen: &mut Screen, line: &str) {
        self.last = Instant::now();
        self.still(|| screen.warn(line));
    }

    /// Takes the redrawn lines away.
    pub(super) fn end(&mut self) {
        if let Some(live) = self.live.take() {
            live.clear();
        }
    }

    /// Does something while no redrawn line is on the screen.
    fn still<T>(&self, act: impl FnOnce() -> T) -> T {
        match &self.live {
            Some(live) => live.multi.suspend(act),
            None => act(),
        }
    }

    fn redraw(&mut self, now: Instant) {
        if let Some(live) = &mut self.live {
            live.draw(&self.board.lines(now));
        }
    }
}

/// The redrawn lines.
struct Live {
    multi: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Live {
    fn new() -> Self {
        Self { multi: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), bars: Vec::new() }
    }

    fn draw(&mut self, lines: &[String]) {
        while self.bars.len() > lines.len() {
            if let Some(bar) = self.bars.pop() {
                bar.finish_and_clear();
                self.multi.remove(&bar);
            }
        }
        while self.bars.len() < lines.len() {
            let bar = ProgressBar::new_spinner().with_style(style());
            self.bars.push(self.multi.add(bar));
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            if bar.message() != *line {
                bar.set_message(line.clone());
            }
        }
    }

    fn clear(self) {
        for bar in &self.bars {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("  {wide_msg}").expect("the template is well formed")
}
