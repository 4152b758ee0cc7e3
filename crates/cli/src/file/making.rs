//! `[build]` and `[release]`: how what runs is made, and what runs once before it does.

use temps_core::model::{Millis, ReleaseCommand};
use toml::Spanned;

use super::found::Found;
use super::raw;

/// The path of a Dockerfile unless the file says otherwise.
pub const DOCKERFILE: &str = "Dockerfile";
/// The longest time that building may take, unless the file says otherwise.
const BUILD_TIMEOUT: Millis = 30 * 60_000;
/// The longest time that the release command may take, unless the file says otherwise.
const RELEASE_TIMEOUT: Millis = 10 * 60_000;

/// How what runs is made of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRules {
    /// The path of the Dockerfile, where the file names one.
    pub dockerfile: Option<String>,
    /// Who makes it, where the file says so.
    pub builder: Option<Builder>,
    /// The longest time that building an image may take.
    pub timeout: Millis,
}

impl Default for BuildRules {
    fn default() -> Self {
        Self { dockerfile: None, builder: None, timeout: BUILD_TIMEOUT }
    }
}

/// What makes of a directory what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builder {
    /// An image, from the Dockerfile of the directory.
    Dockerfile,
    /// An image, from a Dockerfile that is written for projects of this kind.
    Detected(Language),
    /// Nothing: the directory runs as it is, as local processes.
    Bundle,
}

/// Kinds of projects for which a Dockerfile can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// Files that are served as they are.
    Static,
    /// JavaScript or TypeScript on the server, or for pages that are built once.
    Node,
    /// Python.
    Python,
    /// Go.
    Go,
    /// Rust.
    Rust,
    /// Ruby.
    Ruby,
}

impl Language {
    /// All of them, in the order of documentation.
    pub const ALL: [Language; 6] =
        [Language::Static, Language::Node, Language::Python, Language::Go, Language::Rust, Language::Ruby];

    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Language::Static => "static",
            Language::Node => "node",
            Language::Python => "python",
            Language::Go => "go",
            Language::Rust => "rust",
            Language::Ruby => "ruby",
        }
    }
}

impl Builder {
    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Builder::Dockerfile => "dockerfile",
            Builder::Detected(language) => language.word(),
            Builder::Bundle => "bundle",
        }
    }

    fn all() -> Vec<Builder> {
        let mut all = vec![Builder::Dockerfile];
        all.extend(Language::ALL.map(Builder::Detected));
        all.push(Builder::Bundle);
        all
    }
}

pub(super) fn build(raw: &raw::Build, found: &mut Found) -> BuildRules {
    let builder = raw.builder.as_ref().and_then(|written| builder(written, found));
    let dockerfile = raw.dockerfile.as_ref().map(|path| dockerfile(path, found));
    if let (Some(path), Some(other)) = (&raw.dockerfile, builder)
        && other != Builder::Dockerfile
    {
        let message = format!("a Dockerfile is not used by the builder \"{}\"", other.word());
        found.with_help(path.span(), message, "leave `dockerfile` out, or `builder`");
    }
    BuildRules {
        dockerfile,
        builder,
        timeout: found.longer_than_zero("timeout", &raw.timeout, BUILD_TIMEOUT),
    }
}

fn builder(written: &Spanned<String>, found: &mut Found) -> Option<Builder> {
    let all = Builder::all();
    let known = all.iter().copied().find(|builder| builder.word() == written.get_ref());
    if known.is_none() {
        let words: Vec<String> = all.iter().map(|builder| format!("\"{}\"", builder.word())).collect();
        let message = format!("there is no builder \"{}\"", written.get_ref());
        found.with_help(written.span(), message, format!("known: {}", words.join(", ")));
    }
    known
}

/// The path with `./` and doubled slashes taken out.
fn dockerfile(written: &Spanned<String>, found: &mut Found) -> String {
    let path = written.get_ref();
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if path.starts_with('/') || parts.is_empty() || parts.contains(&"..") || path.ends_with('/') {
        let message = "dockerfile must be the path of a file inside the directory";
        found.with_help(written.span(), message, "write for example \"Dockerfile\" or \"deploy/Dockerfile\"");
    }
    if path.contains(char::is_control) {
        found.at(written.span(), "dockerfile contains a control character");
    }
    parts.join("/")
}

pub(super) fn release(raw: Option<&Spanned<raw::Release>>, found: &mut Found) -> Option<ReleaseCommand> {
    let raw = raw?;
    let timeout = found.longer_than_zero("timeout", &raw.get_ref().timeout, RELEASE_TIMEOUT);
    let Some(command) = &raw.get_ref().command else {
        let help = "add a line such as `command = \"./migrate up\"`, or leave [release] out";
        found.with_help(raw.span(), "[release] has no command", help);
        return None;
    };
    Some(ReleaseCommand { command: found.command("the release command", command), timeout })
}
