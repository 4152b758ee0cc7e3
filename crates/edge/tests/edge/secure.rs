//! Clients with TLS.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use temps_core::table::{Certificates, Certified, Challenge, Table};
use temps_edge::Limits;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::{
    App, Authority, Client, Edge, HOST, Plan, Secure, choice, config_in, get, shake, shown, table, target,
    until, within,
};

impl Edge {
    /// Shows these, and waits until it does.
    async fn show(&self, certificates: &[&Certified], authority: &Authority) {
        let set = Certificates(certificates.iter().map(|c| (*c).clone()).collect());
        self.link.as_ref().unwrap().certify(set);
        for certified in certificates {
            let host = certified.names[0].replace('*', "www");
            let end = tokio::time::Instant::now() + Duration::from_secs(20);
            loop {
                let shaken = shake(self.https, authority, &host, &["http/1.1"]).await;
                if shaken.is_ok_and(|stream| is_of(&shown(&stream), certified)) {
                    break;
                }
                assert!(tokio::time::Instant::now() < end, "{host} is not shown its certificate");
            }
        }
    }
}

fn is_of(der: &[u8], certified: &Certified) -> bool {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(certified.chain.as_bytes()).unwrap().as_ref() == der
}

fn one(app: &App) -> Table {
    let mut table = table(vec![choice(1, 1, 1)], vec![target(1, 1, app)], &[]);
    table.routes[0].hosts.push("b.test".to_owned());
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_is_shown_its_certificate_and_answered_in_both_protocols() {
    let (authority, app) = (Authority::new(), App::start("app").await);
    let edge = Plan::node(1).start(&authority).await;
    edge.serve(1, one(&app)).await;
    let (a, all) = (authority.certify(&[HOST], 1), authority.certify(&["*.b.test", "b.test"], 1));
    edge.show(&[&a, &all], &authority).await;
    for protocol in ["http/1.1", "h2"] {
        let mut client = Secure::connect(edge.https, &authority, HOST, protocol).await;
        for _ in 0..3 {
            let answer = client.get(HOST, "/").await;
            assert_eq!(
                (answer.status().as_u16(), answer.headers().contains_key("strict-transport-security")),
                (200, false)
            );
        }
        // What it was not shown for is not answered on the same connection.
        assert_eq!(client.get("b.test", "/").await.status(), 421);
        Secure::connect(edge.https, &authority, "b.test", protocol).await;
    }
    let head = app.requests().pop().unwrap();
    assert_eq!(head.one("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(app.count(), 6);
    for stranger in ["c.test", "a.b.b.test"] {
        let refused = shake(edge.https, &authority, stranger, &["http/1.1"]).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("alert")), "{stranger}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_on_another_node_hears_that_there_was_tls() {
    let (authority, app) = (Authority::new(), App::start("app").await);
    let (far, near) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    near.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&far])).await;
    let mut there = table(vec![choice(1, 2, 1)], vec![], &[&near]);
    there.routes[0].hsts = Some(3_600);
    far.serve(1, there).await;
    far.show(&[&authority.certify(&[HOST], 1)], &authority).await;
    let mut client = Secure::connect(far.https, &authority, HOST, "h2").await;
    let answer = client.get(HOST, "/").await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["strict-transport-security"].to_str().unwrap()),
        (200, "max-age=3600")
    );
    assert_eq!(app.requests()[0].one("x-forwarded-proto").as_deref(), Some("https"));
    let plain = get(far.http, HOST, "/").await;
    assert_eq!((plain.status, plain.header("strict-transport-security")), (200, None));
    assert_eq!(app.requests()[1].one("x-forwarded-proto").as_deref(), Some("http"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_a_host_with_a_certificate_is_sent_on() {
    let (authority, app) = (Authority::new(), App::start("app").await);
    let edge = Plan::node(1).start(&authority).await;
    let mut routes = one(&app);
    routes.routes[0].redirect = true;
    edge.serve(1, routes).await;
    assert_eq!(get(edge.http, HOST, "/").await.status, 200, "there is no certificate yet");
    edge.show(&[&authority.certify(&[HOST], 1)], &authority).await;
    let answer = get(edge.http, HOST, "/a%20b?c=d&e=%2F").await;
    let there = format!("https://{HOST}:{}/a%20b?c=d&e=%2F", edge.https.port());
    assert_eq!((answer.status, answer.header("location")), (308, Some(there.as_str())));
    assert_eq!(
        get(edge.http, "A.test:80", "//evil.test/").await.header("location"),
        Some(format!("https://{HOST}:{}//evil.test/", edge.https.port()).as_str())
    );
    assert_eq!(get(edge.http, "b.test", "/").await.status, 200);
    assert_eq!(get(edge.http, "c.test", "/").await.status, 404);
    assert_eq!(app.count(), 2);
    edge.serve(2, one(&app)).await;
    assert_eq!(get(edge.http, HOST, "/").await.status, 200, "it is answered both ways");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_cuts_nothing() {
    let (authority, app) = (Authority::new(), App::start("app").await);
    let edge = Plan::node(1).start(&authority).await;
    edge.serve(1, one(&app)).await;
    let (old, new) = (authority.certify(&[HOST], 1), authority.certify(&[HOST], 2));
    edge.show(&[&old], &authority).await;
    let mut before = Secure::connect(edge.https, &authority, HOST, "http/1.1").await;
    assert_eq!(before.get(HOST, "/").await.status(), 200);
    edge.show(&[&new], &authority).await;
    assert_eq!(before.get(HOST, "/").await.status(), 200);
    // Both at once: the one that is valid longer. What is damaged harms nobody else.
    let damaged = Certified { key: old.key.clone(), names: vec!["b.test".to_owned()], ..new.clone() };
    let nonsense = Certified { chain: "x".to_owned(), names: vec!["b.test".to_owned()], ..new.clone() };
    edge.link.as_ref().unwrap().certify(Certificates(vec![damaged, new.clone(), nonsense, old]));
    edge.serve(2, one(&app)).await;
    assert!(is_of(&shown(&shake(edge.https, &authority, HOST, &["h2"]).await.unwrap()), &new));
    assert!(shake(edge.https, &authority, "b.test", &["h2"]).await.is_err());
    edge.link.as_ref().unwrap().certify(Certificates::default());
    edge.serve(3, one(&app)).await;
    assert!(shake(edge.https, &authority, HOST, &["h2"]).await.is_err());
    assert_eq!(before.get(HOST, "/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_starts_alone_shows_what_it_showed_before() {
    let (authority, app) = (Authority::new(), App::start("app").await);
    let mut edge = Plan::node(1).start(&authority).await;
    edge.serve(1, one(&app)).await;
    edge.show(&[&authority.certify(&[HOST], 1)], &authority).await;
    let file = edge.directory.path().join("certificates.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::metadata(edge.directory.path().join("table.json")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let directory = Arc::clone(&edge.directory);
    edge.stop().await;
    let mut plan = Plan::node(1);
    plan.directory = Some(directory);
    let alone = plan.start(&authority).await;
    let mut client = Secure::connect(alone.https, &authority, HOST, "h2").await;
    assert_eq!(client.get(HOST, "/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_with_tls_are_handed_over_too() {
    let (authority, app) = (Authority::new(), App::start("app").await);
    let mut edge = Plan::node(1).start(&authority).await;
    edge.serve(1, one(&app)).await;
    edge.show(&[&authority.certify(&[HOST], 1)], &authority).await;
    let mut kept = Secure::connect(edge.https, &authority, HOST, "http/1.1").await;
    assert_eq!(kept.get(HOST, "/").await.status(), 200);
    let before = edge.thread.take().unwrap();
    let mut config = config_in(edge.directory.path().to_owned());
    config.takeover = Some(edge.socket());
    edge.thread = Some(std::thread::spawn(move || temps_edge::run(config)));
    let answer = kept.get(HOST, "/").await;
    assert_eq!(answer.status(), 200);
    drop(kept);
    until("the edge before ends", || before.is_finished()).await;
    before.join().unwrap().unwrap();
    for protocol in ["http/1.1", "h2"] {
        let mut client = Secure::connect(edge.https, &authority, HOST, protocol).await;
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    edge.serve(2, one(&app)).await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_of_acme_asks_is_answered_by_http_and_by_tls() {
    let (authority, app) = (Authority::new(), App::start("app").await);
    let edge = Plan::node(1).start(&authority).await;
    let challenge = |host: &str| Challenge {
        host: host.to_owned(),
        token: "tok-en_1".to_owned(),
        authorization: "tok-en_1.print".to_owned(),
    };
    let mut routes = one(&app);
    routes.routes[0].redirect = true;
    routes.challenges = vec![challenge(HOST), challenge("nobody.test")];
    edge.serve(1, routes).await;
    edge.show(&[&authority.certify(&[HOST], 1)], &authority).await;
    // No redirect, and no application is needed.
    for host in [HOST, "nobody.test"] {
        let answer = get(edge.http, host, "/.well-known/acme-challenge/tok-en_1").await;
        assert_eq!((answer.status, answer.text()), (200, "tok-en_1.print".to_owned()));
    }
    assert_eq!(get(edge.http, "b.test", "/.well-known/acme-challenge/tok-en_1").await.text(), "app");
    assert_eq!(get(edge.http, HOST, "/.well-known/acme-challenge/other").await.status, 308);

    let stream = TcpStream::connect(edge.https).await.unwrap();
    let proof = crate::support::shake_for_proof(stream, HOST).await.unwrap();
    let (_, certificate) = X509Certificate::from_der(&proof).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len();
    assert_eq!(names, 1);
    let extension = certificate.extensions().iter().find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
    let extension = extension.expect("the extension of RFC 8737");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"tok-en_1.print");
    assert!(extension.critical);
    assert_eq!(extension.value, [&[0x04, 0x20], digest.as_ref()].concat());
    let stream = TcpStream::connect(edge.https).await.unwrap();
    assert!(crate::support::shake_for_proof(stream, "b.test").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_go_on_is_ended() {
    let (authority, app) = (Authority::new(), App::start("app").await);
    let mut plan = Plan::node(1);
    plan.limits = Limits { head: Duration::from_millis(300), ..plan.limits };
    let edge = plan.start(&authority).await;
    edge.serve(1, one(&app)).await;
    edge.show(&[&authority.certify(&[HOST], 1)], &authority).await;
    let mut silent = TcpStream::connect(edge.https).await.unwrap();
    let mut half = Client::connect(edge.https).await;
    half.send([0x16, 0x03, 0x01, 0x02, 0x00]).await;
    let mut nothing = Vec::new();
    let _ = within("a silent connection ends", silent.read_to_end(&mut nothing)).await;
    assert!(nothing.is_empty());
    assert_eq!(half.rest().await, b"");
    let mut plain = Client::connect(edge.https).await;
    plain.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(!plain.rest().await.starts_with(b"HTTP/"), "what is no TLS is not answered");
    let mut client = Secure::connect(edge.https, &authority, HOST, "http/1.1").await;
    assert_eq!(client.get(HOST, "/").await.status(), 200);
}
