//! A command line as a container gets it.
//!
//! What needs no shell runs without one, so that images without a shell work and signals meet the
//! application itself.

/// Signs that mean something to a shell outside of quotes, beyond separating words.
const SIGNS: &str = "|&;<>()$`*?[]{}#~!\n";

/// Words that are no programs.
const BUILTINS: [&str; 22] = [
    ".", ":", "case", "cd", "command", "eval", "exec", "exit", "export", "for", "if", "read", "set", "shift",
    "source", "trap", "ulimit", "umask", "unset", "until", "wait", "while",
];

/// The words of a command line; `None` for an empty one.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    if line.trim().is_empty() {
        return None;
    }
    let split = if needs_shell(line) { None } else { shlex::split(line).filter(|words| is_program(words)) };
    Some(split.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()]))
}

fn is_program(words: &[String]) -> bool {
    words.first().is_some_and(|first| !first.contains('=') && !BUILTINS.contains(&first.as_str()))
}

fn needs_shell(line: &str) -> bool {
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => {
                // A line that is continued is not one for a reader of words.
                if chars.next().is_none_or(|escaped| escaped == '\n') {
                    return true;
                }
            }
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if SIGNS.contains(c) => return true,
            (Some('"'), '$' | '`') => return true,
            (Some(open), c) if c == open => quote = None,
            (None | Some(_), _) => {}
        }
    }
    quote.is_some()
}

#[cfg(test)]
mod tests {
    use super::words;

    fn check(line: &str, expected: &[&str]) {
        assert_eq!(words(line).unwrap_or_default(), expected, "{line}");
    }

    #[test]
    fn what_needs_no_shell_gets_none() {
        assert_eq!(words("  "), None);
        check("node server.js", &["node", "server.js"]);
        check(" /app  serve --name 'a b' \"c d\" e\\ f", &["/app", "serve", "--name", "a b", "c d", "e f"]);
        check("app --filter 'a|b && $c' ''", &["app", "--filter", "a|b && $c", ""]);
        check("app --level=3 x=y", &["app", "--level=3", "x=y"]);
    }

    #[test]
    fn what_only_a_shell_understands_gets_one() {
        for line in [
            "a && b",
            "a; b",
            "a | b",
            "app $PORT",
            "app \"$PORT\"",
            "app *.js",
            "A=b app",
            "exec app serve",
            "cd x",
            "app 'unfinished",
            "app \\",
            "a\nb",
            "app \"`date`\"",
        ] {
            check(line, &["/bin/sh", "-c", line]);
        }
    }
}
