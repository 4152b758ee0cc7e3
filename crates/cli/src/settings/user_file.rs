//! The user file: contexts, and defaults of the user.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exit::{Code, Failure};
use crate::screen::ColourChoice;

/// What the user file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UserFile {
    /// Which context is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// Which environment is meant where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,
    /// When output is coloured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) color: Option<WhenColour>,
    /// Clusters by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A cluster that the user logged in to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Tried in order.
    pub(crate) endpoints: Vec<String>,
}

/// [`ColourChoice`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenColour {
    Auto,
    Always,
    Never,
}

impl From<WhenColour> for ColourChoice {
    fn from(when: WhenColour) -> Self {
        match when {
            WhenColour::Auto => ColourChoice::Auto,
            WhenColour::Always => ColourChoice::Always,
            WhenColour::Never => ColourChoice::Never,
        }
    }
}

impl UserFile {
    /// The file, or nothing where there is none.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Failure::other(format!("cannot read {}: {e}", path.display()))),
        };
        toml::from_str(&text).map_err(|e| {
            Failure::new(
                Code::Usage,
                format!("{} cannot be used: {}", path.display(), e.to_string().trim_end()),
            )
        })
    }

    pub(crate) fn store(&self, path: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(Failure::other)?;
        write_private(path, &text)
    }
}

/// Replaces a file whole or not at all; nobody else can read it.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::other(format!("cannot write {}: {e}", path.display()));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    // A temporary file has mode 0600 from the start.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
