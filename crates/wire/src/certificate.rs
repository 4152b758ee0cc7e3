//! Certificates of applications, as people and servers of ACME give them: in PEM, with their keys.

use std::collections::BTreeSet;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use temps_core::host;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The names in it, normalised; `*.example.com` for all names right below.
    pub names: BTreeSet<String>,
    /// When it begins to be valid, in Unix milliseconds.
    pub not_before: u64,
    /// Until when it is valid, in Unix milliseconds.
    pub not_after: u64,
    /// Who signed it, for a person.
    pub issuer: String,
}

/// Reads a certificate, followed by those up to the root, and checks that the key belongs to it.
///
/// # Errors
/// What is wrong with them, for a person; never shows the key.
pub fn read(chain: &str, key: &str) -> Result<Read, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let certificates = certificates.map_err(|e| format!("the certificate is not valid PEM: {e}"))?;
    let first = certificates
        .first()
        .cloned()
        .ok_or("the certificate is not in PEM: there is no BEGIN CERTIFICATE")?;
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "the key is not a private key in PEM, or it needs a password".to_owned())?;
    CertifiedKey::from_der(certificates, private, &default_provider()).map_err(|_| {
        "the key does not belong to the certificate, or is of a kind that is not supported".to_owned()
    })?;
    let (_, parsed) =
        X509Certificate::from_der(&first).map_err(|e| format!("the certificate is damaged: {e}"))?;
    let names = names(&parsed)?;
    let validity = parsed.validity();
    let millis = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
    Ok(Read {
        names,
        not_before: millis(validity.not_before.timestamp()),
        not_after: millis(validity.not_after.timestamp()),
        issuer: issuer(&parsed),
    })
}

fn names(parsed: &X509Certificate<'_>) -> Result<BTreeSet<String>, String> {
    let alternative =
        parsed.subject_alternative_name().map_err(|e| format!("the certificate is damaged: {e}"))?;
    let mut names = BTreeSet::new();
    for name in alternative.iter().flat_map(|names| &names.value.general_names) {
        let GeneralName::DNSName(name) = name else { continue };
        let (star, base) = name.strip_prefix("*.").map_or(("", *name), |base| ("*.", base));
        let base = host::normalise(base).map_err(|e| format!("the certificate is for {name:?}: {e}"))?;
        names.insert(format!("{star}{base}"));
    }
    if names.is_empty() {
        return Err("the certificate is for no host name: it has no subject alternative name".to_owned());
    }
    Ok(names)
}

fn issuer(parsed: &X509Certificate<'_>) -> String {
    let issuer = parsed.issuer();
    let parts = issuer.iter_organization().chain(issuer.iter_common_name());
    let texts: Vec<_> = parts.filter_map(|part| part.as_str().ok()).collect();
    let text = if texts.is_empty() { issuer.to_string() } else { texts.join(" ") };
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::read;

    fn made(names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "Ann's\u{7} shop");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_a_certificate_says_is_read() {
        let (chain, key) = made(&["Shop.example", "*.shop.example", "10.0.0.1"]);
        let said = read(&chain, &key).unwrap();
        assert_eq!(said.names.iter().collect::<Vec<_>>(), ["*.shop.example", "shop.example"]);
        assert_eq!((said.not_before, said.not_after), (1_767_225_600_000, 1_798_761_600_000));
        assert!(said.issuer.starts_with("Ann's shop"), "{}", said.issuer);
    }

    #[test]
    fn what_does_not_fit_is_told_without_the_key() {
        let ((chain, key), (_, other)) = (made(&["a.example"]), made(&["a.example"]));
        let (address, of_address) = made(&["10.0.0.1"]);
        for (chain, key, why) in [
            (chain.as_str(), other.as_str(), "does not belong"),
            (&chain, "secret", "not a private key in PEM"),
            (&chain, &chain, "not a private key in PEM"),
            ("", &key, "there is no BEGIN CERTIFICATE"),
            (&key, &key, "there is no BEGIN CERTIFICATE"),
            (&chain.replace('M', "%"), &key, "not valid PEM"),
            (&address, &of_address, "for no host name"),
        ] {
            let told = read(chain, key).unwrap_err();
            assert!(told.contains(why) && !told.contains("secret"), "{told}");
        }
    }
}
