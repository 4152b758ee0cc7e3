//! What a node shows who asks for it by a name: a certificate of the cluster for that name where it has one, so that
//! a browser trusts it; its own otherwise, which nodes and the CLI verify.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use temps_core::table::{Certificates, Certified};
use tracing::warn;

use crate::identity::CLUSTER_NAME;

/// By name; with the Unix milliseconds until when it is valid.
type ByName = HashMap<Box<str>, (u64, Arc<CertifiedKey>)>;

/// Certificates for names, as long as the cluster has them.
#[derive(Debug, Default)]
pub struct Shown {
    by_name: RwLock<ByName>,
}

impl Shown {
    /// Shows these from now on, each for the names in it: of two for one name the one that is valid longer. One that
    /// cannot be used is told of and left out.
    pub fn show(&self, certificates: &Certificates) {
        let mut by_name = ByName::new();
        for certified in &certificates.0 {
            let key = match key(certified) {
                Ok(key) => Arc::new(key),
                Err(why) => {
                    warn!(names = ?certified.names, why, "a certificate cannot be used");
                    continue;
                }
            };
            for name in certified.names.iter().filter(|name| !is_ours(name)) {
                let best = by_name.entry(Box::from(name.as_str()));
                let best = best.or_insert_with(|| (certified.not_after, Arc::clone(&key)));
                if certified.not_after > best.0 {
                    *best = (certified.not_after, Arc::clone(&key));
                }
            }
        }
        *self.by_name.write().unwrap_or_else(PoisonError::into_inner) = by_name;
    }

    fn find(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let below = host.split_once('.').and_then(|(_, base)| by_name.get(&*format!("*.{base}")));
        let found = by_name.get(host).into_iter().chain(below).max_by_key(|(not_after, _)| *not_after);
        found.map(|(_, key)| Arc::clone(key))
    }
}

/// Names by which nodes are verified: nobody's certificate may take their place.
fn is_ours(name: &str) -> bool {
    CLUSTER_NAME.split_once('.').is_some_and(|(_, base)| name.ends_with(base))
}

/// A certificate with its key, as far as both belong together.
fn key(certified: &Certified) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certified.chain.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes())
        .map_err(|error| format!("the key: {error}"))?;
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| error.to_string())
}

/// Chooses at the start of a connection.
#[derive(Debug)]
pub(crate) struct Choose {
    pub(crate) shown: Arc<Shown>,
    pub(crate) own: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Choose {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(|host| self.shown.find(&host.to_ascii_lowercase()));
        Some(asked.unwrap_or_else(|| Arc::clone(&self.own)))
    }
}
