//! `.dockerignore`: what Docker leaves out of a build.
//!
//! The rules are Docker's own: a pattern counts from the top of the directory, covers everything below what
//! it matches, and the last one that matches decides, so that `!` takes something in again. `*` and `?` stop
//! at `/`, `**` does not, `[a-z]` is one of several characters, and `\` takes the next character as it is.

use std::path::Path;

/// Its name.
pub(super) const NAME: &str = ".dockerignore";

/// The patterns, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct DockerIgnored(Vec<Pattern>);

#[derive(Clone, Debug)]
struct Pattern {
    /// It takes in again what an earlier one left out.
    exception: bool,
    parts: Vec<Part>,
}

/// What a part of a pattern stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// One byte of a name.
    Any,
    /// Any bytes of a name.
    Star,
    /// Nothing, or anything that ends with `/`.
    Directories,
    /// Anything.
    Everything,
    /// One of these ranges, or none of them.
    OneOf {
        ranges: Vec<(u8, u8)>,
        negated: bool,
    },
}

impl DockerIgnored {
    /// A pattern that can match nothing, such as an unclosed `[`, matches nothing here either.
    pub(super) fn parse(text: &[u8]) -> Self {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Self(text.split(|b| *b == b'\n').filter_map(line).collect())
    }

    pub(super) fn then(mut self, later: Self) -> Self {
        self.0.extend(later.0);
        self
    }

    /// Whether an entry stays out; `path` is relative to the top.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_encoded_bytes();
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        // The path itself, and each directory above it.
        let paths: Vec<&[u8]> = std::iter::once(path.len()).chain(ends).map(|end| &path[..end]).collect();
        let mut out = false;
        for pattern in &self.0 {
            // One that would change nothing need not be looked at.
            if out == pattern.exception && paths.iter().any(|path| glob(&pattern.parts, path)) {
                out = !pattern.exception;
            }
        }
        out
    }

    /// Whether something below a directory that stays out may be taken in again.
    pub(super) fn may_take_in_below(&self, directory: &Path) -> bool {
        let directory = directory.as_os_str().as_encoded_bytes();
        self.0
            .iter()
            .filter(|pattern| pattern.exception)
            .any(|pattern| may_reach_below(&pattern.parts, directory))
    }
}

fn line(line: &[u8]) -> Option<Pattern> {
    if line.starts_with(b"#") {
        return None;
    }
    let line = line.trim_ascii();
    let (exception, pattern) = match line.strip_prefix(b"!") {
        Some(rest) => (true, rest.trim_ascii()),
        None => (false, line),
    };
    let clean = clean(pattern);
    if clean.is_empty() {
        return None;
    }
    Some(Pattern { exception, parts: parts(&clean)? })
}

/// The pattern without slashes at the ends, empty parts, `.` and `..`, as paths are made clean.
fn clean(pattern: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in pattern.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    kept.join(&b'/')
}

fn parts(pattern: &[u8]) -> Option<Vec<Part>> {
    let mut all = Vec::new();
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        all.push(match first {
            b'*' if rest.first() == Some(&b'*') => {
                rest = &rest[1..];
                rest = rest.strip_prefix(b"/").unwrap_or(rest);
                if rest.is_empty() { Part::Everything } else { Part::Directories }
            }
            b'*' => Part::Star,
            b'?' => Part::Any,
            b'[' => one_of(&mut rest)?,
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                rest = after;
                Part::Byte(*escaped)
            }
            byte => Part::Byte(*byte),
        });
    }
    Some(all)
}

/// The rest of `[a-z]` or `[^a-z]`.
fn one_of(rest: &mut &[u8]) -> Option<Part> {
    let negated = rest.first() == Some(&b'^');
    let mut left = if negated { &rest[1..] } else { *rest };
    let mut ranges = Vec::new();
    loop {
        let low = taken(&mut left)?;
        if low == (b']', false) {
            *rest = left;
            return (!ranges.is_empty()).then_some(Part::OneOf { ranges, negated });
        }
        let mut high = low.0;
        if let Some(after) = left.strip_prefix(b"-").filter(|after| !after.starts_with(b"]")) {
            left = after;
            high = taken(&mut left)?.0;
        }
        ranges.push((low.0, high));
    }
}

/// The next byte, and whether it was escaped.
fn taken(left: &mut &[u8]) -> Option<(u8, bool)> {
    let (first, after) = left.split_first()?;
    *left = after;
    if *first != b'\\' {
        return Some((*first, false));
    }
    let (escaped, after) = left.split_first()?;
    *left = after;
    Some((*escaped, true))
}

/// Which places of the pattern can be reached after some bytes of a path; it takes at most the product of
/// both lengths.
struct Places<'a> {
    parts: &'a [Part],
    at: Vec<bool>,
}

impl<'a> Places<'a> {
    fn new(parts: &'a [Part]) -> Self {
        let mut places = Self { parts, at: vec![false; parts.len() + 1] };
        places.at[0] = true;
        places.skip();
        places
    }

    /// What can stand for nothing is passed.
    fn skip(&mut self) {
        for (place, part) in self.parts.iter().enumerate() {
            if self.at[place] && matches!(part, Part::Star | Part::Directories | Part::Everything) {
                self.at[place + 1] = true;
            }
        }
    }

    fn step(&mut self, byte: u8, inside: &mut [bool]) {
        let mut next = vec![false; self.at.len()];
        let mut next_inside = vec![false; inside.len()];
        for (place, part) in self.parts.iter().enumerate() {
            let here = self.at[place];
            match part {
                Part::Byte(wanted) => next[place + 1] |= here && *wanted == byte,
                Part::Any => next[place + 1] |= here && byte != b'/',
                Part::OneOf { ranges, negated } => {
                    let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte));
                    next[place + 1] |= here && byte != b'/' && within != *negated;
                }
                Part::Star => next[place] |= here && byte != b'/',
                Part::Everything => next[place] |= here,
                // It may only be left behind a slash.
                Part::Directories => {
                    let going = here || inside[place];
                    next_inside[place] |= going;
                    next[place + 1] |= going && byte == b'/';
                }
            }
        }
        self.at = next;
        inside.copy_from_slice(&next_inside);
        self.skip();
    }
}

/// Whether the pattern covers all of the text.
fn glob(parts: &[Part], text: &[u8]) -> bool {
    let (places, _) = walked(parts, text);
    places.at[parts.len()]
}

/// Whether a text that begins with the directory and a slash can match.
fn may_reach_below(parts: &[Part], directory: &[u8]) -> bool {
    let mut below = directory.to_vec();
    below.push(b'/');
    let (places, inside) = walked(parts, &below);
    places.at[..parts.len()].iter().any(|at| *at) || inside.iter().any(|inside| *inside)
}

fn walked<'a>(parts: &'a [Part], text: &[u8]) -> (Places<'a>, Vec<bool>) {
    let mut places = Places::new(parts);
    let mut inside = vec![false; parts.len()];
    for byte in text {
        places.step(*byte, &mut inside);
    }
    (places, inside)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::DockerIgnored;

    fn check(list: &str, out: &[&str], stays: &[&str]) {
        let ignored = DockerIgnored::parse(list.as_bytes());
        for path in out {
            assert!(ignored.matches(Path::new(path)), "{list:?} leaves {path} out");
        }
        for path in stays {
            assert!(!ignored.matches(Path::new(path)), "{list:?} keeps {path}");
        }
    }

    #[test]
    fn patterns_count_from_the_top_and_cover_what_is_below() {
        check("foo", &["foo", "foo/a", "foo/a/b"], &["x/foo", "foobar", "fo"]);
        check("/foo/", &["foo", "foo/a"], &["x/foo"]);
        check("./a//b/../c", &["a/c", "a/c/d"], &["a/b", "a"]);
        check("*/temp*", &["x/temp", "x/temporary/y"], &["temp", "x/y/temp"]);
        check("*/*/temp*", &["x/y/temp"], &["x/temp"]);
        check("temp?", &["tempa", "tempb/x"], &["temp", "temp/a", "tempab"]);
        check("*.go", &["main.go"], &["x/main.go"]);
        check("**/*.go", &["main.go", "x/main.go", "x/y/main.go"], &["main.gox"]);
        check("**/foo", &["foo", "x/foo", "x/y/foo/z"], &["xfoo", "x/yfoo"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]);
        check("a/**", &["a/b", "a/b/c"], &["b"]);
        check("**", &["a", "a/b"], &[]);
        check("a**b", &["ab", "ax/b"], &["axb"]);
        check("[a-c]x", &["ax", "cx/y"], &["dx", "x"]);
        check("[^a-c]x", &["dx"], &["ax", "/x"]);
        check("[]", &[], &["[]", "a"]);
        check("\\*x", &["*x"], &["ax"]);
        check("\\#x", &["#x"], &[]);
        check("a.b+(c)|$", &["a.b+(c)|$"], &["aXb"]);
    }

    #[test]
    fn comments_blanks_and_broken_patterns_mean_nothing() {
        check("# comment\n\n  \n!\n/\n.\n", &[], &["# comment", "a", "."]);
        check("  foo  \r\n", &["foo"], &[]);
        check("\u{feff}foo\n", &["foo"], &[]);
        check(" # no comment\n", &["# no comment"], &[]);
        check("[a\nb\\\nc\n", &["c"], &["a", "b", "[a"]);
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        check("*.md\n!README.md", &["a.md"], &["README.md", "x/a.md"]);
        check("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README-x.md"]);
        check("*.md\nREADME-secret.md\n!README*.md", &["a.md"], &["README-secret.md"]);
        check("*\n!src\nsrc/tmp", &["a", "src/tmp", "src/tmp/x"], &["src", "src/main.rs", "src/a/b"]);
        check("node_modules\n!node_modules/keep/**", &["node_modules/a"], &["node_modules/keep/a/b"]);
        check("*\n! server", &["a"], &["server"]);
    }

    #[test]
    fn a_directory_that_stays_out_is_entered_only_where_something_may_be_taken_in() {
        let below =
            |list: &str, path: &str| DockerIgnored::parse(list.as_bytes()).may_take_in_below(Path::new(path));
        assert!(!below("node_modules", "node_modules"));
        assert!(!below("*\n!src", "node_modules"));
        assert!(below("*\n!src/main.rs", "src"));
        assert!(!below("*\n!src/main.rs", "sr"));
        assert!(below("*\n!src/*/main.rs", "src/a"));
        assert!(!below("*\n!src/*/main.rs", "src/a/b"));
        assert!(below("*\n!**/keep", "node_modules/a"));
        assert!(below("*\n!a**", "a"));
    }

    #[test]
    fn patterns_of_many_stars_end_in_time() {
        let list = "*a".repeat(60);
        check(&list, &[], &[&"a".repeat(59)]);
        check(&"**/a".repeat(40), &[], &[&"a/".repeat(39)]);
    }
}
