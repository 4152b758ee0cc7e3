//! A cluster's authority, and the files that a node gets from it.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use temps_core::table::Certified;

/// The authority of a test cluster.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for hosts, valid for so many years.
    pub(crate) fn certify(&self, names: &[&str], years: i32) -> Certified {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100 + years, 1, 1);
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        let not_after = u64::try_from(params.not_after.unix_timestamp()).unwrap() * 1_000;
        Certified { names, chain, key: key.serialize_pem(), not_after }
    }

    /// Writes what the edge of a node needs.
    pub(crate) fn issue(&self, node: u64, directory: &Path) {
        let mut params = CertificateParams::new(vec![format!("node-{node}.temps.internal")]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("ca.pem"), &self.pem).unwrap();
        fs::write(directory.join("node.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("node.key"), key.serialize_pem()).unwrap();
    }
}
