//! The tokens, in a file that only the user can read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::user_file::write_private;
use crate::exit::{Code, Failure};

/// Tokens by context. They never print.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Credentials {
    pub(crate) tokens: BTreeMap<String, String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tokens.keys()).finish()
    }
}

impl Credentials {
    /// The tokens, or none where there is no file. A file that others can read is refused.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::other(format!("cannot read {}: {e}", path.display()));
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(failed(e)),
        };
        // Asked of the open file, so that it is the one that is read.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let message = format!("{} holds tokens and others can read it (mode {mode:04o})", path.display());
            return Err(
                Failure::new(Code::Forbidden, message).help(format!("run `chmod 600 {}`", quoted(path)))
            );
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        // The parser's own message would show a line of the file, and with it a token.
        toml::from_str(&text).map_err(|_| {
            Failure::other(format!("{} is damaged", path.display())).help("remove it and log in again")
        })
    }

    pub(crate) fn store(&self, path: &Path) -> Result<(), Failure> {
        write_private(path, &toml::to_string(self).map_err(Failure::other)?)
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
