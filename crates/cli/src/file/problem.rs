//! What is wrong in a file, at its line and column.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;

use crate::screen::escape;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("there is no {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says something that is not possible.
    #[error("{text}")]
    Problems {
        /// Which.
        path: PathBuf,
        /// All problems with their source lines, for a person.
        text: String,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the file that it is about; `None` where something is missing.
    pub span: Option<Range<usize>>,
    /// What and why.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn at(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is missing comes last.
    pub(super) fn start(&self) -> usize {
        self.span.as_ref().map_or(usize::MAX, |span| span.start)
    }
}

/// All problems with their source lines and carets.
pub(super) fn render(name: &str, source: &str, problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(|problem| one(name, source, problem)).collect();
    texts.join("\n\n")
}

fn one(name: &str, source: &str, problem: &Problem) -> String {
    let mut out = String::new();
    let message = escape(&problem.message);
    let write = match &problem.span {
        None => write!(out, "{name}: {message}"),
        Some(span) => {
            let place = Place::of(source, span);
            let margin = " ".repeat(place.line.to_string().len());
            write!(
                out,
                "{name}:{}:{}: {message}\n{margin} |\n{} | {}\n{margin} | {}{}",
                place.line,
                place.column,
                place.line,
                place.text,
                " ".repeat(place.before),
                "^".repeat(place.width),
            )
        }
    };
    write.expect("a string takes everything");
    if let Some(help) = &problem.help {
        for (at, line) in help.lines().enumerate() {
            let mark = if at == 0 { "=" } else { " " };
            write!(out, "\n  {mark} {}", escape(line)).expect("a string takes everything");
        }
    }
    out
}

struct Place {
    line: usize,
    /// In characters of the file, from 1.
    column: usize,
    text: String,
    /// Columns of the shown line before the caret.
    before: usize,
    width: usize,
}

impl Place {
    fn of(source: &str, span: &Range<usize>) -> Self {
        let start = floor(source, span.start);
        let head = &source[..start];
        let line_start = head.rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let end = floor(source, span.end.max(start)).clamp(start, line_end);
        let show = |text: &str| escape(text.trim_end_matches('\r')).replace('\t', " ");
        let line = &source[line_start..line_end];
        let hidden = line.find('=').filter(|_| holds_variables(head, line));
        let (line, end) = match hidden {
            // Values of variables may be secrets, and a message may end in the log of a build.
            Some(equals) => (
                format!("{}= ***", &line[..equals]),
                end.min(floor(source, start.max(line_start + equals + 5))),
            ),
            None => (line.to_owned(), end),
        };
        Self {
            line: head.matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: show(&line),
            before: show(&source[line_start..start]).chars().count(),
            width: show(&source[start..end]).chars().count().max(1),
        }
    }
}

/// Whether a line is in a section of variables, as far as that can be seen without a parser.
fn holds_variables(head: &str, line: &str) -> bool {
    let section = head.lines().rev().map(str::trim).find(|line| line.starts_with('['));
    let in_section = section.is_some_and(|name| {
        let name = name.trim_start_matches('[').split(']').next().unwrap_or_default();
        name.rsplit('.').next().is_some_and(|last| last.trim() == "env")
    });
    let key = line.split('=').next().unwrap_or_default();
    !line.trim_start().starts_with('[') && (in_section || key.split('.').any(|part| part.trim() == "env"))
}

/// The nearest character border at or before `at`.
fn floor(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}
