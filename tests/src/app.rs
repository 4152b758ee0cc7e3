//! The application that is deployed: the sample's binary with a `temps.toml` of its own.

use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::paths;
use crate::trouble::{Context, Result, Trouble};

/// A bundle to deploy. It begins as the sample's own file, with times short enough for tests.
#[derive(Clone, Debug)]
pub struct App {
    file: Table,
}

impl App {
    /// The sample as it stands in the repository, in this version.
    ///
    /// # Errors
    /// When the sample's file cannot be read.
    pub fn sample(version: &str) -> Result<Self> {
        let path = paths::sample();
        let text = fs::read_to_string(&path).context(path.display())?;
        let app = Self { file: text.parse().context(path.display())? };
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

    /// Writes the bundle to a directory below `parent` and returns that.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, parent: &Path) -> Result<PathBuf> {
        let dir = parent.join(format!("bundle-{}", self.version()));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("temps.toml"), toml::to_string(&self.file)?)?;
        let binary = dir.join("hello");
        if !binary.exists() {
            let built = paths::hello()?;
            // A hard link saves the copy where the file system can.
            if fs::hard_link(&built, &binary).is_err() {
                fs::copy(&built, &binary).context(built.display())?;
            }
        }
        Ok(dir)
    }
}
