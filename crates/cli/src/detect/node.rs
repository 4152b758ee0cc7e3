//! Node: a server, or pages that are built once and then served as they are.

use serde_json::Value;

use super::version::{in_range, plain};
use super::write::{Script, words};
use super::{Detected, PORT, Tree, Unclear, Wanted, no_start, procfile, site};
use crate::file::Language;

/// The version where the project names none: the one with long-term support.
const USUAL: &str = "24";
/// Scripts of a package that run when it is installed, and may need all of its files.
const HOOKS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];
/// Tools that build pages, and where they put them.
const PAGES: [(&str, &str); 6] = [
    ("vite", "dist"),
    ("astro", "dist"),
    ("react-scripts", "build"),
    ("@vue/cli-service", "dist"),
    ("parcel", "dist"),
    ("@11ty/eleventy", "_site"),
];

pub(super) fn detect(wanted: Wanted<'_>) -> Result<Detected, Unclear> {
    let tree = wanted.tree;
    if !tree.has("package.json") {
        return Err(Unclear::new(
            "a Node project has a package.json at the top of its directory, and there is none",
        ));
    }
    let package: Value = serde_json::from_str(tree.text("package.json").trim_start_matches('\u{feff}'))
        .map_err(|e| Unclear::new(format!("package.json cannot be read: {e}")))?;
    let mut notes = Vec::new();
    let project = Project { tree, package: &package, manager: manager(tree, &package, &mut notes)? };
    let version = version(&project, &mut notes);
    let start = match start(&project) {
        Some(start) => start,
        None if wanted.has_commands => Start::None,
        None => Start::Pages(pages(&project).ok_or_else(|| {
            no_start(
                Language::Node,
                "`web` in Procfile; the script `start`, or a `main` that exists, in package.json; server.js; index.js; a tool that builds pages (vite, astro, …)",
            )
        })?),
    };
    notes.extend(procfile::note(tree));
    let seen = format!("package.json, Node {version}, {}", project.manager.word());
    let dockerfile = dockerfile(&project, &seen, &version, &start, wanted.volumes);
    Ok(Detected {
        language: Language::Node,
        seen,
        dockerfile,
        port: PORT,
        port_is_fixed: matches!(start, Start::Pages(_)),
        left_out: [
            "**/node_modules",
            "**/.env",
            "**/.env.local",
            "**/.env.*.local",
            "npm-debug.log*",
            ".next",
            ".nuxt",
        ]
        .map(str::to_owned)
        .into(),
        notes,
    })
}

struct Project<'a> {
    tree: &'a Tree,
    package: &'a Value,
    manager: Manager,
}

/// What installs the packages.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manager {
    /// With a lock file or without.
    Npm { locked: bool },
    /// The first version, which the image brings.
    YarnClassic { locked: bool },
    /// A later version, which the project names or brings.
    YarnBerry,
    /// Of which version.
    Pnpm { version: String, locked: bool },
}

/// How it starts.
enum Start<'a> {
    /// Words of a command.
    Words(Vec<&'a str>),
    /// A line for a shell.
    Shell(String),
    /// Not at all: files in this directory are served.
    Pages(&'static str),
    /// As the processes say.
    None,
}

impl Manager {
    fn word(&self) -> &'static str {
        match self {
            Manager::Npm { .. } => "npm",
            Manager::YarnClassic { .. } | Manager::YarnBerry => "yarn",
            Manager::Pnpm { .. } => "pnpm",
        }
    }

    /// What has to be there before it.
    fn set_up(&self) -> Option<String> {
        match self {
            Manager::Npm { .. } | Manager::YarnClassic { .. } => None,
            Manager::YarnBerry => Some("RUN npm install -g corepack && corepack enable".to_owned()),
            Manager::Pnpm { version, .. } => Some(format!("RUN npm install -g pnpm@{version}")),
        }
    }

    /// Installs exactly what the lock file says.
    fn install(&self) -> &'static str {
        match self {
            Manager::Npm { locked: true } => "npm ci",
            Manager::Npm { locked: false } => "npm install",
            Manager::YarnClassic { locked: true } => "yarn install --frozen-lockfile",
            Manager::YarnClassic { locked: false } => "yarn install",
            Manager::YarnBerry => "yarn install --immutable",
            Manager::Pnpm { locked: true, .. } => "pnpm install --frozen-lockfile",
            Manager::Pnpm { locked: false, .. } => "pnpm install",
        }
    }

    /// Removes what only building needs; `None` where that cannot be relied on.
    fn prune(&self) -> Option<&'static str> {
        match self {
            Manager::Npm { .. } => Some("npm prune --omit=dev --ignore-scripts"),
            Manager::Pnpm { .. } => Some("CI=true pnpm prune --prod --ignore-scripts"),
            Manager::YarnClassic { .. } | Manager::YarnBerry => None,
        }
    }
}

fn manager(tree: &Tree, package: &Value, notes: &mut Vec<String>) -> Result<Manager, Unclear> {
    let named = package["packageManager"].as_str().unwrap_or_default();
    let (name, version) = named.split_once('@').unwrap_or((named, ""));
    let version = version.split('+').next().unwrap_or_default();
    let lock = |path| tree.has(path);
    let (npm, yarn, pnpm) =
        (lock("package-lock.json") || lock("npm-shrinkwrap.json"), lock("yarn.lock"), lock("pnpm-lock.yaml"));
    if name == "bun" || (lock("bun.lock") || lock("bun.lockb")) && !(npm || yarn || pnpm) {
        return Err(Unclear::new(
            "packages are installed by bun, for which no Dockerfile can be written yet",
        )
        .help("add a Dockerfile"));
    }
    if [npm, yarn, pnpm].iter().filter(|there| **there).count() > 1 && name.is_empty() {
        notes.push(
            "there are lock files of several package managers; remove those that are not used".to_owned(),
        );
    }
    let chosen = match name {
        "npm" | "yarn" | "pnpm" => name,
        _ if pnpm => "pnpm",
        _ if yarn => "yarn",
        _ => "npm",
    };
    let manager = match chosen {
        "pnpm" => Manager::Pnpm { version: pnpm_version(tree, version), locked: pnpm },
        "yarn" => {
            let late = plain(version).is_some_and(|version| !version.starts_with("1.") && version != "1");
            if late || tree.has(".yarnrc.yml") {
                Manager::YarnBerry
            } else {
                Manager::YarnClassic { locked: yarn }
            }
        }
        _ => Manager::Npm { locked: npm },
    };
    let unlocked = matches!(
        manager,
        Manager::Npm { locked: false }
            | Manager::YarnClassic { locked: false }
            | Manager::Pnpm { locked: false, .. }
    );
    if unlocked && has_dependencies(package) {
        notes.push(
            "there is no lock file: each build takes the newest packages that fit; add one for builds that do not change by themselves"
                .to_owned(),
        );
    }
    Ok(manager)
}

/// The version that wrote the lock file, where the project does not say it.
fn pnpm_version(tree: &Tree, named: &str) -> String {
    if let Some(version) = plain(named) {
        return version.to_owned();
    }
    let format = tree.text("pnpm-lock.yaml").lines().find_map(|line| line.strip_prefix("lockfileVersion:"));
    let format = format.unwrap_or_default().trim().trim_matches(['\'', '"']);
    match format.split('.').next() {
        Some("5") => "7",
        Some("6") => "8",
        _ => "9",
    }
    .to_owned()
}

fn has_dependencies(package: &Value) -> bool {
    ["dependencies", "devDependencies"]
        .iter()
        .any(|key| package[key].as_object().is_some_and(|d| !d.is_empty()))
}

fn version(project: &Project<'_>, notes: &mut Vec<String>) -> String {
    for file in [".node-version", ".nvmrc"] {
        if let Some(line) = project.tree.first_line(file) {
            if let Some(version) = plain(line) {
                return version.to_owned();
            }
            notes.push(format!("{file} names no number; Node {USUAL} is used"));
            return USUAL.to_owned();
        }
    }
    let Some(range) = project.package["engines"]["node"].as_str() else { return USUAL.to_owned() };
    in_range(range, USUAL, 1).unwrap_or_else(|| {
        notes.push(format!("engines.node in package.json was not understood; Node {USUAL} is used"));
        USUAL.to_owned()
    })
}

fn script<'a>(project: &Project<'a>, name: &str) -> Option<&'a str> {
    project.package["scripts"][name].as_str().map(str::trim).filter(|line| !line.is_empty())
}

fn start<'a>(project: &Project<'a>) -> Option<Start<'a>> {
    if let Some(line) = procfile::web(project.tree) {
        return Some(Start::Shell(line.to_owned()));
    }
    if let Some(line) = script(project, "start") {
        // `npm start` would run what belongs around it, and stand between the server and its signals.
        let around = script(project, "prestart").is_some() || script(project, "poststart").is_some();
        return Some(match words(line).filter(|_| !around) {
            Some(words) => Start::Words(words),
            None if around => Start::Words(vec![project.manager.word(), "run", "start"]),
            None => Start::Shell(line.to_owned()),
        });
    }
    let main = project.package["main"].as_str().map(|main| main.trim_start_matches("./"));
    let files = [Some("server.js"), main, Some("index.js")];
    let file = files.into_iter().flatten().find(|file| project.tree.has(file) && words(file).is_some())?;
    Some(Start::Words(vec!["node", file]))
}

/// Where a tool for pages puts them, if the project is of that kind.
fn pages(project: &Project<'_>) -> Option<&'static str> {
    script(project, "build")?;
    let uses = |name: &str| {
        ["dependencies", "devDependencies"].iter().any(|key| project.package[key].get(name).is_some())
    };
    PAGES.iter().find(|(tool, _)| uses(tool)).map(|(_, directory)| *directory)
}

fn dockerfile(
    project: &Project<'_>,
    seen: &str,
    version: &str,
    start: &Start<'_>,
    volumes: &[String],
) -> String {
    let image = format!("node:{version}");
    let mut out = Script::new(seen);
    out.from(&image, Some("build")).line("WORKDIR /app");
    if let Some(set_up) = project.manager.set_up() {
        out.line(set_up);
    }
    let whole = HOOKS.iter().any(|hook| script(project, hook).is_some())
        || project.package.get("workspaces").is_some()
        || project.tree.has("pnpm-workspace.yaml");
    if whole {
        // Installing runs scripts of the project, or installs parts of it: they need all files.
        out.line("COPY . .");
    } else {
        let files = [
            "package.json",
            "package-lock.json",
            "npm-shrinkwrap.json",
            "yarn.lock",
            "pnpm-lock.yaml",
            ".npmrc",
            ".yarnrc",
            ".yarnrc.yml",
        ];
        out.copy(&project.tree.present(&files), "./");
        if project.tree.has_directory(".yarn") {
            out.line("COPY .yarn ./.yarn");
        }
    }
    out.line(format!("RUN {}", project.manager.install()));
    if !whole {
        out.line("COPY . .");
    }
    if script(project, "build").is_some() {
        out.line(format!("RUN {} run build", project.manager.word()));
    }
    if let Start::Pages(directory) = start {
        serve_pages(&mut out, directory);
        return out.text();
    }
    if let Some(prune) = project.manager.prune().filter(|_| !starts_with_a_tool(project, start)) {
        out.line(format!("RUN {prune}"));
    }
    let port = PORT.to_string();
    out.from(&format!("{image}-slim"), None)
        .env(&[("NODE_ENV", "production"), ("PORT", &port), ("PATH", "/app/node_modules/.bin:$PATH")])
        .own("node", "/app", volumes)
        .line("WORKDIR /app")
        .line("COPY --from=build --chown=node:node /app ./")
        .line("USER node")
        .expose();
    match start {
        Start::Words(words) => out.command(words),
        Start::Shell(line) => out.shell(line),
        Start::Pages(_) | Start::None => &mut out,
    };
    out.text()
}

/// Whether what starts it is among the packages that only building needs.
fn starts_with_a_tool(project: &Project<'_>, start: &Start<'_>) -> bool {
    let line = match start {
        Start::Words(words) => words.join(" "),
        Start::Shell(line) => line.clone(),
        // The commands of the processes are not known here.
        Start::None => return true,
        Start::Pages(_) => return false,
    };
    let tools = project.package["devDependencies"].as_object();
    let words: Vec<&str> = line.split_whitespace().flat_map(|word| word.rsplit('/').next()).collect();
    // A package manager would run a script, which may use any of them.
    words.first().is_some_and(|first| matches!(*first, "npm" | "npx" | "yarn" | "pnpm"))
        || tools.is_some_and(|tools| words.iter().any(|word| tools.keys().any(|tool| tool.ends_with(word))))
}

/// Pages with one address each, or one page that answers for all addresses.
fn serve_pages(out: &mut Script, directory: &str) {
    let root = site::ROOT;
    let lines = [
        "server {".to_owned(),
        format!("    listen {PORT};"),
        format!("    root {root};"),
        "    location / { try_files $uri $uri/ $uri.html /index.html =404; }".to_owned(),
        "}".to_owned(),
    ];
    let quoted: Vec<String> = lines.iter().map(|line| format!("'{line}'")).collect();
    out.line(format!("RUN printf '%s\\n' {} > /site.conf", quoted.join(" ")))
        .from(site::SERVER, None)
        .line("COPY --from=build /site.conf /etc/nginx/conf.d/default.conf")
        .line(format!("COPY --from=build /app/{directory} {root}"))
        .expose();
}
