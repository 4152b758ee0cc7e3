//! The chain of audit entries: each holds a hash over itself and the hash before it, so that an entry that was
//! changed, left out or put in shows.
//!
//! Hashed are, in this order: `temps audit 1`, the hash before, index, wall time, kind, name, address, operation,
//! project, object, the outcome's word and its reason. Each is a text, numbers in decimal, behind its length in
//! bytes as eight bytes, big endian; what is not there is an empty text.

use sha2::{Digest, Sha256};

use crate::model::{AuditEntry, AuditOutcome, Index};

/// How many entries are kept. One takes about 300 bytes, so a snapshot grows by 1.5 MB.
pub const ENTRIES_KEPT: usize = 5_000;

/// Who asks, and from where, as [`crate::command::Entry::by`] has it.
#[must_use]
pub fn by(name: &str, from: Option<&str>) -> String {
    from.map_or_else(|| name.to_owned(), |from| format!("{name}{FROM}{from}"))
}

/// The two again. Names have no blanks.
pub(crate) fn who(by: &str) -> (&str, Option<&str>) {
    by.rsplit_once(FROM).map_or((by, None), |(name, from)| (name, Some(from)))
}

const FROM: &str = " from ";

impl AuditOutcome {
    /// Its word, and why it was refused.
    #[must_use]
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Done => ("done", ""),
            Self::NoChange => ("no change", ""),
            Self::Refused { why } => ("refused", why),
        }
    }
}

/// The hash that an entry has to have, in hex, behind one with the hash `before`.
#[must_use]
pub fn hash(before: &str, entry: &AuditEntry) -> String {
    let AuditEntry { index, wall, kind, by, from, operation, project, object, outcome, hash: _ } = entry;
    let mut sha = Sha256::new();
    let mut text = |text: &str| {
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text);
    };
    let (outcome, why) = outcome.words();
    text("temps audit 1");
    text(before);
    for number in [index, wall] {
        text(&number.to_string());
    }
    for part in [kind.word(), by, from.as_deref().unwrap_or_default(), operation] {
        text(part);
    }
    for part in [project.as_deref().unwrap_or_default(), object, outcome, why] {
        text(part);
    }
    hex::encode(sha.finalize())
}

/// Follows the chain from `before` through entries in order, and returns the hash at its end.
///
/// # Errors
/// The index of the first entry that does not fit: it, or one before it, is not what was written.
pub fn verify<'a>(before: &str, entries: impl IntoIterator<Item = &'a AuditEntry>) -> Result<String, Index> {
    let mut last = before.to_owned();
    for entry in entries {
        if hash(&last, entry) != entry.hash {
            return Err(entry.index);
        }
        last.clone_from(&entry.hash);
    }
    Ok(last)
}
