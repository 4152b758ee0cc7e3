//! TLS between nodes, and from people to nodes: version 1.3 only, and one CA, the cluster's own.
//!
//! A server presents its certificate and the CA's, and verifies a client certificate where one is
//! sent. Nodes verify each other by name. Who has only a token verifies the CA by its fingerprint.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::identity::{IdentityError, NodeIdentity, der_fingerprint, pem_to_der};
use crate::shown::{Choose, Shown};
use crate::token::Fingerprint;

/// What nodes and gRPC speak.
const ALPN: &[u8] = b"h2";
/// What programs may speak to a node that know no HTTP/2.
const OLDER: &[u8] = b"http/1.1";

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The identity is damaged.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificates or keys cannot be used.
    #[error("cannot set up TLS: {0}")]
    Unusable(String),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// What a node serves with: nodes are known by their certificates, others come without one. Who asks for it by a name
/// that the cluster has a certificate for is shown that.
///
/// # Errors
/// [`TlsError`] where the identity cannot be used.
pub(crate) fn server_config(
    identity: &NodeIdentity,
    shown: Arc<Shown>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let roots = Arc::new(roots(ca(identity)?)?);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| TlsError::Unusable(e.to_string()))?;
    let own = Arc::new(CertifiedKey::from_der(chain(identity)?, key(identity)?, &provider())?);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(Choose { shown, own }));
    config.alpn_protocols = vec![ALPN.to_vec(), OLDER.to_vec()];
    Ok(Arc::new(config))
}

/// What a node calls others with; the name to verify is [`crate::identity::node_name`].
///
/// # Errors
/// [`TlsError`] where the identity cannot be used.
pub fn node_client_config(identity: &NodeIdentity) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(ca(identity)?)?)
        .with_client_auth_cert(chain(identity)?, key(identity)?)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// What somebody with a token calls nodes with; the name to verify is [`crate::identity::CLUSTER_NAME`].
///
/// # Errors
/// [`TlsError`] where the crypto provider cannot do TLS 1.3.
pub fn pinned_client_config(pin: Fingerprint) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(PinnedCa { pin, provider: provider() });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn ca(identity: &NodeIdentity) -> Result<CertificateDer<'static>, IdentityError> {
    pem_to_der("the CA certificate", &identity.ca_pem)
}

/// The node's certificate, then the CA's, so that whoever knows the CA by its fingerprint can find it.
fn chain(identity: &NodeIdentity) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    Ok(vec![pem_to_der("the node's certificate", &identity.cert_pem)?, ca(identity)?])
}

fn key(identity: &NodeIdentity) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|_| TlsError::Unusable("the node's key is damaged".to_owned()))
}

fn roots(ca: CertificateDer<'static>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    Ok(roots)
}

/// Accepts a server whose certificate is signed by the CA with this fingerprint, which it presents.
#[derive(Debug)]
struct PinnedCa {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates
            .iter()
            .find(|cert| der_fingerprint(cert) == self.pin)
            .ok_or(CertificateError::UnknownIssuer)?;
        let roots = Arc::new(roots(pinned.clone().into_owned())?);
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
