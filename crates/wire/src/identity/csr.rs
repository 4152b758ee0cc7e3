//! The request by which a machine asks for its certificate.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use super::IdentityError;
use super::store::{self, NODE_KEY};
use crate::files::{self, Readers};

/// A new key and a request for it: the request in DER, the key in PEM.
///
/// # Errors
/// [`IdentityError::Signing`] where they cannot be made.
pub fn generate_csr() -> Result<(Vec<u8>, String), IdentityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((request(&key)?, key.serialize_pem()))
}

/// As [`generate_csr`], with the key that an earlier try left in `dir`; otherwise a new one is kept
/// there. A join that is tried again after a crash is then the same join.
///
/// # Errors
/// [`IdentityError`] where the key cannot be read, kept or used.
pub fn pending_csr(dir: &Path) -> Result<(Vec<u8>, String), IdentityError> {
    let path = dir.join(NODE_KEY);
    match store::read_key(&path) {
        Ok(key_pem) => Ok((request(&parse(&key_pem)?)?, key_pem)),
        Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let (csr, key_pem) = generate_csr()?;
            fs::create_dir_all(dir)
                .and_then(|()| files::replace(&path, key_pem.as_bytes(), Readers::Owner))
                .map_err(|source| IdentityError::File { path, source })?;
            Ok((csr, key_pem))
        }
        Err(error) => Err(error),
    }
}

/// SHA-256, in hex, of the public key that a request is for.
///
/// # Errors
/// [`IdentityError::Damaged`] where it is no request, or not signed by that key.
pub fn csr_fingerprint(csr_der: &[u8]) -> Result<String, IdentityError> {
    let damaged = |why: String| IdentityError::damaged("the certificate request", why);
    let (rest, csr) = X509CertificationRequest::from_der(csr_der).map_err(|e| damaged(e.to_string()))?;
    if !rest.is_empty() {
        return Err(damaged("something follows it".to_owned()));
    }
    csr.verify_signature().map_err(|e| damaged(e.to_string()))?;
    Ok(fingerprint_of_spki(csr.certification_request_info.subject_pki.raw))
}

pub(super) fn fingerprint_of_spki(spki_der: &[u8]) -> String {
    hex::encode(Sha256::digest(spki_der))
}

pub(super) fn fingerprint_of_key(key_pem: &str) -> Result<String, IdentityError> {
    Ok(fingerprint_of_spki(&parse(key_pem)?.subject_public_key_info()))
}

fn request(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    // The cluster decides every name; a request carries none.
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

fn parse(key_pem: &str) -> Result<KeyPair, IdentityError> {
    KeyPair::from_pem(key_pem).map_err(|e| IdentityError::damaged("a key", e))
}
