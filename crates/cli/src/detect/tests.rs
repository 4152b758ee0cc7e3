//! Each language with what it brings, as it is written.

use super::{Detected, Tree, Unclear, Wanted, detect};
use crate::file::Language;

mod compiled;
mod pages;
mod scripts;

fn wanted<'a>(tree: &'a Tree, volumes: &'a [String]) -> Wanted<'a> {
    Wanted { tree, language: None, has_commands: false, volumes }
}

fn detected(files: &[(&str, &str)]) -> Detected {
    detect(wanted(&Tree::of(files), &[])).unwrap_or_else(|unclear| panic!("{unclear:?}"))
}

fn unclear(files: &[(&str, &str)]) -> Unclear {
    detect(wanted(&Tree::of(files), &[])).expect_err("it is not known how to build this")
}

/// The Dockerfile without its first lines, which are the same in all.
fn body(files: &[(&str, &str)]) -> String {
    let detected = detected(files);
    let head = format!(
        "# Written by temps ({}).\n# Save it as Dockerfile to change it; then that one is used.\n\n",
        detected.seen
    );
    detected.dockerfile.strip_prefix(&head).expect("it begins with what it was told from").to_owned()
}

/// The lines that begin with a word.
fn lines(files: &[(&str, &str)], word: &str) -> Vec<String> {
    let body = body(files);
    body.lines().filter(|line| line.starts_with(word)).map(str::to_owned).collect()
}

#[test]
fn no_dockerfile_runs_as_root_or_needs_what_only_a_newer_docker_has() {
    for files in [
        &[("index.html", "")][..],
        &[("package.json", r#"{"main":"a.js"}"#), ("a.js", "")],
        &[("requirements.txt", "flask\ngunicorn"), ("app.py", "app = Flask(__name__)")],
        &[("go.mod", "module x"), ("main.go", "package main")],
        &[("Cargo.toml", "[package]\nname = \"x\""), ("src/main.rs", "")],
        &[("Gemfile", "gem \"puma\""), ("config.ru", "")],
    ] {
        let text = detected(files).dockerfile;
        let user = text.lines().rev().find(|line| line.starts_with("USER ")).unwrap_or("USER of the image");
        assert!(!user.contains("root") && user != "USER 0", "{text}");
        assert!(
            text.lines()
                .all(|line| !line.contains("--mount") && !line.contains("<<") && !line.contains("--chmod")),
            "{text}"
        );
        assert!(text.contains("\nEXPOSE 8080\n"), "{text}");
        assert!(!text.contains("ENTRYPOINT"), "a command of temps.toml takes the place of CMD alone: {text}");
    }
}

#[test]
fn what_a_directory_is_is_not_guessed_where_it_may_be_two_things() {
    let two = unclear(&[("go.mod", ""), ("requirements.txt", "")]);
    assert_eq!(two.to_string(), "the directory looks like several kinds of projects: \"python\", \"go\"");
    assert_eq!(two.help, ["write builder = \"python\" in [build] of temps.toml, or add a Dockerfile"]);
    let pages = detected(&[
        ("go.mod", ""),
        ("main.go", "package main\n"),
        ("package.json", "{}"),
        ("index.html", ""),
    ]);
    assert_eq!(pages.language, Language::Go);
    assert_eq!(
        pages.notes,
        ["package.json is there too; write builder = \"node\" in [build] if it is not a go project"]
    );
    assert_eq!(
        unclear(&[("readme.md", "")]).help,
        [
            "looked for: Dockerfile, index.html (static), package.json (node), requirements.txt or pyproject.toml or uv.lock (python), go.mod (go), Cargo.toml (rust), Gemfile (ruby)",
            "add a Dockerfile, or name one: dockerfile = \"path\" in [build] of temps.toml",
            "to run the directory as it is, as local processes: builder = \"bundle\" in [build]",
        ]
    );
}

#[test]
fn a_language_that_was_named_has_to_be_there() {
    for language in Language::ALL {
        let tree = Tree::of(&[("readme.md", "")]);
        let named = Wanted { language: Some(language), ..wanted(&tree, &[]) };
        assert!(detect(named).is_err(), "{language:?}");
    }
    let tree =
        Tree::of(&[("package.json", r#"{"main":"a.js"}"#), ("a.js", ""), ("go.mod", ""), ("index.html", "")]);
    for (language, seen) in
        [(Language::Node, "package.json, Node 24, npm"), (Language::Static, "index.html, static site")]
    {
        assert_eq!(detect(Wanted { language: Some(language), ..wanted(&tree, &[]) }).unwrap().seen, seen);
    }
}

#[test]
fn hostile_files_are_an_answer() {
    let deep = "[".repeat(100_000);
    for (path, text) in [
        ("package.json", "\u{feff}[]"),
        ("package.json", "{\"engines\": 3, \"scripts\": [1], \"main\": {}}"),
        ("package.json", &deep),
        ("pyproject.toml", "\0"),
        ("pyproject.toml", &deep),
        ("Cargo.toml", "[package]\nname = \"$(rm -rf /)\""),
        ("Cargo.toml", "bin = 3"),
        ("go.mod", "go \ngo go\nmodule\n"),
        ("Gemfile", "ruby ruby ruby"),
    ] {
        let tree = Tree::of(&[
            (path, text),
            ("src/main.rs", ""),
            (".node-version", "$(id)\n"),
            (".ruby-version", "; id"),
        ]);
        if let Ok(detected) = detect(wanted(&tree, &[])) {
            assert!(
                !detected.dockerfile.contains("$(") && !detected.dockerfile.contains("; id"),
                "{detected:?}"
            );
        }
    }
}
