//! Node, Python and Ruby.

use super::{Wanted, body, detect, detected, lines, unclear, wanted};
use crate::detect::Tree;

const LOCKED: (&str, &str) = ("package-lock.json", "{}");

#[test]
fn a_node_server_with_a_build() {
    let package = r#"{
        "scripts": { "build": "next build", "start": "next start" },
        "dependencies": { "next": "15" },
        "devDependencies": { "typescript": "5" }
    }"#;
    assert_eq!(
        body(&[("package.json", package), LOCKED, (".nvmrc", "v22.4\n"), (".npmrc", "")]),
        "\
FROM node:22.4 AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build
RUN npm prune --omit=dev --ignore-scripts

FROM node:22.4-slim
ENV NODE_ENV=production PORT=8080 PATH=/app/node_modules/.bin:$PATH
RUN install -d -o node -g node /app
WORKDIR /app
COPY --from=build --chown=node:node /app ./
USER node
EXPOSE 8080
CMD [\"next\", \"start\"]
"
    );
}

#[test]
fn how_node_starts() {
    let start = |package: &str, more: &[(&str, &str)]| {
        let mut files = vec![("package.json", package), LOCKED];
        files.extend_from_slice(more);
        lines(&files, "CMD").pop().unwrap()
    };
    for (script, command) in [
        ("node server.js", r#"CMD ["node", "server.js"]"#),
        ("NODE_ENV=production node x", r#"CMD ["sh", "-c", "exec env NODE_ENV=production node x"]"#),
        ("node $FLAGS x", r#"CMD ["sh", "-c", "exec node $FLAGS x"]"#),
        ("prisma migrate && node x", r#"CMD ["sh", "-c", "prisma migrate && node x"]"#),
        ("node 'a b'", r#"CMD ["sh", "-c", "exec node 'a b'"]"#),
    ] {
        let package = serde_json::json!({ "scripts": { "start": script } }).to_string();
        assert_eq!(start(&package, &[]), command);
    }
    assert_eq!(
        start(r#"{ "scripts": { "start": "node x", "prestart": "echo" } }"#, &[]),
        r#"CMD ["npm", "run", "start"]"#
    );
    assert_eq!(start("{}", &[("server.js", "")]), r#"CMD ["node", "server.js"]"#);
    assert_eq!(start(r#"{ "main": "./lib/a.js" }"#, &[("lib/a.js", "")]), r#"CMD ["node", "lib/a.js"]"#);
    assert_eq!(
        start("{}", &[("Procfile", "web: node p.js\nworker: node w.js\n")]),
        r#"CMD ["sh", "-c", "exec node p.js"]"#
    );
    let unclear = unclear(&[("package.json", "{}"), LOCKED]);
    assert_eq!(unclear.to_string(), "this is a node project, and it is not known how it starts");
    assert!(unclear.help.contains(&"  [processes.web]".to_owned()), "{unclear:?}");
    // Whoever says how it starts needs no guess.
    let tree = Tree::of(&[("package.json", "{}"), LOCKED]);
    let told = detect(Wanted { has_commands: true, ..wanted(&tree, &[]) }).unwrap();
    assert!(!told.dockerfile.contains("CMD"), "{}", told.dockerfile);
}

#[test]
fn the_packages_of_node_are_those_of_the_lock_file() {
    let install = |package: &str, files: &[(&str, &str)]| {
        let mut all = vec![("package.json", package), ("server.js", "")];
        all.extend_from_slice(files);
        lines(&all, "RUN").first().cloned().unwrap()
    };
    assert_eq!(install("{}", &[LOCKED]), "RUN npm ci");
    assert_eq!(install("{}", &[("yarn.lock", "")]), "RUN yarn install --frozen-lockfile");
    assert_eq!(
        install(r#"{"packageManager":"yarn@4.1.0+sha256.x"}"#, &[("yarn.lock", "")]),
        "RUN npm install -g corepack && corepack enable"
    );
    assert_eq!(install(r#"{"packageManager":"pnpm@8.15.1"}"#, &[]), "RUN npm install -g pnpm@8.15.1");
    assert_eq!(install("{}", &[("pnpm-lock.yaml", "lockfileVersion: 5.4")]), "RUN npm install -g pnpm@7");
    let loose = detected(&[("package.json", r#"{"dependencies":{"a":"1"}}"#), ("server.js", "")]);
    assert!(loose.notes[0].starts_with("there is no lock file"), "{loose:?}");
    let bun = unclear(&[("package.json", "{}"), ("bun.lock", "")]);
    assert!(bun.to_string().contains("bun"), "{bun:?}");
    // What runs when packages are installed may need all files, and what starts may be a tool.
    let hooked =
        r#"{"scripts":{"start":"tsx x.ts","postinstall":"prisma generate"},"devDependencies":{"tsx":"4"}}"#;
    let body = body(&[("package.json", hooked), LOCKED]);
    assert!(body.contains("COPY . .\nRUN npm ci\n\nFROM"), "{body}");
}

#[test]
fn a_python_server() {
    let files = [
        ("requirements.txt", "Flask==3.0\ngunicorn>=22 # server\n"),
        (".python-version", "3.12.1\n"),
        ("app.py", "import os\napp = Flask(__name__)\n"),
    ];
    assert_eq!(
        body(&files),
        "\
FROM python:3.12.1 AS build
WORKDIR /app
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements.txt ./
RUN pip install -r requirements.txt

FROM python:3.12.1-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PORT=8080
RUN useradd --uid 10001 --home-dir /app --no-create-home app
RUN install -d -o app -g app /app
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --chown=app:app . .
USER app
EXPOSE 8080
CMD [\"sh\", \"-c\", \"exec gunicorn --bind 0.0.0.0:$PORT app:app\"]
"
    );
    let tree = Tree::of(&files);
    let volumes = ["/data".to_owned(), "/odd$(path)".to_owned()];
    let with_volumes = detect(wanted(&tree, &volumes)).unwrap().dockerfile;
    assert!(with_volumes.contains("\nRUN install -d -o app -g app /app /data\n"), "{with_volumes}");
}

#[test]
fn how_python_starts() {
    let start = |files: &[(&str, &str)]| lines(files, "CMD").pop().unwrap();
    assert_eq!(
        start(&[
            ("requirements.txt", "django\ngunicorn\n"),
            ("manage.py", ""),
            ("shop/settings.py", ""),
            ("shop/wsgi.py", ""),
        ]),
        r#"CMD ["sh", "-c", "exec gunicorn --bind 0.0.0.0:$PORT shop.wsgi:application"]"#
    );
    assert_eq!(
        start(&[
            (
                "pyproject.toml",
                "[project]\ndependencies = [\"fastapi[standard] >= 0.115\"]\nrequires-python = \">=3.11,<3.13\"\n"
            ),
            ("uv.lock", ""),
            ("app/main.py", "from fastapi import FastAPI\napi: FastAPI = FastAPI()\n"),
        ]),
        r#"CMD ["sh", "-c", "exec uvicorn --host 0.0.0.0 --port $PORT app.main:api"]"#
    );
    assert_eq!(
        start(&[
            ("requirements.txt", "-r base.txt\nflask"),
            (
                "app/__init__.py",
                "from flask import Flask\ndef create_app():\n    app = Flask(__name__)\n    return app\n"
            ),
        ]),
        r#"CMD ["sh", "-c", "exec gunicorn --bind 0.0.0.0:$PORT 'app:create_app()'"]"#
    );
    assert_eq!(
        start(&[("requirements.txt", "x"), ("Procfile", "web: python -m x --port $PORT")]),
        r#"CMD ["sh", "-c", "exec python -m x --port $PORT"]"#
    );
    let missing = unclear(&[("requirements.txt", "flask"), ("app.py", "app = Flask(__name__)")]);
    assert_eq!(
        missing.to_string(),
        "this is a Flask project, and the server that would run it is not among its packages"
    );
    assert!(missing.help[0].starts_with("add gunicorn"), "{missing:?}");
    let script = unclear(&[("requirements.txt", "requests"), ("main.py", "print(1)")]);
    assert_eq!(script.to_string(), "this is a python project, and it is not known how it starts");
    let lost = unclear(&[("pyproject.toml", "[tool.black]\n"), ("main.py", "")]);
    assert_eq!(lost.to_string(), "this is a python project, and it is not known what it needs");
}

#[test]
fn the_packages_of_python_are_installed_by_what_locked_them() {
    let app = ("main.py", "app = FastAPI()\n");
    let project = "[project]\ndependencies = [\"fastapi\", \"uvicorn\"]\nrequires-python = \">=3.11\"\n";
    let runs = |files: &[(&str, &str)]| lines(files, "RUN");
    assert_eq!(
        runs(&[("pyproject.toml", project), ("uv.lock", ""), app])[1..4],
        [
            "RUN pip install uv",
            "RUN uv sync --frozen --no-dev --no-install-project",
            "RUN uv sync --frozen --no-dev --no-editable"
        ]
    );
    let poetry = "[tool.poetry.dependencies]\npython = \"^3.11\"\nfastapi = \"*\"\nuvicorn = \"*\"\n";
    let files = [("pyproject.toml", poetry), ("poetry.lock", ""), app];
    assert_eq!(runs(&files)[2], "RUN /opt/poetry/bin/poetry install --only main --no-root --no-interaction");
    assert_eq!(detected(&files).seen, "poetry.lock, Python 3.13");
    assert_eq!(runs(&[("pyproject.toml", project), app])[1], "RUN pip install .");
    // Of its own directory everything is needed.
    let body = body(&[("requirements.txt", "fastapi\nuvicorn\n-e .\n"), app]);
    assert!(body.contains("COPY . .\nRUN pip install -r requirements.txt\n"), "{body}");
}

#[test]
fn a_rails_application() {
    let files = [
        (
            "Gemfile",
            "source \"https://rubygems.org\"\nruby \"3.3.1\"\ngem \"rails\", \"~> 8.0\"\ngem \"pg\"\ngem \"propshaft\"\n",
        ),
        ("Gemfile.lock", ""),
        ("config/application.rb", ""),
        ("config.ru", ""),
    ];
    assert_eq!(
        body(&files),
        "\
FROM ruby:3.3.1 AS build
WORKDIR /app
ENV BUNDLE_PATH=/usr/local/bundle BUNDLE_WITHOUT=development:test BUNDLE_DEPLOYMENT=1 RAILS_ENV=production
COPY Gemfile Gemfile.lock ./
RUN bundle install
COPY . .
RUN SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile

FROM ruby:3.3.1-slim
RUN apt-get update && apt-get install -y --no-install-recommends libpq5 && rm -rf /var/lib/apt/lists/*
ENV BUNDLE_PATH=/usr/local/bundle BUNDLE_WITHOUT=development:test BUNDLE_DEPLOYMENT=1 RAILS_ENV=production PORT=8080 RAILS_LOG_TO_STDOUT=1 RAILS_SERVE_STATIC_FILES=1
RUN useradd --uid 10001 --home-dir /app --no-create-home app
RUN install -d -o app -g app /app
WORKDIR /app
COPY --from=build /usr/local/bundle /usr/local/bundle
COPY --from=build --chown=app:app /app ./
USER app
EXPOSE 8080
CMD [\"sh\", \"-c\", \"exec bundle exec rails server -b 0.0.0.0 -p $PORT\"]
"
    );
    let rails = detected(&files);
    assert!(rails.left_out.contains(&"config/master.key".to_owned()), "a key is no part of an image");
    assert!(rails.notes[0].contains("SECRET_KEY_BASE"), "{rails:?}");
}

#[test]
fn how_rack_starts_and_which_ruby() {
    let lock = "GEM\n  specs:\n    puma (6.4.0)\n    rack (3.0)\n\nRUBY VERSION\n   ruby 3.2.2p53\n";
    let files = [("Gemfile", "gem 'sinatra'\nruby '~> 3.2'\n"), ("Gemfile.lock", lock), ("config.ru", "")];
    assert_eq!(lines(&files, "CMD"), [r#"CMD ["sh", "-c", "exec bundle exec puma -b tcp://0.0.0.0:$PORT"]"#]);
    assert_eq!(detected(&files).seen, "Gemfile, Ruby 3.2.2, Rack");
    assert_eq!(
        detected(&[("Gemfile", "gem \"puma\""), ("config.ru", ""), (".ruby-version", "ruby-3.1.4\n")]).seen,
        "Gemfile, Ruby 3.1.4, Rack"
    );
    assert_eq!(
        unclear(&[("Gemfile", "gem \"rack\""), ("config.ru", "")]).to_string(),
        "this is a Rack project, and no server is among its gems"
    );
    assert_eq!(
        unclear(&[("Gemfile", "")]).to_string(),
        "this is a ruby project, and it is not known how it starts"
    );
}
