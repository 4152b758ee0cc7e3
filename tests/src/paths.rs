//! Where the built binaries are.

use std::path::{Path, PathBuf};

use crate::ground::Ground;
use crate::trouble::{Result, Trouble};

/// The binary `temps`: `$TEMPS_BIN`, or the one built beside this program.
///
/// # Errors
/// When there is none.
pub fn temps() -> Result<PathBuf> {
    beside("TEMPS_BIN", "temps")
}

/// The binary of the sample application: `$HELLO_BIN`, or the one built beside this program. For an image
/// that has nothing else in it: `$HELLO_STATIC_BIN`, or the one that `scripts/build` made.
///
/// # Errors
/// When there is none.
pub fn hello(ground: Ground) -> Result<PathBuf> {
    match ground {
        Ground::Processes => beside("HELLO_BIN", "hello"),
        Ground::Docker => beside("HELLO_STATIC_BIN", "../static/hello"),
    }
}

/// The sample application's `temps.toml`.
#[must_use]
pub fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hello/temps.toml")
}

fn beside(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe()?;
    // Tests lie one directory deeper than binaries.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        Trouble::new(format!(
            "there is no binary `{name}` near {}; build it with: scripts/build",
            own.display()
        ))
    })
}
