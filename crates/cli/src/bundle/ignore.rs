//! `.tempsignore`: what a bundle leaves out.
//!
//! One pattern on a line; empty lines and lines that begin with `#` mean nothing.
//!
//! - `name` leaves out files and directories of this name, wherever they are.
//! - `name/` leaves out directories only.
//! - `/name` and `some/name` count from the top of the directory.
//! - `*` stands for any characters except `/`.
//!
//! There is nothing else: no `**`, `?`, `[…]`, `!` or `\`. They are refused, as guessing would deploy
//! what should stay at home. `.git` is always left out. `.gitignore` is not read.

use std::path::Path;

/// Its name.
pub const NAME: &str = ".tempsignore";

/// What is always left out.
const ALWAYS: &[u8] = b".git";

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// A line has something that is not known.
    #[error(
        "{NAME}:{line}: `{what}` is not supported in \"{pattern}\"; a pattern has names, `*`, and `/` at the end for directories"
    )]
    Unsupported {
        /// The number of the line, from 1.
        line: usize,
        /// What is not known.
        what: &'static str,
        /// The pattern.
        pattern: String,
    },
}

/// What a bundle leaves out.
#[derive(Debug, Default)]
pub(super) struct Ignored(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    /// From the top, or a name alone.
    anchored: bool,
    directories: bool,
    glob: Vec<u8>,
}

/// What an entry is, as far as patterns care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Directory,
    Other,
}

impl Ignored {
    pub(super) fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for (at, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii_end();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            for what in ["**", "?", "[", "!", "\\"] {
                if line.windows(what.len()).any(|part| part == what.as_bytes()) {
                    let pattern = String::from_utf8_lossy(line).into_owned();
                    return Err(IgnoreError::Unsupported { line: at + 1, what, pattern });
                }
            }
            let directories = line.ends_with(b"/");
            let glob = line.strip_suffix(b"/").unwrap_or(line);
            let anchored = glob.contains(&b'/');
            let glob = glob.strip_prefix(b"./").or(glob.strip_prefix(b"/")).unwrap_or(glob).to_vec();
            patterns.push(Pattern { anchored, directories, glob });
        }
        Ok(Self(patterns))
    }

    /// Whether an entry stays out; `path` is relative to the top.
    pub(super) fn matches(&self, path: &Path, sort: Sort) -> bool {
        let whole = path.as_os_str().as_encoded_bytes();
        let name = path.file_name().map_or(whole, |name| name.as_encoded_bytes());
        name == ALWAYS
            || self.0.iter().any(|pattern| {
                let subject = if pattern.anchored { whole } else { name };
                (sort == Sort::Directory || !pattern.directories) && glob(&pattern.glob, subject)
            })
    }
}

/// Whether the pattern covers all of the text; `*` stands for anything but `/`. Takes at most
/// the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and how far the text was then taken for it.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) if text[taken] != b'/' => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Ignored, Sort, glob};

    #[test]
    fn patterns() {
        let list = b"# build output\r\n\n*.log\ntarget/\n/config/local.toml\n/top\nsrc/*/tmp*\n.env\n";
        let ignored = Ignored::parse(list).unwrap();
        for (path, sort, out) in [
            ("a.log", Sort::Other, true),
            ("deep/er/b.log", Sort::Other, true),
            ("a.log.txt", Sort::Other, false),
            ("target", Sort::Directory, true),
            ("crates/target", Sort::Directory, true),
            ("target", Sort::Other, false),
            ("config/local.toml", Sort::Other, true),
            ("x/config/local.toml", Sort::Other, false),
            ("top", Sort::Other, true),
            ("x/top", Sort::Other, false),
            ("src/a/tmp1", Sort::Other, true),
            ("src/a/b/tmp1", Sort::Other, false),
            (".env", Sort::Other, true),
            (".envrc", Sort::Other, false),
            (".git", Sort::Directory, true),
            ("sub/.git", Sort::Other, true),
            (".gitignore", Sort::Other, false),
        ] {
            assert_eq!(ignored.matches(Path::new(path), sort), out, "{path}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line() {
        for (list, message) in [
            (
                "a\n**/b\n",
                ".tempsignore:2: `**` is not supported in \"**/b\"; a pattern has names, `*`, and `/` at the end for directories",
            ),
            (
                "!keep\n",
                ".tempsignore:1: `!` is not supported in \"!keep\"; a pattern has names, `*`, and `/` at the end for directories",
            ),
            (
                "a?\n",
                ".tempsignore:1: `?` is not supported in \"a?\"; a pattern has names, `*`, and `/` at the end for directories",
            ),
        ] {
            assert_eq!(Ignored::parse(list.as_bytes()).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_glob_of_many_stars_ends_in_time() {
        assert!(!glob("*a".repeat(50).as_bytes(), "a".repeat(49).as_bytes()));
        assert!(glob(b"*", b"") && glob(b"a*b*c", b"aXbYc") && !glob(b"a*c", b"a/c"));
    }
}
