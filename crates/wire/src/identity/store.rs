//! An identity as files. The number is written last: without it, a directory holds no identity yet.

use std::fs;
use std::path::Path;

use temps_core::model::NodeId;

use super::{IdentityError, NodeIdentity};
use crate::files::{self, Readers};

const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const NODE_CERT: &str = "node.pem";
pub(super) const NODE_KEY: &str = "node.key";
const NODE_ID: &str = "node.id";

impl NodeIdentity {
    /// Whether `dir` holds an identity.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join(NODE_ID).exists()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`IdentityError`] where a file is missing, damaged, belongs to another identity, or is a key
    /// that others can read.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let number = read(&dir.join(NODE_ID))?;
        let number = number.trim().parse().map_err(|e| IdentityError::damaged("node.id", e))?;
        let identity = Self {
            node: NodeId(number),
            cert_pem: read(&dir.join(NODE_CERT))?,
            key_pem: read_key(&dir.join(NODE_KEY))?,
            ca_pem: read(&dir.join(CA_CERT))?,
            ca_key_pem: read_key(&dir.join(CA_KEY))?,
        };
        identity.check()?;
        Ok(identity)
    }

    /// Writes it; complete, or not there at all, after a crash.
    ///
    /// # Errors
    /// [`IdentityError::File`] where a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), IdentityError> {
        fs::create_dir_all(dir).map_err(|source| IdentityError::File { path: dir.to_owned(), source })?;
        let number = format!("{}\n", self.node.0);
        let contents = [
            (CA_CERT, &self.ca_pem, Readers::All),
            (CA_KEY, &self.ca_key_pem, Readers::Owner),
            (NODE_KEY, &self.key_pem, Readers::Owner),
            (NODE_CERT, &self.cert_pem, Readers::All),
            (NODE_ID, &number, Readers::All),
        ];
        for (name, content, readers) in contents {
            let path = dir.join(name);
            files::replace(&path, content.as_bytes(), readers)
                .map_err(|source| IdentityError::File { path, source })?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|source| IdentityError::File { path: path.to_owned(), source })
}

pub(super) fn read_key(path: &Path) -> Result<String, IdentityError> {
    let exposed =
        files::is_exposed(path).map_err(|source| IdentityError::File { path: path.to_owned(), source })?;
    if exposed { Err(IdentityError::Exposed { path: path.to_owned() }) } else { read(path) }
}
