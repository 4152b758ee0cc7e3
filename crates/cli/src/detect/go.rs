//! Go: one static program in an image that has nothing else.

use super::version::plain;
use super::write::Script;
use super::{Detected, PORT, Tree, Unclear, Wanted};
use crate::file::Language;

/// The version where `go.mod` names none.
const USUAL: &str = "1.25";
/// The user of an image without a list of users.
const USER: u32 = 65_532;

pub(super) fn detect(wanted: Wanted<'_>) -> Result<Detected, Unclear> {
    let tree = wanted.tree;
    if !tree.has("go.mod") {
        return Err(Unclear::new("a Go project has a go.mod at the top of its directory, and there is none"));
    }
    let module = word_of(tree, "module").unwrap_or_default();
    // What builds it has to be as new as both lines say.
    let toolchain = word_of(tree, "toolchain").and_then(|word| plain(word.trim_start_matches("go")));
    let version = toolchain.or_else(|| word_of(tree, "go").and_then(plain)).unwrap_or(USUAL);
    let package = package(tree, module)?;
    let seen = format!("go.mod, Go {version}, package {package}");
    Ok(Detected {
        language: Language::Go,
        dockerfile: dockerfile(tree, &seen, version, &package, wanted.volumes),
        seen,
        port: PORT,
        port_is_fixed: false,
        left_out: vec!["**/.env".to_owned()],
        notes: Vec::new(),
    })
}

/// The word behind a key at the beginning of a line of `go.mod`.
fn word_of<'a>(tree: &'a Tree, key: &str) -> Option<&'a str> {
    tree.text("go.mod").lines().find_map(|line| {
        let mut words = line.split("//").next()?.split_whitespace();
        (words.next() == Some(key)).then(|| words.next())?
    })
}

/// The package of the program: at the top, or the one in `cmd`.
fn package(tree: &Tree, module: &str) -> Result<String, Unclear> {
    let is_main = |path: &str| {
        !path.ends_with("_test.go")
            && tree
                .text(path)
                .lines()
                .any(|line| line.split("//").next().is_some_and(|l| l.trim() == "package main"))
    };
    let at_top = |path: &str| path.ends_with(".go") && !path.contains('/');
    if tree.paths().any(|path| at_top(path) && is_main(path)) {
        return Ok(".".to_owned());
    }
    let mut programs: Vec<&str> = tree
        .paths()
        .filter_map(|path| path.strip_prefix("cmd/")?.split_once('/'))
        .filter(|(_, file)| file.ends_with(".go") && !file.ends_with("_test.go"))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')))
        .collect();
    programs.dedup();
    let last = module.rsplit('/').find(|part| !part.starts_with('v') || part.len() > 3).unwrap_or_default();
    let chosen = match programs[..] {
        [only] => Some(only),
        _ => programs.iter().copied().find(|name| *name == last || *name == "server"),
    };
    if let Some(name) = chosen {
        return Ok(format!("./cmd/{name}"));
    }
    let unclear = match programs.is_empty() {
        true => Unclear::new("this is a go project, and it is not known which package is the program")
            .help("looked for: a file at the top with `package main`, and a directory in cmd"),
        false => {
            let names = programs.join(", ");
            Unclear::new(format!("this is a go project with several programs in cmd: {names}"))
                .help(format!("one called \"{last}\" or \"server\" would be taken"))
        }
    };
    Err(unclear.help("add a Dockerfile that builds the right one"))
}

fn dockerfile(tree: &Tree, seen: &str, version: &str, package: &str, volumes: &[String]) -> String {
    let mut out = Script::new(seen);
    out.from(&format!("golang:{version}"), Some("build")).line("WORKDIR /src");
    // Modules inside of the directory are needed even to fetch the others.
    let local = tree.text("go.mod").lines().any(|line| line.contains("=> ."));
    let vendored = tree.has("vendor/modules.txt");
    if !local && !vendored && !tree.has("go.work") {
        out.copy(&tree.present(&["go.mod", "go.sum"]), "./").line("RUN go mod download");
    }
    let port = PORT.to_string();
    out.line("COPY . .")
        .line(format!(
            "RUN CGO_ENABLED=0 go build -trimpath -ldflags=\"-s -w\" -tags timetzdata -o /out/app {package} && mkdir /out/empty"
        ))
        .from("scratch", None)
        .line("# There is no shell here: a command of a process can only name a program.")
        .line("COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt")
        .own_by_copy(USER, volumes)
        .line("COPY --from=build /out/app /app")
        .env(&[("PORT", &port), ("HOME", "/tmp")])
        .line(format!("USER {USER}:{USER}"))
        .expose()
        .command(&["/app"]);
    out.text()
}
