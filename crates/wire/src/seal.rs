//! Secrets that the log holds, such as keys of certificates: sealed so that a copy of the log shows none.
//!
//! The key is made from that of the cluster's CA, which every node has and the log has not.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use temps_core::model::Opaque;

use crate::identity::NodeIdentity;

/// The form that is written; another one would have another number.
const FORM: &str = "v1:";

/// The purpose of sealed keys of certificates.
pub const CERTIFICATE_KEY: &str = "the key of a certificate";
/// The purpose of a sealed account with a server of ACME.
pub const ACME_ACCOUNT: &str = "the account with a server of ACME";

/// The purpose of sealed secrets of those who are told what happens.
pub const NOTIFICATION: &str = "the secret of a notification";

/// Why something does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be opened: it is damaged, or was sealed by another cluster")]
pub struct SealError {
    what: &'static str,
}

/// Seals and opens; the same on every node of a cluster.
#[derive(Clone)]
pub struct Seal {
    key: [u8; 32],
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// That of the cluster.
    #[must_use]
    pub fn of(identity: &NodeIdentity) -> Self {
        let mut key = [0; 32];
        let secret = Salt::new(HKDF_SHA256, b"temps seal").extract(identity.ca_key_pem.as_bytes());
        let filled = secret.expand(&[b"v1"], HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
        filled.expect("32 bytes are what SHA-256 gives");
        Self { key }
    }

    /// `what` names the purpose: it must be the same to open it.
    ///
    /// # Errors
    /// [`SealError`] where the system has no random bytes.
    pub fn seal(&self, what: &'static str, secret: &str) -> Result<Opaque, SealError> {
        let refuse = |_| SealError { what };
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.key).map_err(refuse)?;
        let mut bytes = secret.as_bytes().to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(what.as_bytes()), &mut bytes).map_err(refuse)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend(bytes);
        Ok(Opaque(format!("{FORM}{}", STANDARD.encode(sealed))))
    }

    /// # Errors
    /// [`SealError`] where it is not what this cluster sealed for this purpose.
    pub fn open(&self, what: &'static str, sealed: &Opaque) -> Result<String, SealError> {
        let refuse = || SealError { what };
        let text = sealed.0.strip_prefix(FORM).ok_or_else(refuse)?;
        let mut bytes = STANDARD.decode(text).map_err(|_| refuse())?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.key).map_err(|_| refuse())?;
        let nonce = bytes.get(..NONCE_LEN).and_then(|n| Nonce::try_assume_unique_for_key(n).ok());
        let nonce = nonce.ok_or_else(refuse)?;
        let secret = key
            .open_in_place(nonce, Aad::from(what.as_bytes()), &mut bytes[NONCE_LEN..])
            .map_err(|_| refuse())?;
        String::from_utf8(secret.to_vec()).map_err(|_| refuse())
    }
}

#[cfg(test)]
mod tests {
    use temps_core::model::{NodeId, Opaque};

    use super::Seal;
    use crate::identity::NodeIdentity;

    fn seal() -> Seal {
        Seal::of(&NodeIdentity::found("test", NodeId(1)).unwrap())
    }

    #[test]
    fn what_was_sealed_opens_for_its_purpose_and_cluster_alone() {
        let ours = seal();
        let sealed = ours.seal("a key", "secret é").unwrap();
        assert!(!sealed.0.contains("secret"));
        assert_ne!(ours.seal("a key", "secret é").unwrap(), sealed, "nobody sees that two are alike");
        assert_eq!(ours.open("a key", &sealed).as_deref(), Ok("secret é"));
        assert!(ours.open("an account", &sealed).is_err());
        assert!(seal().open("a key", &sealed).is_err());
        for damaged in ["", "v1:", "v1:AAAA", "v1:%%", "v2:AAAA", &format!("{}A", sealed.0), &sealed.0[..30]]
        {
            let why = ours.open("a key", &Opaque(damaged.to_owned())).unwrap_err();
            assert!(why.to_string().starts_with("a key cannot be opened"), "{damaged}");
        }
        let mut flipped = sealed.0.clone();
        flipped.replace_range(20..21, if &flipped[20..21] == "A" { "B" } else { "A" });
        assert!(ours.open("a key", &Opaque(flipped)).is_err());
    }
}
