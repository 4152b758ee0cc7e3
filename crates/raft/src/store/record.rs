//! The form of everything that is stored: a format version, a checksum, and the bytes.
//!
//! The checksum covers the place of the record too, so that a record found under the key of
//! another one counts as damaged.

use sha2::{Digest, Sha256};

/// The format of the records that this version writes. A store with newer ones is refused.
pub(crate) const FORMAT: u8 = 1;
/// Bytes of SHA-256 that are kept: enough to notice any accident.
const CHECKSUM: usize = 8;

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// Its bytes are not those that were written.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// Which record, for a person.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A newer version wrote it.
    #[error("{what} has format {format}, and this version reads up to {FORMAT}")]
    Newer {
        /// Which record, for a person.
        what: String,
        /// Its format.
        format: u8,
    },
}

impl From<RecordError> for std::io::Error {
    fn from(error: RecordError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// The stored form of `bytes` in the column family `family` under `key`.
pub(crate) fn seal(family: &str, key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(1 + CHECKSUM + bytes.len());
    record.push(FORMAT);
    record.extend_from_slice(&checksum(FORMAT, family, key, bytes));
    record.extend_from_slice(bytes);
    record
}

/// The bytes of a stored record.
pub(crate) fn open<'a>(family: &str, key: &[u8], record: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let damaged = |why: &str| RecordError::Damaged { what: name(family, key), why: why.to_owned() };
    let (format, rest) = record.split_first().ok_or_else(|| damaged("it is empty"))?;
    let (sum, bytes) = rest.split_at_checked(CHECKSUM).ok_or_else(|| damaged("it is cut short"))?;
    if sum != checksum(*format, family, key, bytes) {
        return Err(damaged("its checksum does not match"));
    }
    if *format > FORMAT {
        return Err(RecordError::Newer { what: name(family, key), format: *format });
    }
    Ok(bytes)
}

/// What a person calls the record.
pub(crate) fn name(family: &str, key: &[u8]) -> String {
    match <[u8; 8]>::try_from(key) {
        Ok(index) if family == super::disk::LOG => format!("log entry {}", u64::from_be_bytes(index)),
        Ok(_) | Err(_) => format!("{family} record {:?}", String::from_utf8_lossy(key)),
    }
}

fn checksum(format: u8, family: &str, key: &[u8], bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hash = Sha256::new();
    hash.update([format]);
    for part in [family.as_bytes(), key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(bytes);
    let digest = hash.finalize();
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest[..CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use super::{RecordError, open, seal};

    #[test]
    fn any_flipped_bit_is_noticed_and_named() {
        let key = 57_u64.to_be_bytes();
        let record = seal("log", &key, b"hello");
        assert_eq!(open("log", &key, &record).unwrap(), b"hello");
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut bad = record.clone();
                bad[at] ^= 1 << bit;
                let error = open("log", &key, &bad).unwrap_err();
                assert!(error.to_string().starts_with("log entry 57 "), "{error}");
            }
        }
        for end in 0..record.len() {
            assert!(open("log", &key, &record[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_record_in_the_place_of_another_is_damaged() {
        let record = seal("meta", b"vote", b"hello");
        assert!(matches!(open("meta", b"committed", &record), Err(RecordError::Damaged { .. })));
        assert!(matches!(open("snapshot", b"vote", &record), Err(RecordError::Damaged { .. })));
    }
}
