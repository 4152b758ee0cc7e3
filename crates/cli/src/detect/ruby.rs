//! Ruby: Rails, or whatever answers through Rack.

use super::version::plain;
use super::write::Script;
use super::{Detected, PORT, Tree, Unclear, Wanted, no_start, procfile};
use crate::file::Language;

/// The version where the project names none.
const USUAL: &str = "3.4";
/// Gems that need libraries of the system, and the packages with them.
const LIBRARIES: [(&str, &str); 5] = [
    ("pg", "libpq5"),
    ("mysql2", "libmariadb3"),
    ("trilogy", "libssl3"),
    ("ruby-vips", "libvips42"),
    ("rmagick", "imagemagick"),
];

pub(super) fn detect(wanted: Wanted<'_>) -> Result<Detected, Unclear> {
    let tree = wanted.tree;
    if !tree.has("Gemfile") {
        return Err(Unclear::new(
            "a Ruby project has a Gemfile at the top of its directory, and there is none",
        ));
    }
    let mut notes = Vec::new();
    if !tree.has("Gemfile.lock") {
        notes.push(
            "there is no Gemfile.lock: each build takes the newest gems that fit; add it for builds that do not change by themselves"
                .to_owned(),
        );
    }
    let version = version(tree).unwrap_or_else(|| USUAL.to_owned());
    let rails = tree.has("config/application.rb") && has_gem(tree, "rails");
    let start = match start(tree, rails) {
        Ok(start) => Some(start),
        Err(_) if wanted.has_commands => None,
        Err(unclear) => return Err(unclear),
    };
    if rails {
        notes.push(
            "Rails needs SECRET_KEY_BASE or RAILS_MASTER_KEY to start; set it with `temps env set`"
                .to_owned(),
        );
        notes.push("where config.force_ssl is on, `/` answers with a redirect; check another page: path = \"/up\" in [health]".to_owned());
    }
    notes.extend(procfile::note(tree));
    let kind = if rails { "Rails" } else { "Rack" };
    let seen = format!("Gemfile, Ruby {version}, {kind}");
    Ok(Detected {
        language: Language::Ruby,
        dockerfile: dockerfile(tree, &seen, &version, rails, start.as_deref(), wanted.volumes),
        seen,
        port: PORT,
        port_is_fixed: false,
        left_out: [
            "vendor/bundle",
            ".bundle",
            "**/node_modules",
            "**/.env",
            "config/master.key",
            "config/credentials/*.key",
            "log/*",
            "tmp/*",
        ]
        .map(str::to_owned)
        .into(),
        notes,
    })
}

fn version(tree: &Tree) -> Option<String> {
    let number = |text: &str| {
        let text = text.trim().trim_start_matches("ruby-");
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        plain(&text[..end]).map(str::to_owned)
    };
    if let Some(version) = tree.first_line(".ruby-version").and_then(number) {
        return Some(version);
    }
    // `ruby "3.3.1"`; a range in its place is what the lock file answers.
    let line = tree.text("Gemfile").lines().find_map(|line| line.trim().strip_prefix("ruby "));
    let quoted = line.and_then(|line| line.trim().trim_start_matches('(').strip_prefix(['"', '\'']));
    if let Some(version) = quoted.and_then(number) {
        return Some(version);
    }
    let mut lines = tree.text("Gemfile.lock").lines().skip_while(|line| *line != "RUBY VERSION");
    lines.nth(1)?.trim().strip_prefix("ruby ").and_then(number)
}

/// Whether a gem is named, or is needed by one that is.
fn has_gem(tree: &Tree, name: &str) -> bool {
    let named = [format!("gem \"{name}\""), format!("gem '{name}'")];
    let in_file =
        tree.text("Gemfile").lines().map(str::trim).any(|line| named.iter().any(|n| line.starts_with(n)));
    let locked = format!("    {name} (");
    in_file || tree.text("Gemfile.lock").lines().any(|line| line.starts_with(&locked))
}

fn start(tree: &Tree, rails: bool) -> Result<String, Unclear> {
    if let Some(line) = procfile::web(tree) {
        return Ok(line.to_owned());
    }
    if rails {
        return Ok("bundle exec rails server -b 0.0.0.0 -p $PORT".to_owned());
    }
    if !tree.has("config.ru") {
        return Err(no_start(
            Language::Ruby,
            "`web` in Procfile; config/application.rb with the gem rails; config.ru",
        ));
    }
    for (gem, line) in [
        ("puma", "bundle exec puma -b tcp://0.0.0.0:$PORT"),
        ("falcon", "bundle exec falcon serve --bind http://0.0.0.0:$PORT"),
        ("unicorn", "bundle exec unicorn -o 0.0.0.0 -p $PORT"),
        ("thin", "bundle exec thin start -a 0.0.0.0 -p $PORT"),
    ] {
        if has_gem(tree, gem) {
            return Ok(line.to_owned());
        }
    }
    Err(Unclear::new("this is a Rack project, and no server is among its gems")
        .help("looked for: puma, falcon, unicorn, thin")
        .help("add `gem \"puma\"` to the Gemfile, or say how it starts: command = \"…\" in [processes.web]"))
}

fn dockerfile(
    tree: &Tree,
    seen: &str,
    version: &str,
    rails: bool,
    start: Option<&str>,
    volumes: &[String],
) -> String {
    let image = format!("ruby:{version}");
    let locked = tree.has("Gemfile.lock");
    let bundle = [("BUNDLE_PATH", "/usr/local/bundle"), ("BUNDLE_WITHOUT", "development:test")];
    let mut build_env = bundle.to_vec();
    if locked {
        build_env.push(("BUNDLE_DEPLOYMENT", "1"));
    }
    if rails {
        build_env.push(("RAILS_ENV", "production"));
    }
    let mut out = Script::new(seen);
    out.from(&image, Some("build")).line("WORKDIR /app").env(&build_env);
    let with_pages = rails && tree.has("package.json");
    if with_pages {
        out.line("RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm && npm install -g yarn");
    }
    let local =
        tree.text("Gemfile").lines().any(|line| line.contains("path:") || line.trim().starts_with("gemspec"));
    if local {
        out.line("COPY . .").line("RUN bundle install");
    } else {
        out.copy(&tree.present(&["Gemfile", "Gemfile.lock", ".ruby-version"]), "./")
            .line("RUN bundle install")
            .line("COPY . .");
    }
    if rails && has_assets(tree) {
        out.line("RUN SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile");
    }
    if with_pages {
        out.line("RUN rm -rf node_modules");
    }
    out.from(&format!("{image}-slim"), None);
    let libraries: Vec<&str> =
        LIBRARIES.iter().filter(|(gem, _)| has_gem(tree, gem)).map(|(_, package)| *package).collect();
    if !libraries.is_empty() {
        out.line(format!(
            "RUN apt-get update && apt-get install -y --no-install-recommends {} && rm -rf /var/lib/apt/lists/*",
            libraries.join(" ")
        ));
    }
    let port = PORT.to_string();
    let mut run_env = build_env;
    run_env.push(("PORT", &port));
    if rails {
        run_env.extend([("RAILS_LOG_TO_STDOUT", "1"), ("RAILS_SERVE_STATIC_FILES", "1")]);
    } else {
        run_env.push(("RACK_ENV", "production"));
    }
    out.env(&run_env)
        .user(volumes)
        .line("WORKDIR /app")
        .line("COPY --from=build /usr/local/bundle /usr/local/bundle")
        .line("COPY --from=build --chown=app:app /app ./")
        .line("USER app")
        .expose();
    if let Some(start) = start {
        out.shell(start);
    }
    out.text()
}

/// Whether Rails has anything to prepare for browsers.
fn has_assets(tree: &Tree) -> bool {
    tree.has_directory("app/assets")
        || ["sprockets-rails", "propshaft", "importmap-rails", "jsbundling-rails", "cssbundling-rails"]
            .iter()
            .any(|gem| has_gem(tree, gem))
}
