//! A Dockerfile for a project that has none: told from the names of its files and the content of a few.
//!
//! What is written builds in several stages, runs as a user without rights, needs no capabilities, listens
//! on `$PORT`, and copies what changes rarely first, so that it is built once. Versions are those that the
//! project itself names. Nothing is read or run here but what [`Tree`] holds.

mod go;
mod node;
mod procfile;
mod python;
mod ruby;
mod rust;
mod site;
#[cfg(test)]
mod tests;
mod tree;
mod version;
mod write;

use crate::file::Language;
use crate::screen::escape;

pub(crate) use tree::{Tree, gather};

/// Where a written Dockerfile is put in what is packed.
pub(crate) const PATH: &str = ".temps/Dockerfile";
/// The port on which what is built listens unless it is told another.
pub(crate) const PORT: u16 = 8080;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The directory.
    pub(crate) tree: &'a Tree,
    /// Where somebody said what it is.
    pub(crate) language: Option<Language>,
    /// Every process has a command of its own, so that the image needs none.
    pub(crate) has_commands: bool,
    /// Where volumes are mounted.
    pub(crate) volumes: &'a [String],
}

/// A project that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detected {
    pub(crate) language: Language,
    /// What it was told from, and what was chosen, for a person: `package.json, Node 22, npm`.
    pub(crate) seen: String,
    pub(crate) dockerfile: String,
    /// On which port it listens; it listens on `$PORT` where the port is not fixed.
    pub(crate) port: u16,
    pub(crate) port_is_fixed: bool,
    /// What is not packed unless `.dockerignore` says otherwise, in its own patterns.
    pub(crate) left_out: Vec<String>,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
}

/// Why no Dockerfile can be written, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Unclear {
    pub(crate) what: String,
    pub(crate) help: Vec<String>,
}

impl Unclear {
    fn new(what: impl Into<String>) -> Self {
        Self { what: escape(&what.into()), help: Vec::new() }
    }

    fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(escape(&line.into()));
        self
    }
}

/// The Dockerfile for a directory.
///
/// # Errors
/// [`Unclear`] where it is not known what the directory is or how it starts.
pub(crate) fn detect(wanted: Wanted<'_>) -> Result<Detected, Unclear> {
    let (language, mut notes) = match wanted.language {
        Some(language) => (language, Vec::new()),
        None => recognise(wanted.tree)?,
    };
    let mut detected = match language {
        Language::Static => site::detect(wanted),
        Language::Node => node::detect(wanted),
        Language::Python => python::detect(wanted),
        Language::Go => go::detect(wanted),
        Language::Rust => rust::detect(wanted),
        Language::Ruby => ruby::detect(wanted),
    }?;
    notes.append(&mut detected.notes);
    Ok(Detected { notes, ..detected })
}

/// The files that tell a language, in the order of documentation.
fn signs(language: Language) -> &'static [&'static str] {
    match language {
        Language::Static => &["index.html"],
        Language::Node => &["package.json"],
        Language::Python => &["requirements.txt", "pyproject.toml", "uv.lock"],
        Language::Go => &["go.mod"],
        Language::Rust => &["Cargo.toml"],
        Language::Ruby => &["Gemfile"],
    }
}

/// Which language a directory is in. Many projects of other languages have a `package.json` for their pages,
/// and many have an `index.html`; two others at once are not guessed.
fn recognise(tree: &Tree) -> Result<(Language, Vec<String>), Unclear> {
    let found = |language: &Language| signs(*language).iter().any(|sign| tree.has(sign));
    let serious = [Language::Python, Language::Go, Language::Rust, Language::Ruby];
    let serious: Vec<Language> = serious.into_iter().filter(found).collect();
    match serious[..] {
        [only] if found(&Language::Node) => {
            let note = format!(
                "package.json is there too; write builder = \"node\" in [build] if it is not a {} project",
                only.word()
            );
            Ok((only, vec![note]))
        }
        [only] => Ok((only, Vec::new())),
        [] => [Language::Node, Language::Static]
            .into_iter()
            .find(found)
            .map(|language| (language, Vec::new()))
            .ok_or_else(nothing),
        _ => {
            let words: Vec<String> = serious.iter().map(|l| format!("\"{}\"", l.word())).collect();
            let what = format!("the directory looks like several kinds of projects: {}", words.join(", "));
            let help = format!("write builder = {} in [build] of temps.toml, or add a Dockerfile", words[0]);
            Err(Unclear::new(what).help(help))
        }
    }
}

fn nothing() -> Unclear {
    let looked_for: Vec<String> =
        Language::ALL.iter().map(|l| format!("{} ({})", signs(*l).join(" or "), l.word())).collect();
    Unclear::new("there is no Dockerfile, and it is not known how to build this directory")
        .help(format!("looked for: Dockerfile, {}", looked_for.join(", ")))
        .help("add a Dockerfile, or name one: dockerfile = \"path\" in [build] of temps.toml")
        .help("to run the directory as it is, as local processes: builder = \"bundle\" in [build]")
}

/// How a project starts could not be told.
fn no_start(language: Language, looked_for: &str) -> Unclear {
    Unclear::new(format!("this is a {} project, and it is not known how it starts", language.word()))
        .help(format!("looked for: {looked_for}"))
        .help("say it in temps.toml:")
        .help("  [processes.web]")
        .help("  command = \"…\"        # listens on $PORT")
}
