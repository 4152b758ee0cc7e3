use std::fs;
use std::os::unix::fs::PermissionsExt;

use temps_core::model::NodeId;

use super::{
    ClusterCa, IdentityError, NodeIdentity, certified_node, csr_fingerprint, generate_csr, parse_node_name,
    pem_to_der, pending_csr,
};

#[test]
fn an_identity_survives_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let identity = NodeIdentity::found("test", NodeId(1)).unwrap();
    assert!(!NodeIdentity::exists(dir.path()));
    identity.save(dir.path()).unwrap();
    assert!(NodeIdentity::exists(dir.path()));
    let loaded = NodeIdentity::load(dir.path()).unwrap();
    assert!(loaded == identity);
    assert_eq!(loaded.ca_fingerprint().unwrap(), identity.ca_fingerprint().unwrap());
    for (file, mode) in [("ca.key", 0o600), ("node.key", 0o600), ("node.pem", 0o644)] {
        let found = fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}");
    }
}

#[test]
fn a_wrong_identity_is_refused() {
    let identity = NodeIdentity::found("test", NodeId(1)).unwrap();
    let other = NodeIdentity::found("test", NodeId(1)).unwrap();
    let spoilt = |spoil: &dyn Fn(&std::path::Path)| {
        let dir = tempfile::tempdir().unwrap();
        identity.save(dir.path()).unwrap();
        spoil(dir.path());
        NodeIdentity::load(dir.path()).map(|_| ()).unwrap_err()
    };
    let put = |file: &'static str, content: String| {
        spoilt(&move |dir| fs::write(dir.join(file), &content).unwrap())
    };
    assert!(matches!(put("node.id", "2".to_owned()), IdentityError::Mismatch(_)));
    assert!(matches!(put("node.id", "x".to_owned()), IdentityError::Damaged { .. }));
    assert!(matches!(put("node.pem", other.cert_pem.clone()), IdentityError::Mismatch(_)));
    assert!(matches!(put("node.pem", "hello".to_owned()), IdentityError::Damaged { .. }));
    assert!(matches!(put("ca.key", other.ca_key_pem.clone()), IdentityError::Mismatch(_)));
    assert!(matches!(
        spoilt(&|dir| fs::remove_file(dir.join("ca.pem")).unwrap()),
        IdentityError::File { .. }
    ));
    let open = spoilt(&|dir| {
        fs::set_permissions(dir.join("ca.key"), fs::Permissions::from_mode(0o640)).unwrap();
    });
    assert!(matches!(open, IdentityError::Exposed { .. }));
}

#[test]
fn a_signed_request_names_its_node_and_nothing_else() {
    let ca = ClusterCa::create("test").unwrap();
    let (csr, key_pem) = generate_csr().unwrap();
    let cert_pem = ca.sign_node(&csr, NodeId(7)).unwrap();
    let identity = NodeIdentity::joined(cert_pem, key_pem, ca.cert_pem.clone(), ca.key_pem.clone()).unwrap();
    assert_eq!(identity.node, NodeId(7));
    assert_eq!(identity.fingerprint().unwrap(), csr_fingerprint(&csr).unwrap());
    let der = pem_to_der("it", &identity.cert_pem).unwrap();
    assert_eq!(certified_node(&der), Some(NodeId(7)));
}

#[test]
fn a_request_cannot_ask_for_a_name() {
    let ca = ClusterCa::create("test").unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["node-1.temps.internal".to_owned()]).unwrap();
    let csr = params.serialize_request(&key).unwrap();
    let cert = ca.sign_node(csr.der(), NodeId(9)).unwrap();
    assert_eq!(certified_node(&pem_to_der("it", &cert).unwrap()), Some(NodeId(9)));
}

#[test]
fn a_damaged_request_is_refused() {
    let ca = ClusterCa::create("test").unwrap();
    let (csr, _) = generate_csr().unwrap();
    assert!(ca.sign_node(b"hello", NodeId(2)).is_err());
    let whole = csr_fingerprint(&csr).unwrap();
    for at in 0..csr.len() {
        let mut bad = csr.clone();
        bad[at] ^= 1;
        // The few bytes that nothing signs may change; the key never does.
        assert!(csr_fingerprint(&bad).map_or(true, |other| other == whole), "byte {at}");
    }
}

#[test]
fn a_repeated_join_uses_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let (first, key) = pending_csr(dir.path()).unwrap();
    let (again, same) = pending_csr(dir.path()).unwrap();
    assert!(key == same);
    assert_eq!(csr_fingerprint(&first).unwrap(), csr_fingerprint(&again).unwrap());
    assert!(!NodeIdentity::exists(dir.path()));
}

#[test]
fn a_node_has_one_name() {
    for (name, node) in [
        ("node-1.temps.internal", Some(NodeId(1))),
        ("node-18446744073709551615.temps.internal", Some(NodeId(u64::MAX))),
        ("node-01.temps.internal", None),
        ("node-+1.temps.internal", None),
        ("node-.temps.internal", None),
        ("node-1.temps.internal.example", None),
        ("cluster.temps.internal", None),
    ] {
        assert_eq!(parse_node_name(name), node, "{name}");
    }
}

#[test]
fn keys_never_print() {
    let identity = NodeIdentity::found("test", NodeId(1)).unwrap();
    for text in [format!("{identity:?}"), format!("{:?}", identity.ca())] {
        assert!(!text.contains("KEY") && !text.contains("BEGIN"), "{text}");
    }
}
