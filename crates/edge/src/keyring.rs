//! Certificates for clients, by the host that they ask for.
//!
//! Each has a configuration of its own, so that choosing one at the start of a connection needs no lock. A new set
//! is a new ring; connections go on with what they began with.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, version};
use temps_core::table::{Certificates, Certified};
use tracing::warn;

use crate::identity::{HTTP1, HTTP2};

/// By this protocol a server of ACME asks for nothing but a certificate (RFC 8737).
pub(crate) const ACME: &[u8] = b"acme-tls/1";

/// What is shown for some hosts.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) config: Arc<ServerConfig>,
    names: Vec<String>,
    not_after: u64,
}

impl Shown {
    /// Whether its connections may ask for a host.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let base = host.split_once('.').map(|(_, base)| base);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(own) => base == Some(own),
            None => name == host,
        })
    }
}

/// All certificates at one time.
#[derive(Debug)]
pub(crate) struct Keyring {
    /// By host.
    exact: HashMap<Box<str>, Arc<Shown>>,
    /// For all hosts right below a name.
    below: HashMap<Box<str>, Arc<Shown>>,
    nobody: Arc<ServerConfig>,
}

impl Keyring {
    /// What a host is shown: of those that cover it the one that is valid the longest.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<Shown>> {
        let exact = self.exact.get(host);
        let below = host.split_once('.').and_then(|(_, base)| self.below.get(base));
        exact.into_iter().chain(below).max_by_key(|shown| shown.not_after)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }

    /// For a host without a certificate: it ends the handshake with the right alert.
    pub(crate) fn nobody(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.nobody)
    }
}

/// Makes rings. What all have in common lasts as long as the edge, so that clients can resume.
#[derive(Debug)]
pub(crate) struct Smith {
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    nobody: Arc<ServerConfig>,
    /// What was made before, to be used again.
    made: HashMap<Certified, Arc<Shown>>,
}

impl Smith {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let (provider, tickets) = (Arc::new(default_provider()), Ticketer::new()?);
        let nobody = Arc::new(config(&provider, &tickets, Arc::new(Nobody))?);
        Ok(Self { provider, tickets, nobody, made: HashMap::new() })
    }

    /// A ring of these. One that cannot be used is told of and left out: the others are not to suffer.
    pub(crate) fn forge(&mut self, certificates: &Certificates) -> Keyring {
        let mut made = HashMap::new();
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        for certified in &certificates.0 {
            let shown = match self.made.get(certified) {
                Some(shown) => Arc::clone(shown),
                None => match self.shown(certified) {
                    Ok(shown) => Arc::new(shown),
                    Err(why) => {
                        warn!(names = ?certified.names, why, "a certificate cannot be used");
                        continue;
                    }
                },
            };
            for name in &certified.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(base) => (&mut below, base),
                    None => (&mut exact, name.as_str()),
                };
                let best: &mut Arc<Shown> = map.entry(Box::from(name)).or_insert_with(|| Arc::clone(&shown));
                if shown.not_after > best.not_after {
                    *best = Arc::clone(&shown);
                }
            }
            made.insert(certified.clone(), shown);
        }
        self.made = made;
        Keyring { exact, below, nobody: Arc::clone(&self.nobody) }
    }

    fn shown(&self, certified: &Certified) -> Result<Shown, String> {
        let key = certified_key(certified, &self.provider)?;
        let config = config(&self.provider, &self.tickets, Arc::new(SingleCertAndKey::from(key)))
            .map_err(|error| error.to_string())?;
        Ok(Shown { config: Arc::new(config), names: certified.names.clone(), not_after: certified.not_after })
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    tickets: &Arc<dyn ProducesTickets>,
    shows: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(shows);
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    config.ticketer = Arc::clone(tickets);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// A certificate with its key, as far as both belong together.
fn certified_key(certified: &Certified, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certified.chain.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes())
        .map_err(|error| format!("the key: {error}"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())
}

/// Shows that a host is ours to a server of ACME, and nothing else (RFC 8737).
///
/// # Errors
/// Where no certificate can be made.
pub(crate) fn proof(host: &str, authorization: &str) -> Result<Arc<ServerConfig>, String> {
    let digest = digest(&SHA256, authorization.as_bytes());
    let make = || {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
        let key = KeyPair::generate()?;
        Ok::<_, rcgen::Error>((params.self_signed(&key)?, key))
    };
    let (certificate, key) = make().map_err(|error| error.to_string())?;
    let provider = default_provider();
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(str::to_owned)?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    // Not looked at: its extension is critical, and unknown to whoever is no server of ACME.
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ACME.to_vec()];
    Ok(Arc::new(config))
}

/// Has no certificate.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
