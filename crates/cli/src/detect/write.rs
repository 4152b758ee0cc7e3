//! The instructions that several kinds of Dockerfiles have in common.

use std::fmt::Write as _;

use super::PORT;

/// The user of images that bring none: without a name in common images, and without rights.
pub(super) const USER: u32 = 10_001;

/// A Dockerfile that grows by instructions.
pub(super) struct Script(String);

impl Script {
    /// Begins with what it was told from.
    pub(super) fn new(seen: &str) -> Self {
        Self(format!(
            "# Written by temps ({seen}).\n# Save it as Dockerfile to change it; then that one is used.\n"
        ))
    }

    pub(super) fn line(&mut self, instruction: impl AsRef<str>) -> &mut Self {
        self.0.push_str(instruction.as_ref());
        self.0.push('\n');
        self
    }

    /// A stage; a comment says what it is for where there is one.
    pub(super) fn from(&mut self, image: &str, name: Option<&str>) -> &mut Self {
        self.0.push('\n');
        match name {
            Some(name) => self.line(format!("FROM {image} AS {name}")),
            None => self.line(format!("FROM {image}")),
        }
    }

    /// `ENV` with plain values.
    pub(super) fn env(&mut self, pairs: &[(&str, &str)]) -> &mut Self {
        let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.line(format!("ENV {}", pairs.join(" ")))
    }

    /// `COPY` of names from the context, quoted where they need it.
    pub(super) fn copy(&mut self, names: &[&str], to: &str) -> &mut Self {
        self.line(format!("COPY {} {to}", names.join(" ")))
    }

    /// The user [`USER`], to whom `/app` and the places of volumes belong.
    pub(super) fn user(&mut self, volumes: &[String]) -> &mut Self {
        self.line(format!("RUN useradd --uid {USER} --home-dir /app --no-create-home app"))
            .own("app", "/app", volumes)
    }

    /// A new volume takes its owner from the directory in the image.
    pub(super) fn own(&mut self, user: &str, first: &str, volumes: &[String]) -> &mut Self {
        let paths: Vec<&str> =
            std::iter::once(first).filter(|path| !path.is_empty()).chain(plain(volumes)).collect();
        if paths.is_empty() {
            return self;
        }
        self.line(format!("RUN install -d -o {user} -g {user} {}", paths.join(" ")))
    }

    /// The same in an image without a shell: an empty directory of another stage is copied there.
    pub(super) fn own_by_copy(&mut self, user: u32, volumes: &[String]) -> &mut Self {
        for path in std::iter::once("/tmp").chain(plain(volumes).filter(|path| *path != "/tmp")) {
            self.line(format!("COPY --from=build --chown={user}:{user} /out/empty {path}"));
        }
        self
    }

    /// The command, as a list: no shell stands between it and its signals.
    pub(super) fn command(&mut self, words: &[&str]) -> &mut Self {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        self.line(format!("CMD [{}]", words.join(", ")))
    }

    /// A command line of a shell.
    pub(super) fn shell(&mut self, line: &str) -> &mut Self {
        self.command(&["sh", "-c", &replaced(line)])
    }

    pub(super) fn expose(&mut self) -> &mut Self {
        self.line(format!("EXPOSE {PORT}"))
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

/// The places of volumes that neither a shell nor Docker reads as something else.
fn plain(volumes: &[String]) -> impl Iterator<Item = &str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
    volumes.iter().map(String::as_str).filter(move |path| path.bytes().all(plain))
}

/// A text as JSON, as the lists of Dockerfiles are written.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)).expect("a string takes everything"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A command line whose program takes the place of the shell, so that it gets the signals. A line of several
/// commands stays as it is.
fn replaced(line: &str) -> String {
    let line = line.trim();
    let several = has_operators(line);
    let first = line.split_whitespace().next().unwrap_or_default();
    if several || matches!(first, "exec" | "cd" | "export" | "if" | "for" | "while" | "source" | "." | "") {
        line.to_owned()
    } else if first.contains('=') {
        format!("exec env {line}")
    } else {
        format!("exec {line}")
    }
}

/// Whether a shell would do more than run one program; what is in quotes is for the program.
fn has_operators(line: &str) -> bool {
    let mut quote = None;
    let mut escaped = false;
    for c in line.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"') | None, '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, ';' | '&' | '|' | '\n' | '(' | '`' | '<' | '>') => return true,
            (None, _) => {}
        }
    }
    false
}

/// The words of a command line that needs no shell.
pub(super) fn words(line: &str) -> Option<Vec<&str>> {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '/' | ':' | '@' | ',' | '+' | '=')
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    (line.chars().all(plain) && words.first().is_some_and(|first| !first.contains('='))).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::{quoted, replaced, words};

    #[test]
    fn the_program_takes_the_place_of_the_shell_where_there_is_one() {
        for (line, expected) in [
            ("gunicorn app:app --bind 0.0.0.0:$PORT", "exec gunicorn app:app --bind 0.0.0.0:$PORT"),
            ("A=1 node x", "exec env A=1 node x"),
            ("./migrate && ./server", "./migrate && ./server"),
            ("exec x", "exec x"),
            ("gunicorn 'app:create_app()'", "exec gunicorn 'app:create_app()'"),
            ("x \"a;b\" \\; y", "exec x \"a;b\" \\; y"),
            ("x 'a' ; y", "x 'a' ; y"),
            ("cd x", "cd x"),
        ] {
            assert_eq!(replaced(line), expected);
        }
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("node server.js --port=1"), Some(vec!["node", "server.js", "--port=1"]));
        for line in ["A=1 node x", "node $X", "a && b", "node 'x'", "", "node *"] {
            assert_eq!(words(line), None, "{line}");
        }
        assert_eq!(quoted("a\"b\\c\n$"), "\"a\\\"b\\\\c\\u000a$\"");
    }
}
