//! The cluster's own certificate authority.

use std::fmt;

use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
    SerialNumber,
};
use rustls_pki_types::CertificateSigningRequestDer;
use temps_core::model::NodeId;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CLUSTER_NAME, IdentityError, csr, node_name, pem_to_der};

/// How long a CA is valid. Rotation has to come before.
const CA_VALID: Duration = Duration::days(30 * 365);
/// How long a node's certificate is valid.
const NODE_VALID: Duration = Duration::days(10 * 365);
/// Clocks of nodes may differ: certificates are valid from the day before.
const BACKDATED: Duration = Duration::days(1);

/// A cluster's certificate authority.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterCa {
    /// Its certificate.
    pub cert_pem: String,
    /// Its key.
    pub key_pem: String,
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa").finish_non_exhaustive()
    }
}

impl ClusterCa {
    /// A new one.
    ///
    /// # Errors
    /// [`IdentityError::Signing`] where it cannot be made.
    pub fn create(cluster: &str) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = valid_for(CA_VALID);
        params.distinguished_name.push(DnType::CommonName, format!("{cluster} temps CA"));
        // Only nodes are below it: it cannot sign another CA.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key)?;
        Ok(Self { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// The certificate, in PEM, that makes the holder of the key that signed `csr_der` node `node`.
    /// Nothing but the public key is taken from the request.
    ///
    /// # Errors
    /// [`IdentityError`] where the request is damaged, not signed by its own key, or not for P-256.
    pub fn sign_node(&self, csr_der: &[u8], node: NodeId) -> Result<String, IdentityError> {
        self.sign_node_until(csr_der, node, OffsetDateTime::now_utc() + NODE_VALID)
    }

    pub(crate) fn sign_node_until(
        &self,
        csr_der: &[u8],
        node: NodeId,
        until: OffsetDateTime,
    ) -> Result<String, IdentityError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
            .map_err(|e| IdentityError::damaged("the certificate request", e))?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(IdentityError::damaged(
                "the certificate request",
                "its key is not an ECDSA key on P-256",
            ));
        }
        let mut params = valid_for(NODE_VALID);
        params.not_after = until;
        params.distinguished_name.push(DnType::CommonName, node_name(node));
        for name in [node_name(node), CLUSTER_NAME.to_owned()] {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;

        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, self.key()?)?;
        let signed =
            CertificateSigningRequestParams { params, public_key: request.public_key }.signed_by(&issuer)?;
        Ok(signed.pem())
    }

    fn key(&self) -> Result<KeyPair, IdentityError> {
        KeyPair::from_pem(&self.key_pem).map_err(|e| IdentityError::damaged("the CA key", e))
    }

    /// Key and certificate belong together.
    pub(super) fn check(&self) -> Result<(), IdentityError> {
        let der = pem_to_der("the CA certificate", &self.cert_pem)?;
        let (_, cert) =
            X509Certificate::from_der(&der).map_err(|e| IdentityError::damaged("the CA certificate", e))?;
        if csr::fingerprint_of_spki(cert.public_key().raw) == csr::fingerprint_of_key(&self.key_pem)? {
            Ok(())
        } else {
            Err(IdentityError::Mismatch("the CA certificate belongs to another key".to_owned()))
        }
    }
}

fn valid_for(validity: Duration) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = now - BACKDATED;
    params.not_after = now + validity;
    params.serial_number = Some(serial());
    params
}

/// Random, positive, and at most 20 bytes, as RFC 5280 asks in section 4.1.2.2.
fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}
