//! Which of the words behind `deploy` is the project, and which the directory.

use std::path::PathBuf;

/// What is deployed, as far as the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) project: Option<String>,
    pub(super) path: PathBuf,
}

/// Takes the words apart. A word that contains `/` or `.`, or is the name of a directory, is the
/// directory; `my-app PATH` and `-p my-app PATH` are the same.
pub(super) fn split(
    first: Option<&str>,
    second: Option<&str>,
    flag: Option<&str>,
    is_directory: impl Fn(&str) -> bool,
) -> Result<Named, String> {
    let looks_like_path = |word: &str| word.contains(['/', '.']) || is_directory(word);
    let named = |project: Option<&str>, path: Option<&str>| Named {
        project: project.map(str::to_owned),
        path: PathBuf::from(path.unwrap_or(".")),
    };
    match (first, second, flag) {
        (None, _, flag) => Ok(named(flag, None)),
        (Some(only), None, flag) if looks_like_path(only) => Ok(named(flag, Some(only))),
        (Some(project), path, None) => Ok(named(Some(project), path)),
        (Some(project), path, Some(flag)) if project == flag => Ok(named(Some(flag), path)),
        (Some(project), _, Some(flag)) => Err(format!(
            "\"{project}\" and -p {flag} both name a project; if \"{project}\" is a directory, write ./{project}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Named, split};

    fn check(
        first: Option<&str>,
        second: Option<&str>,
        flag: Option<&str>,
        expected: Result<(Option<&str>, &str), &str>,
    ) {
        let got = split(first, second, flag, |word| word == "build");
        let expected = expected
            .map(|(project, path)| Named { project: project.map(str::to_owned), path: path.into() })
            .map_err(str::to_owned);
        assert_eq!(got, expected, "{first:?} {second:?} {flag:?}");
    }

    #[test]
    fn a_word_with_a_slash_or_a_dot_or_of_a_directory_is_the_directory() {
        check(None, None, None, Ok((None, ".")));
        check(None, None, Some("my-app"), Ok((Some("my-app"), ".")));
        check(Some("my-app"), None, None, Ok((Some("my-app"), ".")));
        check(Some("."), None, None, Ok((None, ".")));
        check(Some("./x"), None, Some("my-app"), Ok((Some("my-app"), "./x")));
        check(Some("/srv/app"), None, None, Ok((None, "/srv/app")));
        check(Some("temps.toml"), None, None, Ok((None, "temps.toml")));
        check(Some("build"), None, None, Ok((None, "build")));
        check(Some("my-app"), Some("build"), None, Ok((Some("my-app"), "build")));
        check(Some("my-app"), Some("new"), None, Ok((Some("my-app"), "new")));
        check(Some("my-app"), None, Some("my-app"), Ok((Some("my-app"), ".")));
        check(
            Some("other"),
            None,
            Some("my-app"),
            Err("\"other\" and -p my-app both name a project; if \"other\" is a directory, write ./other"),
        );
    }
}
