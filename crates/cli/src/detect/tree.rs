//! What is known of a directory: the names of its files, down to a few levels, and the text of those that
//! tell something.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// So many levels of directories are looked into.
const LEVELS: usize = 3;
/// So many names at most.
const NAMES_MAX: usize = 20_000;
/// The most that is read of a file, in bytes.
const TEXT_MAX: u64 = 1 << 20;
/// Directories of what is made or fetched; nothing in them tells about the project.
const SKIPPED: [&str; 7] = ["node_modules", "target", "venv", "__pycache__", "dist", "build", "tmp"];
/// Names of files whose text tells something, wherever they are.
const TELLING: [&str; 22] = [
    "package.json",
    "pnpm-lock.yaml",
    ".node-version",
    ".nvmrc",
    "requirements.txt",
    "pyproject.toml",
    ".python-version",
    "runtime.txt",
    "manage.py",
    "Procfile",
    "go.mod",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain",
    "rust-toolchain.toml",
    "Gemfile",
    "Gemfile.lock",
    ".ruby-version",
    "config.ru",
    "__init__.py",
    "modules.txt",
    "angular.json",
];

/// The names of the files of a directory, with the text of some. Paths are relative, with `/`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    paths: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl Tree {
    pub(crate) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The text of a file; nothing where there is none, or it was not read.
    pub(super) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// The first line that says something, without a byte order mark.
    pub(super) fn first_line(&self, path: &str) -> Option<&str> {
        let lines = self.text(path).trim_start_matches('\u{feff}').lines().map(str::trim);
        lines.into_iter().find(|line| !line.is_empty() && !line.starts_with('#'))
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Whether something is in a directory of this path.
    pub(super) fn has_directory(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.paths.range(prefix.clone()..).next().is_some_and(|first| first.starts_with(&prefix))
    }

    /// Those of the paths that are there.
    pub(super) fn present<'a>(&self, paths: &[&'a str]) -> Vec<&'a str> {
        paths.iter().copied().filter(|path| self.has(path)).collect()
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.paths.insert((*path).to_owned());
            tree.texts.insert((*path).to_owned(), (*text).to_owned());
        }
        tree
    }
}

/// Looks into a directory. What cannot be read counts as absent: packing it tells why.
pub(crate) fn gather(root: &Path) -> Tree {
    let mut tree = Tree::default();
    let mut open = vec![(String::new(), 0)];
    while let Some((directory, level)) = open.pop() {
        let Ok(entries) = std::fs::read_dir(root.join(&directory)) else { continue };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
            // Through links, as the files of many projects are.
            let Ok(metadata) = std::fs::metadata(root.join(&path)) else { continue };
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if metadata.is_dir() {
                let hidden = name.starts_with('.') || SKIPPED.contains(&name.as_str());
                if !hidden && !is_link && level + 1 < LEVELS {
                    open.push((path, level + 1));
                }
            } else if metadata.is_file() && tree.paths.len() < NAMES_MAX {
                if tells(&name, level) {
                    tree.texts.insert(path.clone(), text(&root.join(&path)));
                }
                tree.paths.insert(path);
            }
        }
    }
    tree
}

fn tells(name: &str, level: usize) -> bool {
    let code = [".py", ".go"].iter().any(|ending| name.ends_with(ending));
    TELLING.contains(&name) || (code && level < 2)
}

fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // What was read until an error is as good as nothing: the packing will tell.
        let _ = file.take(TEXT_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Tree, gather};

    #[test]
    fn a_directory_is_looked_into_and_what_was_fetched_is_not() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("package.json", "{}"),
            ("src/app/server.js", "x"),
            ("src/app/deep/er.js", "x"),
            ("node_modules/left-pad/package.json", "{}"),
            (".git/config", "x"),
            (".node-version", "20\n"),
            ("app.py", "app = 1"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::write(root.path().join("Procfile"), b"web: \xff").unwrap();
        std::os::unix::fs::symlink("..", root.path().join("src/loop")).unwrap();
        let tree = gather(root.path());
        let paths: Vec<&str> = tree.paths().collect();
        assert_eq!(paths, [".node-version", "Procfile", "app.py", "package.json", "src/app/server.js"]);
        assert_eq!((tree.text("package.json"), tree.first_line(".node-version")), ("{}", Some("20")));
        assert_eq!(tree.text("Procfile"), "web: \u{fffd}");
        assert!(
            tree.has_directory("src/app") && !tree.has_directory("src/ap") && !tree.has_directory("app.py")
        );
        assert_eq!(gather(&root.path().join("none")).paths().count(), 0);
        assert_eq!(Tree::default().first_line("x"), None);
    }
}
