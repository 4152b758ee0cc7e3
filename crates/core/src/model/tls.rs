//! Names that people add to environments, and the certificates with which edges answer for names.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::{CertificateId, Index, Millis};
use super::spec::Opaque;

/// Everything that edges need for TLS, and what is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The last number given to a certificate.
    pub last: u64,
    /// Certificates.
    pub certificates: BTreeMap<CertificateId, Certificate>,
    /// Where certificates are ordered; nowhere where `None`.
    pub acme: Option<Acme>,
    /// Names for which a certificate is being ordered, or could not be.
    pub orders: BTreeMap<String, Order>,
}

impl Tls {
    /// The certificate with which a name is answered: the one that is valid the longest.
    #[must_use]
    pub fn certificate_for(&self, name: &str) -> Option<(CertificateId, &Certificate)> {
        let covering = self.certificates.iter().filter(|(_, certificate)| certificate.covers(name));
        covering.max_by_key(|(id, c)| (c.not_after, **id)).map(|(id, certificate)| (*id, certificate))
    }

    /// Challenges that edges must be able to answer.
    pub fn challenges(&self) -> impl Iterator<Item = (&String, &Challenge)> {
        self.orders.iter().filter_map(|(name, order)| Some((name, order.challenge.as_ref()?)))
    }
}

/// Where certificates are ordered: a server of RFC 8555 and an account there. Its terms were agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acme {
    /// The URL of its directory.
    pub directory: String,
    /// The address that it may write to.
    pub contact: Option<String>,
    /// The root certificate of its own web server in PEM, where that is none of the public ones.
    pub root: Option<String>,
    /// The account, sealed; made with the first order.
    pub account: Option<Opaque>,
}

/// How a certificate came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateFrom {
    /// Ordered by ACME, and renewed so.
    Acme,
    /// Given by a person, who renews it.
    Uploaded,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The names in it, normalised; `*.example.com` for all names right below.
    pub names: BTreeSet<String>,
    /// It and those up to the root, in PEM.
    pub chain: String,
    /// Its key in PEM, sealed.
    pub key: Opaque,
    /// When it begins to be valid, in Unix milliseconds.
    pub not_before: Millis,
    /// Until when it is valid, in Unix milliseconds.
    pub not_after: Millis,
    /// When it is to be renewed, in Unix milliseconds.
    pub renew_at: Millis,
    /// Who signed it, for a person.
    pub issuer: String,
    /// How it came here.
    pub from: CertificateFrom,
}

impl Certificate {
    /// Whether it is for this name, by itself or with all beside it.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.names.contains(name)
            || name.split_once('.').is_some_and(|(_, rest)| {
                self.names.iter().any(|own| own.strip_prefix("*.").is_some_and(|base| base == rest))
            })
    }
}

/// A certificate on its way for one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// By what the name is shown to be ours, while that is asked.
    pub challenge: Option<Challenge>,
    /// How often it failed in a row.
    pub attempts: u32,
    /// Not before this moment it is tried again, in Unix milliseconds.
    pub retry_at: Millis,
    /// Why it failed last, for a person.
    pub failure: Option<String>,
}

/// What a server of ACME asks of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The part of the path that it asks by HTTP.
    pub token: String,
    /// What it is answered, RFC 8555 section 8.1; also the secret of TLS-ALPN-01.
    pub authorization: String,
    /// The log index since which edges can know it.
    pub since: Index,
}
