//! Names that are given to environments, and their certificates.

use super::{Cluster, deploy, spec};
use crate::assignment::{assignment, served_everywhere};
use crate::command::{Certify, Command, Observation, Outcome, Receipt};
use crate::domains::{Due, Origin, due, names};
use crate::model::{
    Acme, Certificate, CertificateFrom, CertificateId, EnvironmentId, NodeId, Opaque, Spec, What,
};
use crate::routes::routes;

fn add(project: &str, name: &str) -> Command {
    Command::AddDomain {
        project: project.to_owned(),
        environment: "production".to_owned(),
        name: name.to_owned(),
    }
}

fn remove(name: &str) -> Command {
    Command::RemoveDomain { name: name.to_owned() }
}

fn certificate(names: &[&str], not_after: u64) -> Certificate {
    Certificate {
        names: names.iter().map(|n| (*n).to_owned()).collect(),
        chain: format!("chain until {not_after}"),
        key: Opaque("sealed".to_owned()),
        not_before: 0,
        not_after,
        renew_at: not_after / 3 * 2,
        issuer: "Test CA".to_owned(),
        from: CertificateFrom::Acme,
    }
}

fn acme() -> Acme {
    Acme {
        directory: "https://ca.example/dir".to_owned(),
        contact: Some("mailto:ops@shop.example".to_owned()),
        root: None,
        account: None,
    }
}

fn with_domain(domain: &str) -> Spec {
    let mut spec = spec();
    spec.routes.domains = vec![domain.to_owned()];
    spec
}

impl Cluster {
    fn certify(&mut self, certify: Certify) -> Receipt {
        self.write(Command::Certify(certify))
    }

    fn fail(&mut self, name: &str, retry_at: u64) -> Receipt {
        self.certify(Certify::Failed { name: name.to_owned(), why: "no\x1b[31m answer".to_owned(), retry_at })
    }

    fn due_at(&self, wall: u64) -> Vec<String> {
        due(&self.state, wall).into_iter().map(|due| due.name).collect()
    }

    fn certificate_of(&self, name: &str) -> Option<CertificateId> {
        self.state.tls.certificate_for(name).map(|(id, _)| id)
    }
}

#[test]
fn a_name_belongs_to_one_environment() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', with_domain("shop.example")));
    cluster.ok(add("shop", "www.shop.example"));
    assert!(matches!(cluster.write(add("shop", "www.shop.example")).outcome, Outcome::NoChange(_)));
    for name in ["shop.example", "www.shop.example", "shop.localhost"] {
        let why = cluster.refused(add("blog", name));
        assert!(why.contains("belongs to project \"shop\""), "{why}");
    }
    let Command::Deploy { source, spec, .. } = deploy('a', with_domain("www.shop.example")) else { panic!() };
    let (project, environment) = ("blog".to_owned(), "production".to_owned());
    let why = cluster.refused(Command::Deploy { project, environment, source, spec, supersede: false });
    assert!(why.contains("belongs to project \"shop\""), "{why}");
    for (name, why) in [("WWW.shop.example", "must be written"), ("a..b", "not a host name"), ("", "empty")] {
        assert!(cluster.refused(add("shop", name)).contains(why), "{name}");
    }

    let hosts = |cluster: &Cluster| routes(&cluster.state, NodeId(1)).routes[0].hosts.clone();
    assert_eq!(hosts(&cluster), ["shop.example", "shop.localhost", "www.shop.example"]);
    let why = cluster.refused(remove("shop.example"));
    assert!(why.contains("take it out of [routes] in temps.toml"), "{why}");
    assert!(cluster.refused(remove("other.example")).contains("there is no domain"));
    cluster.ok(remove("www.shop.example"));
    assert_eq!(hosts(&cluster), ["shop.example", "shop.localhost"]);
    cluster.ok(add("blog", "www.shop.example"));
    let of = &names(&cluster.state)["www.shop.example"];
    assert_eq!(of.iter().collect::<Vec<_>>(), [(&EnvironmentId(2), &Origin::Added)]);
}

#[test]
fn certificates_are_ordered_for_names_that_can_have_one() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', with_domain("shop.example")));
    for name in ["www.shop.example", "intern", "10.0.0.1", "[::1]"] {
        cluster.ok(add("shop", name));
    }
    assert!(cluster.due_at(u64::MAX).is_empty(), "nobody agreed to any terms");
    cluster.ok(Command::SetAcme { acme: Some(acme()) });
    assert_eq!(cluster.due_at(0), ["shop.example", "www.shop.example"]);

    // What failed is tried again at its time; who asks for another name than ours is not answered.
    cluster.fail("shop.example", 5_000).made().unwrap();
    assert_eq!(cluster.due_at(4_999), ["www.shop.example"]);
    assert_eq!(cluster.due_at(5_000).len(), 2);
    let order = &cluster.state.tls.orders["shop.example"];
    assert_eq!((order.attempts, order.failure.as_deref()), (1, Some("no[31m answer")));
    assert!(cluster.fail("not-ours.example", 5_000).made().is_err());
    cluster.ok(Command::RetryCertificate { name: "shop.example".to_owned() });
    assert_eq!(cluster.due_at(0).len(), 2);
    cluster.fail("shop.example", 6_000).made().unwrap();
    let told = |e: &&crate::model::Event| matches!(e.what, What::CertificateFailed { .. });
    assert_eq!(cluster.state.events.values().filter(told).count(), 1);

    cluster.certify(Certify::Issued(certificate(&["shop.example"], 9_000))).made().unwrap();
    assert!(!cluster.state.tls.orders.contains_key("shop.example"));
    assert_eq!(cluster.due_at(5_999), ["www.shop.example"]);
    let renewal = Due { name: "shop.example".to_owned(), replaces: Some(CertificateId(1)), attempts: 0 };
    assert!(due(&cluster.state, 6_000).contains(&renewal));
    cluster.certify(Certify::Renewal { certificate: CertificateId(1), at: 7_000 }).made().unwrap();
    assert_eq!(cluster.due_at(6_999), ["www.shop.example"]);
    cluster.certify(Certify::Issued(certificate(&["shop.example"], 90_000))).made().unwrap();
    assert_eq!(cluster.state.tls.certificates.keys().collect::<Vec<_>>(), [&CertificateId(2)]);
}

#[test]
fn a_certificate_that_a_person_gave_comes_first_until_it_ends() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', with_domain("www.shop.example")));
    cluster.ok(Command::SetAcme { acme: Some(acme()) });
    cluster.ok(Command::PutCertificate(certificate(&["*.shop.example"], 50_000)));
    assert_eq!(cluster.certificate_of("www.shop.example"), Some(CertificateId(1)));
    assert_eq!(cluster.certificate_of("shop.example"), None);
    assert_eq!(cluster.certificate_of("a.b.shop.example"), None);
    assert!(cluster.due_at(49_999).is_empty());
    assert_eq!(cluster.due_at(50_000), ["www.shop.example"]);
    // Another for the same names replaces it, also where it ends earlier.
    cluster.ok(Command::PutCertificate(certificate(&["*.shop.example"], 40_000)));
    assert_eq!(cluster.certificate_of("www.shop.example"), Some(CertificateId(2)));
    assert_eq!(cluster.state.tls.certificates.len(), 1);

    for (wrong, why) in [
        (Certificate { names: Default::default(), ..certificate(&["a.b"], 9) }, "1 to 100 names"),
        (certificate(&["*"], 9), "host name"),
        (certificate(&["A.b"], 9), "must be written"),
        (certificate(&["a.b"], 0), "ends before it begins"),
        (Certificate { chain: "x".repeat(70_000), ..certificate(&["a.b"], 9) }, "too long"),
    ] {
        assert!(cluster.refused(Command::PutCertificate(wrong)).contains(why), "{why}");
    }
}

#[test]
fn a_removed_name_takes_its_certificate_along() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', spec()));
    for name in ["a.example", "b.example", "www.b.example"] {
        cluster.ok(add("shop", name));
    }
    cluster.ok(Command::PutCertificate(certificate(&["a.example"], 50_000)));
    cluster.ok(Command::PutCertificate(certificate(&["b.example", "*.b.example"], 50_000)));
    cluster.ok(remove("a.example"));
    cluster.ok(remove("b.example"));
    assert_eq!(cluster.state.tls.certificates.keys().collect::<Vec<_>>(), [&CertificateId(2)]);
    cluster.ok(remove("www.b.example"));
    assert!(cluster.state.tls.certificates.is_empty());
}

#[test]
fn every_edge_can_answer_before_anybody_is_told_to_ask() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', with_domain("shop.example")));
    cluster.ok(Command::SetAcme { acme: Some(acme()) });
    let challenge = |name: &str| Certify::Challenge {
        name: name.to_owned(),
        token: "t".to_owned(),
        authorization: "t.print".to_owned(),
    };
    assert!(cluster.certify(challenge("not-ours.example")).made().is_err());
    let since = cluster.certify(challenge("shop.example")).index;
    let table = routes(&cluster.state, NodeId(1));
    assert_eq!(
        (table.challenges[0].host.as_str(), table.challenges[0].token.as_str()),
        ("shop.example", "t")
    );
    assert_eq!(assignment(&cluster.state, NodeId(1)).awaited, Some(since));
    assert!(!served_everywhere(&cluster.state, since));
    cluster.see(9, Observation::Applied { index: since });
    assert!(served_everywhere(&cluster.state, since));
    assert_eq!(assignment(&cluster.state, NodeId(1)).awaited, None);
    cluster.fail("shop.example", 1).made().unwrap();
    assert!(routes(&cluster.state, NodeId(1)).challenges.is_empty());
}

#[test]
fn an_account_is_kept_for_its_server_alone() {
    let mut cluster = Cluster::new();
    let keep = |directory: &str| {
        let account = Opaque("sealed".to_owned());
        Command::Certify(Certify::Account { directory: directory.to_owned(), account })
    };
    assert!(cluster.refused(keep("https://ca.example/dir")).contains("elsewhere"));
    cluster.ok(Command::SetAcme { acme: Some(acme()) });
    cluster.ok(keep("https://ca.example/dir"));
    assert!(cluster.refused(keep("https://other.example/dir")).contains("elsewhere"));
    assert!(matches!(cluster.write(Command::SetAcme { acme: Some(acme()) }).outcome, Outcome::NoChange(_)));
    let account = |cluster: &Cluster| cluster.state.tls.acme.as_ref().and_then(|a| a.account.clone());
    assert!(account(&cluster).is_some());
    let elsewhere = Acme { directory: "https://other.example/dir".to_owned(), ..acme() };
    cluster.ok(Command::SetAcme { acme: Some(elsewhere) });
    assert!(account(&cluster).is_none());
    let http = Acme { directory: "http://ca.example/dir".to_owned(), ..acme() };
    assert!(cluster.refused(Command::SetAcme { acme: Some(http) }).contains("https://"));
    cluster.ok(Command::SetAcme { acme: None });
    assert!(cluster.state.tls.acme.is_none());
}
