//! How large what is asked may be. What names may look like, the log decides; here it is kept from
//! being filled.

use tonic::Status;

use crate::desk::Answer;

/// The longest name, address, path or version, in bytes.
const TEXT_MAX: usize = 256;
/// The longest idempotency key.
const KEY_MAX: usize = 128;
/// The most names in one request.
const NAMES_MAX: usize = 2_000;
/// The largest bundle, in bytes.
const BUNDLE_MAX: u64 = 4 << 30;

pub(crate) fn text(what: &str, text: &str) -> Answer<()> {
    pem(what, text, TEXT_MAX)
}

pub(crate) fn pem(what: &str, text: &str, longest: usize) -> Answer<()> {
    if text.len() <= longest {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("{what} has {} bytes, at most {longest} fit", text.len())))
}

pub(crate) fn names<'a>(what: &str, names: impl ExactSizeIterator<Item = &'a String>) -> Answer<()> {
    if names.len() > NAMES_MAX {
        return Err(Status::invalid_argument(format!(
            "{} {what}s at once, at most {NAMES_MAX} fit",
            names.len()
        )));
    }
    for name in names {
        text(what, name)?;
    }
    Ok(())
}

pub(crate) fn environment(project: &str, environment: &str) -> Answer<()> {
    text("the project name", project)?;
    text("the environment name", environment)
}

pub(crate) fn key(key: &str) -> Answer<()> {
    if (1..=KEY_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("an idempotency key has 1 to {KEY_MAX} characters")))
}

pub(crate) fn bundle(digest: &str, bytes: u64) -> Answer<()> {
    digest_form(digest)?;
    if bytes == 0 || bytes > BUNDLE_MAX {
        let most = temps_core::text::bytes(BUNDLE_MAX);
        return Err(Status::invalid_argument(format!("a bundle of {bytes} bytes; 1 byte to {most} fit")));
    }
    Ok(())
}

/// Digests become file names, so nothing else may pass.
pub(crate) fn digest_form(digest: &str) -> Answer<()> {
    if digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    Err(Status::invalid_argument("a digest is a SHA-256 as 64 lower-case hexadecimal digits"))
}
