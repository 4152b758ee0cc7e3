//! Python: packages in an environment of their own, copied into an image without compilers.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::version::{in_range, parts, plain};
use super::write::Script;
use super::{Detected, PORT, Tree, Unclear, Wanted, no_start, procfile};
use crate::file::Language;

/// The version where the project names none.
const USUAL: &str = "3.13";
/// Files in which an application is looked for, and the modules that they are.
const MODULES: [(&str, &str); 9] = [
    ("main.py", "main"),
    ("app.py", "app"),
    ("asgi.py", "asgi"),
    ("wsgi.py", "wsgi"),
    ("application.py", "application"),
    ("server.py", "server"),
    ("app/main.py", "app.main"),
    ("app/__init__.py", "app"),
    ("src/main.py", "src.main"),
];

pub(super) fn detect(wanted: Wanted<'_>) -> Result<Detected, Unclear> {
    let tree = wanted.tree;
    let project: Table = match tree.text("pyproject.toml").parse() {
        Ok(project) => project,
        Err(_) => return Err(Unclear::new("pyproject.toml cannot be read: it is not TOML")),
    };
    let installer = installer(tree, &project)?;
    let mut notes = Vec::new();
    let version = version(tree, &project, &mut notes);
    let start = match procfile::web(tree).map(str::to_owned) {
        Some(line) => Some(line),
        None => match guess(tree, &packages(tree, &project)) {
            Ok(line) => Some(line),
            Err(_) if wanted.has_commands => None,
            Err(unclear) => return Err(unclear),
        },
    };
    notes.extend(procfile::note(tree));
    let seen = format!("{}, Python {version}", installer.file());
    Ok(Detected {
        language: Language::Python,
        dockerfile: dockerfile(tree, &seen, &version, installer, start.as_deref(), wanted.volumes),
        seen,
        port: PORT,
        port_is_fixed: false,
        left_out: ["**/.venv", "**/venv", "**/__pycache__", "**/*.pyc", "**/.env"].map(str::to_owned).into(),
        notes,
    })
}

/// What installs the packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Installer {
    Uv,
    Poetry,
    Requirements,
    /// The project itself is a package that names what it needs.
    Project,
}

impl Installer {
    fn file(self) -> &'static str {
        match self {
            Installer::Uv => "uv.lock",
            Installer::Poetry => "poetry.lock",
            Installer::Requirements => "requirements.txt",
            Installer::Project => "pyproject.toml",
        }
    }
}

fn installer(tree: &Tree, project: &Table) -> Result<Installer, Unclear> {
    if tree.has("uv.lock") && tree.has("pyproject.toml") {
        Ok(Installer::Uv)
    } else if tree.has("poetry.lock") && tree.has("pyproject.toml") {
        Ok(Installer::Poetry)
    } else if tree.has("requirements.txt") {
        Ok(Installer::Requirements)
    } else if project.contains_key("project") || project.contains_key("build-system") {
        Ok(Installer::Project)
    } else {
        Err(Unclear::new("this is a python project, and it is not known what it needs")
            .help("looked for: uv.lock with pyproject.toml, poetry.lock, requirements.txt, [project] in pyproject.toml")
            .help("add one of them (for example with `pip freeze > requirements.txt`), or a Dockerfile"))
    }
}

fn version(tree: &Tree, project: &Table, notes: &mut Vec<String>) -> String {
    for file in [".python-version", "runtime.txt"] {
        let Some(line) = tree.first_line(file) else { continue };
        if let Some(version) = plain(line.trim_start_matches("python-").trim_start_matches("cpython-")) {
            return version.to_owned();
        }
        notes.push(format!("{file} names no number; Python {USUAL} is used"));
        return USUAL.to_owned();
    }
    let poetry = || at(project, &["tool", "poetry", "dependencies", "python"]);
    let Some(range) = at(project, &["project", "requires-python"]).or_else(poetry).and_then(Value::as_str)
    else {
        return USUAL.to_owned();
    };
    // Of poetry's `^3.10` any later 3 will do.
    let range = range.strip_prefix('^').map_or(range.to_owned(), |least| format!(">={least}"));
    in_range(&range, USUAL, 2).map_or_else(
        || {
            notes
                .push(format!("the version of Python in pyproject.toml was not understood; {USUAL} is used"));
            USUAL.to_owned()
        },
        |version| if version.contains('.') { version } else { parts(USUAL, 2) },
    )
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(key))
}

/// Names of the packages that are needed, in one spelling. `fastapi[standard]` names `fastapi[standard]` too.
fn packages(tree: &Tree, project: &Table) -> BTreeSet<String> {
    let mut lines: Vec<String> = tree.text("requirements.txt").lines().map(str::to_owned).collect();
    if let Some(list) = at(project, &["project", "dependencies"]).and_then(Value::as_array) {
        lines.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    if let Some(table) = at(project, &["tool", "poetry", "dependencies"]).and_then(Value::as_table) {
        lines.extend(table.keys().cloned());
    }
    let mut all = BTreeSet::new();
    for line in lines {
        let line = line.trim().to_ascii_lowercase().replace('_', "-");
        let end =
            line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))).unwrap_or(line.len());
        if line.starts_with('#') || end == 0 {
            continue;
        }
        if line[end..].starts_with('[')
            && let Some(close) = line.find(']')
        {
            all.insert(line[..=close].replace(' ', ""));
        }
        all.insert(line[..end].to_owned());
    }
    // Another file is read by the installer only: whatever may be in it is taken to be there.
    if tree.text("requirements.txt").lines().any(|line| line.trim().starts_with("-r")) {
        all.extend(["gunicorn", "uvicorn"].map(str::to_owned));
    }
    all
}

/// How a project of a known framework starts.
fn guess(tree: &Tree, packages: &BTreeSet<String>) -> Result<String, Unclear> {
    let has = |name: &str| packages.contains(name);
    let gunicorn = "gunicorn --bind 0.0.0.0:$PORT";
    let uvicorn = "uvicorn --host 0.0.0.0 --port $PORT";
    let missing = |framework: &str, server: &str| {
        Unclear::new(format!(
            "this is a {framework} project, and the server that would run it is not among its packages"
        ))
        .help(format!("add {server} to what it needs, or say how it starts in temps.toml:"))
        .help("  [processes.web]")
        .help("  command = \"…\"        # listens on $PORT")
    };
    let served = |servers: &[&str], framework: &str, server: &str, line: String| {
        if servers.iter().any(|name| has(name)) { Ok(line) } else { Err(missing(framework, server)) }
    };
    let django = || {
        let path = tree.paths().find_map(|path| path.strip_suffix("/wsgi.py"))?;
        tree.has("manage.py").then(|| path.replace('/', "."))
    };
    if let Some(package) = django() {
        return served(&["gunicorn"], "Django", "gunicorn", format!("{gunicorn} {package}.wsgi:application"));
    }
    if (has("fastapi") || has("starlette"))
        && let Some(place) = application(tree, &["FastAPI(", "Starlette("])
    {
        let servers = ["uvicorn", "uvicorn[standard]", "fastapi[standard]", "fastapi[all]"];
        return served(&servers, "FastAPI", "uvicorn", format!("{uvicorn} {place}"));
    }
    if has("flask")
        && let Some(place) = application(tree, &["Flask("])
    {
        return served(&["gunicorn"], "Flask", "gunicorn", format!("{gunicorn} {place}"));
    }
    Err(no_start(
        Language::Python,
        "`web` in Procfile; manage.py with wsgi.py (Django); `app = FastAPI(` or `app = Flask(` in main.py, app.py, wsgi.py, app/main.py and the like",
    ))
}

/// Where an application is made, as servers are told it: `main:app`, or `'app:create_app()'`.
fn application(tree: &Tree, made_by: &[&str]) -> Option<String> {
    for (path, module) in MODULES {
        for line in tree.text(path).lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let name = name.split(':').next().unwrap_or_default().trim_end();
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            // At the top of the module, so not indented.
            if is_name
                && made_by.iter().any(|made| {
                    value
                        .trim_start()
                        .trim_start_matches("fastapi.")
                        .trim_start_matches("flask.")
                        .starts_with(made)
                })
            {
                return Some(format!("{module}:{name}"));
            }
        }
    }
    let factory = |text: &str| {
        text.lines().any(|line| line.starts_with("def create_app()") || line.starts_with("def create_app("))
    };
    let made = |(path, _): &&(&str, &str)| {
        let text = tree.text(path);
        factory(text) && made_by.iter().any(|made| text.contains(made))
    };
    MODULES
        .iter()
        .find(made)
        .filter(|_| made_by.contains(&"Flask("))
        .map(|(_, module)| format!("'{module}:create_app()'"))
}

fn dockerfile(
    tree: &Tree,
    seen: &str,
    version: &str,
    installer: Installer,
    start: Option<&str>,
    volumes: &[String],
) -> String {
    let image = format!("python:{version}");
    let mut out = Script::new(seen);
    out.from(&image, Some("build"))
        .line("WORKDIR /app")
        .env(&[
            ("VIRTUAL_ENV", "/opt/venv"),
            ("PATH", "/opt/venv/bin:$PATH"),
            ("PIP_NO_CACHE_DIR", "1"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ])
        .line("RUN python -m venv /opt/venv");
    match installer {
        Installer::Uv => {
            out.env(&[
                ("UV_PROJECT_ENVIRONMENT", "/opt/venv"),
                ("UV_LINK_MODE", "copy"),
                ("UV_PYTHON_DOWNLOADS", "never"),
            ])
            .line("RUN pip install uv")
            .copy(&tree.present(&["pyproject.toml", "uv.lock", ".python-version"]), "./")
            .line("RUN uv sync --frozen --no-dev --no-install-project")
            .line("COPY . .")
            .line("RUN uv sync --frozen --no-dev --no-editable");
        }
        Installer::Poetry => {
            out.line("RUN python -m venv /opt/poetry && /opt/poetry/bin/pip install poetry")
                .copy(&["pyproject.toml", "poetry.lock"], "./")
                .line("RUN /opt/poetry/bin/poetry install --only main --no-root --no-interaction");
        }
        Installer::Requirements => {
            let more: Vec<&str> = tree
                .paths()
                .filter(|path| !path.contains('/') && path.ends_with(".txt") && path.contains("requirements"))
                .filter(|path| {
                    path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                })
                .collect();
            // What lies in the directory itself, or is named elsewhere, is only found when all is there.
            let text = tree.text("requirements.txt");
            let local = |line: &str| {
                let named = ["-r", "--requirement", "-c", "--constraint"]
                    .iter()
                    .find_map(|flag| line.strip_prefix(flag))
                    .map(|file| file.trim_start_matches('=').trim());
                line.starts_with("-e")
                    || line.starts_with('.')
                    || named.is_some_and(|file| !more.contains(&file))
            };
            if text.lines().map(str::trim).any(local) {
                out.line("COPY . .");
            } else {
                out.copy(&more, "./");
            }
            out.line("RUN pip install -r requirements.txt");
        }
        Installer::Project => {
            out.line("COPY . .").line("RUN pip install .");
        }
    }
    let port = PORT.to_string();
    out.from(&format!("{image}-slim"), None)
        .env(&[
            ("PATH", "/opt/venv/bin:$PATH"),
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("PORT", &port),
        ])
        .user(volumes)
        .line("WORKDIR /app")
        .line("COPY --from=build /opt/venv /opt/venv")
        .line("COPY --chown=app:app . .")
        .line("USER app")
        .expose();
    if let Some(start) = start {
        out.shell(start);
    }
    out.text()
}
