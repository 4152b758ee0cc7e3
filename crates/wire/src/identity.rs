//! Who a node is: a certificate of the cluster's own CA, and the keys that belong to it.
//!
//! Every node keeps the CA's key too, so that any of them can admit another one.

mod ca;
mod csr;
mod store;

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use temps_core::model::NodeId;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub use ca::ClusterCa;
pub use csr::{csr_fingerprint, generate_csr, pending_csr};

use crate::token::Fingerprint;

/// The name that every node's certificate carries: "some node of this cluster".
pub const CLUSTER_NAME: &str = "cluster.temps.internal";

/// The name in the certificate of one node.
#[must_use]
pub fn node_name(node: NodeId) -> String {
    format!("node-{}.temps.internal", node.0)
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others on this machine can read a key.
    #[error("{path} can be read by others; run `chmod 600 {path}`, or rejoin if somebody may have read it")]
    Exposed {
        /// Which.
        path: PathBuf,
    },
    /// Something is not what it should be.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The parts are each well-formed and do not belong together.
    #[error("the identity does not fit together: {0}")]
    Mismatch(String),
    /// The certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Signing(#[from] rcgen::Error),
}

impl IdentityError {
    fn damaged(what: &'static str, why: impl fmt::Display) -> Self {
        Self::Damaged { what, why: why.to_string() }
    }
}

/// Everything by which a node is known.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its number; also in its certificate.
    pub node: NodeId,
    /// Its certificate.
    pub cert_pem: String,
    /// The key of its certificate.
    pub key_pem: String,
    /// The cluster's CA certificate.
    pub ca_pem: String,
    /// The key of the cluster's CA.
    pub ca_key_pem: String,
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIdentity").field("node", &self.node).finish_non_exhaustive()
    }
}

impl NodeIdentity {
    /// The first node of a new cluster, with a new CA.
    ///
    /// # Errors
    /// [`IdentityError::Signing`] where certificates cannot be made.
    pub fn found(cluster: &str, node: NodeId) -> Result<Self, IdentityError> {
        let ca = ClusterCa::create(cluster)?;
        let (csr, key_pem) = generate_csr()?;
        let cert_pem = ca.sign_node(&csr, node)?;
        Ok(Self { node, cert_pem, key_pem, ca_pem: ca.cert_pem, ca_key_pem: ca.key_pem })
    }

    /// From the answer to a join; the number is read from the certificate.
    ///
    /// # Errors
    /// [`IdentityError`] where a part is damaged or they do not belong together.
    pub fn joined(
        cert_pem: String,
        key_pem: String,
        ca_pem: String,
        ca_key_pem: String,
    ) -> Result<Self, IdentityError> {
        let node = certified_node(&pem_to_der("the node's certificate", &cert_pem)?)
            .ok_or_else(|| IdentityError::damaged("the node's certificate", "it names no node"))?;
        let identity = Self { node, cert_pem, key_pem, ca_pem, ca_key_pem };
        identity.check()?;
        Ok(identity)
    }

    /// The CA with which this node admits others.
    #[must_use]
    pub fn ca(&self) -> ClusterCa {
        ClusterCa { cert_pem: self.ca_pem.clone(), key_pem: self.ca_key_pem.clone() }
    }

    /// What tokens of this cluster carry: SHA-256 of the CA certificate in DER.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] where it is no certificate.
    pub fn ca_fingerprint(&self) -> Result<Fingerprint, IdentityError> {
        ca_fingerprint(&self.ca_pem)
    }

    /// SHA-256 of this node's public key, in hex.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] where it has no certificate.
    pub fn fingerprint(&self) -> Result<String, IdentityError> {
        let der = pem_to_der("the node's certificate", &self.cert_pem)?;
        let (_, cert) = X509Certificate::from_der(&der)
            .map_err(|e| IdentityError::damaged("the node's certificate", e))?;
        Ok(hex::encode(Sha256::digest(cert.public_key().raw)))
    }

    /// Everything belongs together.
    fn check(&self) -> Result<(), IdentityError> {
        let own = csr::fingerprint_of_key(&self.key_pem)?;
        if own != self.fingerprint()? {
            return Err(IdentityError::Mismatch("the certificate belongs to another key".to_owned()));
        }
        let der = pem_to_der("the node's certificate", &self.cert_pem)?;
        if certified_node(&der) != Some(self.node) {
            return Err(IdentityError::Mismatch(format!(
                "the certificate is not that of node {}",
                self.node
            )));
        }
        self.ca().check()
    }
}

/// SHA-256 of a CA certificate in DER.
///
/// # Errors
/// [`IdentityError::Damaged`] where it is no certificate.
pub fn ca_fingerprint(ca_pem: &str) -> Result<Fingerprint, IdentityError> {
    Ok(der_fingerprint(&pem_to_der("the CA certificate", ca_pem)?))
}

pub(crate) fn der_fingerprint(der: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint(Sha256::digest(der).into())
}

/// Which node a certificate is for, by its names. Whether the certificate is genuine is not checked here.
#[must_use]
pub fn certified_node(der: &CertificateDer<'_>) -> Option<NodeId> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let names = cert.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => parse_node_name(name),
        _ => None,
    })
}

fn parse_node_name(name: &str) -> Option<NodeId> {
    let number: u64 = name.strip_prefix("node-")?.strip_suffix(".temps.internal")?.parse().ok()?;
    // Only the one form that `node_name` writes, so that no two names mean one node.
    (node_name(NodeId(number)) == name).then_some(NodeId(number))
}

pub(crate) fn pem_to_der(what: &'static str, pem: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| IdentityError::damaged(what, format!("{e:?}")))
}

#[cfg(test)]
mod tests;
