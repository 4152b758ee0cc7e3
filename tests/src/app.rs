//! The application that is deployed: the sample's binary with a `temps.toml` of its own.

use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::ground::Ground;
use crate::paths;
use crate::trouble::{Context, Result, Trouble};

/// How the sample becomes an image, without any other image below it.
const DOCKERFILE: &str = "FROM scratch\nCOPY hello /hello\nCOPY build /build\nCMD [\"/hello\"]\n";

/// What is deployed. It begins as the sample's own file, with times short enough for tests.
#[derive(Clone, Debug)]
pub struct App {
    file: Table,
    dockerfile: String,
}

impl App {
    /// The sample as it stands in the repository, in this version.
    ///
    /// # Errors
    /// When the sample's file cannot be read.
    pub fn sample(version: &str) -> Result<Self> {
        let path = paths::sample();
        let text = fs::read_to_string(&path).context(path.display())?;
        let app = Self { file: text.parse().context(path.display())?, dockerfile: DOCKERFILE.to_owned() };
        app.env("VERSION", version)
    }

    /// The sample with shorter times.
    ///
    /// # Errors
    /// When the sample's file cannot be read.
    pub fn quick(version: &str) -> Result<Self> {
        Self::sample(version)?
            .set("health.interval", "200ms")?
            .set("health.start_period", "3s")?
            .set("deploy.stop_grace", "2s")?
            .set("deploy.deadline", "20s")?
            .set("rollback.watch", "1s")
    }

    /// Changes an environment variable of the file.
    ///
    /// # Errors
    /// When the file has no room for it.
    pub fn env(self, name: &str, value: &str) -> Result<Self> {
        self.set(&format!("env.{name}"), value)
    }

    /// The sample with shorter times, as another project.
    ///
    /// # Errors
    /// When the sample's file cannot be read.
    pub fn named(project: &str, version: &str) -> Result<Self> {
        Self::quick(version)?.set("project.name", project)
    }

    /// Changes a value, for example `health.interval`.
    ///
    /// # Errors
    /// When a part of the path is not a table.
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Result<Self> {
        let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut table = &mut self.file;
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            let inner = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            table =
                inner.as_table_mut().ok_or_else(|| Trouble::new(format!("{name} of {path} is no table")))?;
        }
        table.insert(key.to_owned(), value.into());
        Ok(self)
    }

    /// The project's name.
    #[must_use]
    pub fn project(&self) -> &str {
        self.file.get("project").and_then(|p| p.get("name")).and_then(Value::as_str).unwrap_or("hello")
    }

    /// The version it says.
    #[must_use]
    pub fn version(&self) -> &str {
        self.file.get("env").and_then(|e| e.get("VERSION")).and_then(Value::as_str).unwrap_or("v0")
    }

    /// Adds lines to the Dockerfile, before the last one.
    #[must_use]
    pub fn build_step(mut self, lines: &str) -> Self {
        let last = self.dockerfile.trim_end().rfind('\n').map_or(0, |at| at + 1);
        self.dockerfile.insert_str(last, &format!("{lines}\n"));
        self
    }

    /// Takes a value or a whole table away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.file.remove(name);
        self
    }

    /// Writes what is deployed to a directory below `parent` and returns that: a bundle, or what an image is
    /// built from, which then differs with the version.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, parent: &Path, ground: Ground) -> Result<PathBuf> {
        let dir = parent.join(format!("bundle-{}-{}", self.project(), self.version()));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("temps.toml"), toml::to_string(&self.file)?)?;
        if ground == Ground::Docker {
            fs::write(dir.join("Dockerfile"), &self.dockerfile)?;
            fs::write(dir.join("build"), format!("{}\n", self.version()))?;
        }
        let binary = dir.join("hello");
        if !binary.exists() {
            let built = paths::hello(ground)?;
            // A hard link saves the copy where the file system can.
            if fs::hard_link(&built, &binary).is_err() {
                fs::copy(&built, &binary).context(built.display())?;
            }
        }
        Ok(dir)
    }
}
