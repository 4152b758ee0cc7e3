//! What a configuration says about what runs instances here, and how the node is labelled.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

/// Where Docker listens unless told otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// The most labels of a node.
const LABELS_MAX: usize = 64;
/// The longest name or value of a label, in bytes.
const LABEL_MAX: usize = 64;
/// What `placement.spread` calls a node itself.
const NODE: &str = "node";

/// What is to run instances on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuntimeChoice {
    /// Docker where an engine answers when the node first starts, local processes elsewhere.
    Auto,
    Docker,
    Process,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDocker {
    pub(crate) socket: Option<PathBuf>,
}

pub(super) fn choice(given: Option<&str>) -> Result<RuntimeChoice> {
    match given {
        None | Some("auto") => Ok(RuntimeChoice::Auto),
        Some("docker") => Ok(RuntimeChoice::Docker),
        Some("process") => Ok(RuntimeChoice::Process),
        Some(other) => bail!("runtime must be \"auto\", \"docker\" or \"process\", not {other:?}"),
    }
}

pub(super) fn socket(given: Option<PathBuf>) -> Result<PathBuf> {
    let socket = given.unwrap_or_else(|| PathBuf::from(SOCKET));
    ensure!(
        socket.is_absolute(),
        "docker.socket must be the absolute path of a unix socket such as \"{SOCKET}\", not {:?}; an engine of another machine cannot be used",
        socket.display().to_string()
    );
    Ok(socket)
}

pub(super) fn labels(given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    ensure!(given.len() <= LABELS_MAX, "there are {} labels, at most {LABELS_MAX} fit", given.len());
    for (name, value) in &given {
        ensure!(
            name != NODE,
            "a label cannot be called \"{NODE}\": placement.spread = \"{NODE}\" means the node itself; choose another name"
        );
        let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        ensure!(
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.len() <= LABEL_MAX
                && name.bytes().all(of_name),
            "the label {name:?} needs another name: at most {LABEL_MAX} letters, digits, `_`, `-` and `.`, beginning with a letter, such as \"zone\""
        );
        ensure!(
            (1..=LABEL_MAX).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic()),
            "the label {name} must have a value of 1 to {LABEL_MAX} printable characters without spaces, such as \"ssd\", not {value:?}"
        );
    }
    Ok(given)
}
