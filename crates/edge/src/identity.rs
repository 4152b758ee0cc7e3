//! Who this edge is to other edges, and who they are to it: TLS with certificates on both sides.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use temps_core::model::NodeId;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::EdgeError;

/// Requests of many clients on one connection.
pub(crate) const HTTP2: &[u8] = b"h2";
/// A connection that changes its protocol.
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// Both sides of a connection between edges.
#[derive(Clone)]
pub(crate) struct Tls {
    /// SHA-256 of the certificate of the cluster's CA.
    cluster: [u8; 32],
    pub(crate) accept: TlsAcceptor,
    pub(crate) connect: TlsConnector,
    pub(crate) connect_tunnel: TlsConnector,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Says whose this edge is to whoever knows the cluster.
    pub(crate) fn vouch(&self, question: &str) -> String {
        let said = digest(&SHA256, &[&self.cluster, question.as_bytes()].concat());
        said.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads `ca.pem`, `node.pem` and `node.key`.
pub(crate) fn load(directory: &Path) -> Result<Tls, EdgeError> {
    let refuse = |why: String| EdgeError::Identity { path: directory.to_owned(), why };
    let mut roots = RootCertStore::empty();
    let authority = certificates(&directory.join("ca.pem")).map_err(refuse)?;
    let mut cluster = [0; 32];
    cluster.copy_from_slice(digest(&SHA256, authority.first().map_or(&[][..], |c| c.as_ref())).as_ref());
    for certificate in authority {
        roots.add(certificate).map_err(|error| refuse(format!("ca.pem: {error}")))?;
    }
    let roots = Arc::new(roots);
    let chain = certificates(&directory.join("node.pem")).map_err(refuse)?;
    if chain.first().and_then(node_of).is_none() {
        return Err(refuse("node.pem: it names no node".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(directory.join("node.key"))
        .map_err(|error| refuse(format!("node.key: {error}")))?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let refuse_tls =
        |error: rustls::Error| EdgeError::Identity { path: directory.to_owned(), why: error.to_string() };
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(|error| refuse(error.to_string()))?;
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(refuse_tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(refuse_tls)?;
    server.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(refuse_tls)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(refuse_tls)?;
    client.alpn_protocols = vec![HTTP2.to_vec()];
    let mut tunnel = client.clone();
    tunnel.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(Tls {
        cluster,
        accept: Arc::new(server).into(),
        connect: Arc::new(client).into(),
        connect_tunnel: Arc::new(tunnel).into(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(format!("{name}: no certificate")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// The node that a certificate was issued for.
pub(crate) fn node_of(certificate: &CertificateDer<'_>) -> Option<NodeId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => {
            let number = name.strip_prefix("node-")?.strip_suffix(".temps.internal")?;
            number.parse().ok().map(NodeId)
        }
        _ => None,
    })
}
