//! Rust: one program beside the C library that it needs.

use toml::{Table, Value};

use super::version::plain;
use super::write::{Script, USER};
use super::{Detected, PORT, Tree, Unclear, Wanted};
use crate::file::Language;

/// The image of the newest compiler, and of the system that fits what it builds.
const USUAL: &str = "1";
const SYSTEM: &str = "bookworm";

pub(super) fn detect(wanted: Wanted<'_>) -> Result<Detected, Unclear> {
    let tree = wanted.tree;
    if !tree.has("Cargo.toml") {
        return Err(Unclear::new(
            "a Rust project has a Cargo.toml at the top of its directory, and there is none",
        ));
    }
    let program = program(tree)?;
    let version = version(tree);
    let seen = format!("Cargo.toml, Rust {version}, program {}", program.name);
    let mut notes = Vec::new();
    if !tree.has("Cargo.lock") {
        notes.push(
            "there is no Cargo.lock: each build takes the newest crates that fit; add it for builds that do not change by themselves"
                .to_owned(),
        );
    }
    Ok(Detected {
        language: Language::Rust,
        dockerfile: dockerfile(tree, &seen, &version, &program, wanted.volumes),
        seen,
        port: PORT,
        port_is_fixed: false,
        left_out: ["**/target", "**/.env"].map(str::to_owned).into(),
        notes,
    })
}

/// The program that is built.
struct Program {
    /// Of which package.
    package: String,
    name: String,
    /// Its package is all there is, and its only target is `src/main.rs`.
    simple: bool,
}

fn version(tree: &Tree) -> String {
    let table: Table = tree.text("rust-toolchain.toml").parse().unwrap_or_default();
    let channel = table.get("toolchain").and_then(|t| t.get("channel")).and_then(Value::as_str);
    // The older file has the channel alone, or the same as the newer one.
    let old: Table = tree.text("rust-toolchain").parse().unwrap_or_default();
    let old_channel = old.get("toolchain").and_then(|t| t.get("channel")).and_then(Value::as_str);
    let channel = channel.or(old_channel).or_else(|| tree.first_line("rust-toolchain"));
    channel.and_then(plain).unwrap_or(USUAL).to_owned()
}

fn program(tree: &Tree) -> Result<Program, Unclear> {
    let manifests = tree.paths().filter(|path| *path == "Cargo.toml" || path.ends_with("/Cargo.toml"));
    let mut all = Vec::new();
    let mut chosen = None;
    for path in manifests {
        let table: Table = match tree.text(path).parse() {
            Ok(table) => table,
            Err(_) if path != "Cargo.toml" => continue,
            Err(e) => {
                return Err(Unclear::new(format!(
                    "Cargo.toml cannot be read: {}",
                    last_line(&e.to_string())
                )));
            }
        };
        let found = programs(tree, path.strip_suffix("Cargo.toml").unwrap_or_default(), &table);
        let default = table.get("package").and_then(|p| p.get("default-run")).and_then(Value::as_str);
        let at_top = path == "Cargo.toml";
        chosen = chosen.or_else(|| {
            // Of the package at the top: the one it runs by default, or that has its own name.
            let name = default.or_else(|| found.first().map(|p| p.package.as_str()))?;
            found.iter().position(|p| at_top && p.name == name).map(|at| all.len() + at)
        });
        all.extend(found);
    }
    if all.len() == 1 {
        chosen = Some(0);
    }
    let names: Vec<String> = all.iter().map(|program| program.name.clone()).collect();
    let Some(at) = chosen else {
        let unclear = match names.is_empty() {
            true => Unclear::new("this is a rust project, and it has no program")
                .help("looked for: src/main.rs, src/bin, and [[bin]] in Cargo.toml"),
            false => {
                Unclear::new(format!("this is a rust project with several programs: {}", names.join(", ")))
                    .help("write default-run = \"NAME\" in [package] of Cargo.toml")
            }
        };
        return Err(unclear.help("or add a Dockerfile"));
    };
    let mut program = all.swap_remove(at);
    program.simple &= names.len() == 1 && !tree.has("build.rs");
    Ok(program)
}

fn last_line(text: &str) -> String {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// The programs of a package in a directory, which ends with `/` unless it is the top.
fn programs(tree: &Tree, directory: &str, manifest: &Table) -> Vec<Program> {
    let package = manifest.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
    let Some(package) = package.filter(|name| is_name(name)) else { return Vec::new() };
    let program = |name: &str, simple| Program { package: package.to_owned(), name: name.to_owned(), simple };
    let alone = directory.is_empty() && manifest.get("workspace").is_none() && manifest.get("lib").is_none();
    let declared: Vec<&Table> = manifest
        .get("bin")
        .and_then(Value::as_array)
        .map(|bins| bins.iter().filter_map(Value::as_table).collect())
        .unwrap_or_default();
    let mut all: Vec<Program> = declared
        .iter()
        .filter_map(|bin| bin.get("name")?.as_str())
        .filter(|name| is_name(name))
        .map(|name| program(name, false))
        .collect();
    let main = format!("{directory}src/main.rs");
    let is_declared = declared.iter().any(|bin| {
        let path = bin.get("path").and_then(Value::as_str);
        path.map_or(bin.get("name").and_then(Value::as_str) == Some(package), |path| path == "src/main.rs")
    });
    if tree.has(&main) && !is_declared {
        let library = tree.has(&format!("{directory}src/lib.rs"));
        all.push(program(package, alone && !library && declared.is_empty()));
    }
    let more = format!("{directory}src/bin/");
    for path in tree.paths().filter_map(|path| path.strip_prefix(&more)) {
        if let Some(name) = path.strip_suffix(".rs").filter(|name| is_name(name))
            && !all.iter().any(|program| program.name == name)
        {
            all.push(program(name, false));
        }
    }
    all
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn dockerfile(tree: &Tree, seen: &str, version: &str, program: &Program, volumes: &[String]) -> String {
    let Program { package, name, simple } = program;
    let locked = if tree.has("Cargo.lock") { " --locked" } else { "" };
    let mut out = Script::new(seen);
    out.from(&format!("rust:{version}-{SYSTEM}"), Some("build")).line("WORKDIR /src");
    if *simple {
        // The crates that it needs are built before its own files are there. What was built of the empty
        // program is thrown away, as files that are copied may look older.
        out.copy(&tree.present(&["Cargo.toml", "Cargo.lock", "rust-toolchain", "rust-toolchain.toml"]), "./")
            .line(format!(
                "RUN mkdir src && echo 'fn main() {{}}' > src/main.rs && cargo build --release{locked} && cargo clean --release -p {package} && rm -r src"
            ));
    }
    out.line("COPY . .")
        .line(format!("RUN cargo build --release{locked} -p {package} --bin {name} && mkdir -p /out/empty && cp target/release/{name} /out/app"))
        .from(&format!("debian:{SYSTEM}-slim"), None);
    if tree.text("Cargo.lock").contains("name = \"openssl-sys\"") {
        out.line("RUN apt-get update && apt-get install -y --no-install-recommends libssl3 && rm -rf /var/lib/apt/lists/*");
    }
    let port = PORT.to_string();
    out.line("COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt");
    if !volumes.is_empty() {
        out.own(&USER.to_string(), "", volumes);
    }
    out.line("COPY --from=build /out/app /usr/local/bin/app")
        .env(&[("PORT", &port), ("HOME", "/tmp")])
        .line(format!("USER {USER}:{USER}"))
        .expose()
        .command(&["app"]);
    out.text()
}
