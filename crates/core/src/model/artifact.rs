//! What runs: what a user gave, and the stored form of what came of it.

use serde::{Deserialize, Serialize};

use super::id::{Millis, NodeId};

/// A stored file that is known by its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 of the stored file, in hex.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is in it.
    #[serde(default)]
    pub form: Form,
}

/// What is in a stored file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A packed directory: a bundle to run, or the source of a build.
    #[default]
    Bundle,
    /// A list of the chunks that make up a container image; the chunks are stored beside it.
    Image {
        /// The image's identity for Docker, `sha256:` and 64 hexadecimal digits.
        id: String,
        /// Size of all chunks, in bytes.
        total: u64,
    },
}

impl Artifact {
    /// A packed directory with this SHA-256, in hex, and this size in bytes.
    #[must_use]
    pub fn bundle(digest: impl Into<String>, bytes: u64) -> Self {
        Self { digest: digest.into(), bytes, form: Form::Bundle }
    }

    /// Everything that has to be stored of it, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.form {
            Form::Bundle => self.bytes,
            Form::Image { total, .. } => self.bytes.saturating_add(*total),
        }
    }

    /// What a node needs to run it.
    #[must_use]
    pub fn runtime(&self) -> RuntimeKind {
        match self.form {
            Form::Bundle => RuntimeKind::Process,
            Form::Image { .. } => RuntimeKind::Docker,
        }
    }
}

/// What a user gave to be run. The same source with the same configuration is the same release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A packed directory that runs as local processes.
    Bundle {
        /// The directory; stored on at least one node.
        bundle: Artifact,
    },
    /// A packed directory from which an image is built.
    Build {
        /// The directory; stored on at least one node.
        context: Artifact,
        /// The path of the Dockerfile in it.
        dockerfile: String,
        /// The longest time that building may take.
        timeout: Millis,
    },
    /// An image by name.
    Image {
        /// As the user wrote it, for display.
        reference: String,
        /// What that meant when the deployment was accepted: `sha256:` and 64 hexadecimal digits.
        id: String,
        /// The node that has it.
        node: NodeId,
    },
}

impl Source {
    /// Whether both bring the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            // A name is only a name, and which node had it changes nothing.
            (Source::Image { id, .. }, Source::Image { id: other, .. }) => id == other,
            (Source::Bundle { .. } | Source::Build { .. } | Source::Image { .. }, _) => self == other,
        }
    }

    /// What is to be run, where nothing has to be made first.
    #[must_use]
    pub fn ready(&self) -> Option<&Artifact> {
        match self {
            Source::Bundle { bundle } => Some(bundle),
            Source::Build { .. } | Source::Image { .. } => None,
        }
    }

    /// The stored file that it needs, if one.
    #[must_use]
    pub fn stored(&self) -> Option<&Artifact> {
        match self {
            Source::Bundle { bundle: file } | Source::Build { context: file, .. } => Some(file),
            Source::Image { .. } => None,
        }
    }

    /// What it is, for a person; empty for a bundle.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Source::Bundle { .. } => String::new(),
            Source::Build { context, dockerfile, .. } => {
                format!("source: {}, {dockerfile}", crate::text::bytes(context.bytes))
            }
            Source::Image { reference, id, .. } => {
                let digits = id.strip_prefix("sha256:").unwrap_or(id);
                format!("image: {reference} = {}", digits.get(..12).unwrap_or(digits))
            }
        }
    }

    /// What a node needs to run what comes of it.
    #[must_use]
    pub fn runtime(&self) -> RuntimeKind {
        match self {
            Source::Bundle { .. } => RuntimeKind::Process,
            Source::Build { .. } | Source::Image { .. } => RuntimeKind::Docker,
        }
    }
}

/// What runs instances on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// Local processes.
    Process,
    /// Docker containers.
    Docker,
}

impl RuntimeKind {
    /// The word that users see and write.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            RuntimeKind::Process => "process",
            RuntimeKind::Docker => "docker",
        }
    }
}
