//! `temps.toml`, the file in the user's repository.
//!
//! A file is either resolved completely, with every default filled in, or refused with every
//! problem at its place. What a cluster does with the result is not known here.

mod amount;
mod bundled;
mod found;
mod making;
mod placing;
mod problem;
mod process;
mod raw;
mod resolve;
mod routing;
mod safety;
mod schema;
mod shown;
mod strategy;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use temps_core::model::Spec;

pub use temps_core::written::duration::{DurationError, parse as parse_duration, write as write_duration};

pub use making::{BuildRules, Builder, DOCKERFILE, Language};
pub use problem::{FileError, Problem};
pub(crate) use schema::nearest;
pub(crate) use shown::Shown;

/// Its name.
pub const NAME: &str = "temps.toml";

/// The largest file that is read, in bytes; a larger one is something else.
const BYTES_MAX: u64 = 1 << 20;

/// The smallest useful file, shown where there is none.
pub const EXAMPLE: &str = "\
[project]
name = \"my-app\"

[processes.web]
command = \"./server\"        # listens on $PORT
instances = 2
";

/// A resolved file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFile {
    /// `[project] name`, where it is given.
    pub project: Option<String>,
    /// How what runs is made.
    pub build: BuildRules,
    /// What is deployed.
    pub spec: Spec,
}

impl Default for ProjectFile {
    /// What an empty file says: one process that answers HTTP, with all defaults.
    fn default() -> Self {
        parse("", "").expect("an empty file has no problems")
    }
}

/// Where the file of a directory, or of the file itself, is.
#[must_use]
pub fn location(path: &Path) -> PathBuf {
    if path.file_name().is_some_and(|name| name == NAME) && !path.is_dir() {
        path.to_owned()
    } else {
        path.join(NAME)
    }
}

/// Reads and resolves the file for one environment.
///
/// # Errors
/// [`FileError`] where it is missing, unreadable, or has problems.
pub fn load(path: &Path, environment: &str) -> Result<ProjectFile, FileError> {
    let text = read(path)?;
    parse(&text, environment).map_err(|problems| FileError::Problems {
        path: path.to_owned(),
        text: problem::render(&path.display().to_string(), &text, &problems),
    })
}

/// Resolves the text of a file for one environment.
///
/// # Errors
/// Every problem that was found, in the order of the file.
pub fn parse(text: &str, environment: &str) -> Result<ProjectFile, Vec<Problem>> {
    let syntax = |e: toml::de::Error| vec![Problem::at(e.span(), sentence(e.message()))];
    let document = toml::de::DeTable::parse(text).map_err(syntax)?;
    let mut problems = schema::check(document.get_ref());
    if problems.is_empty() {
        let raw: raw::Raw = toml::from_str(text).map_err(syntax)?;
        match resolve::resolve(&raw, environment) {
            Ok(file) => return Ok(file),
            Err(found) => problems = found,
        }
    }
    problems.sort_by_key(Problem::start);
    Err(problems)
}

/// The project's name alone, without judging the rest: for commands that only need to know where they are.
#[must_use]
pub fn project_name(path: &Path) -> Option<String> {
    let text = read(path).ok()?;
    let table: toml::Table = text.parse().ok()?;
    Some(table.get("project")?.get("name")?.as_str()?.to_owned())
}

fn read(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::Unreadable { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(FileError::Missing { path: path.to_owned() });
        }
        Err(e) => return Err(failed(e)),
        Ok(metadata) if metadata.len() > BYTES_MAX => {
            let why = format!("it is larger than {BYTES_MAX} bytes");
            return Err(failed(std::io::Error::new(ErrorKind::InvalidData, why)));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    String::from_utf8(bytes)
        .map_err(|_| failed(std::io::Error::new(ErrorKind::InvalidData, "it is not text in UTF-8")))
}

/// The parser's words, on one line and in terms that a person uses.
fn sentence(message: &str) -> String {
    let mut line = message.lines().collect::<Vec<_>>().join(", ");
    for (theirs, ours) in [
        ("expected u32", "expected a whole number"),
        ("expected u16", "expected a whole number"),
        ("expected a map", "expected a table"),
        ("invalid type: map", "invalid type: table"),
        ("expected a sequence", "expected a list in brackets"),
        ("expected a boolean", "expected true or false"),
    ] {
        line = line.replace(theirs, ours);
    }
    line
}
