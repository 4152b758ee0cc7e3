use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SerialNumber};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use temps_core::command::{Certify, Command};
use temps_core::model::{
    Acme, Certificate, CertificateFrom, CertificateId, ClusterState, Millis, NodeId, Opaque,
};
use temps_ledger::{Ledger, MemoryLedger, wall};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Certifier, Vault, pause};
use crate::tests::write;

const DAY: Millis = 24 * 60 * 60 * 1_000;

/// Seals nothing.
struct Glass;

impl Vault for Glass {
    fn issued(&self, _: &str, _: &str) -> Result<Certificate, String> {
        Err("nothing is issued here".to_owned())
    }

    fn seal_account(&self, account: &str) -> Result<Opaque, String> {
        Ok(Opaque(account.to_owned()))
    }

    fn open_account(&self, sealed: &Opaque) -> Result<String, String> {
        Ok(sealed.0.clone())
    }
}

/// A server of ACME that has accounts, tells when a certificate should be renewed, and gives none. Orders are told.
struct Server {
    port: u16,
    root: String,
    orders: mpsc::UnboundedReceiver<Value>,
    asked: mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// `window`: between which days from now a certificate is to be renewed.
    async fn start(window: (i64, i64)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (chain, key) = (own.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (ordered, orders) = mpsc::unbounded_channel();
        let (asking, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, ordered, asking) = (acceptor.clone(), ordered.clone(), asking.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let mut stream = BufStream::new(stream);
                    while let Some((path, body)) = request(&mut stream).await {
                        let answer = answer(port, window, &path, &body, &ordered, &asking);
                        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err()
                        {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, root: own.pem(), orders, asked }
    }

    fn acme(&self) -> Acme {
        let directory = format!("https://localhost:{}/directory", self.port);
        Acme { directory, contact: None, root: Some(self.root.clone()), account: None }
    }
}

async fn request<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
) -> Option<(String, String)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((path, String::from_utf8(body).ok()?))
}

fn answer(
    port: u16,
    window: (i64, i64),
    path: &str,
    body: &str,
    ordered: &mpsc::UnboundedSender<Value>,
    asking: &mpsc::UnboundedSender<String>,
) -> String {
    let at = |path: &str| format!("https://localhost:{port}/{path}");
    let date = |days: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let (status, body) = match path {
        "/directory" => (
            "200 OK",
            json!({
                "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
                "renewalInfo": at("renewal"),
            }),
        ),
        "/nonce" => ("200 OK", json!({})),
        "/account" => ("201 Created", json!({ "status": "valid" })),
        "/order" => {
            let jws: Value = serde_json::from_str(body).unwrap();
            let _ = ordered.send(payload(jws["payload"].as_str().unwrap()));
            (
                "403 Forbidden",
                json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": "not today" }),
            )
        }
        path => {
            let _ = asking.send(path.to_owned());
            let (start, end) = (date(window.0), date(window.1));
            ("200 OK", json!({ "suggestedWindow": { "start": start, "end": end } }))
        }
    };
    let body = body.to_string();
    // The answer to a HEAD has no body.
    let body = if path == "/nonce" { "" } else { body.as_str() };
    format!(
        "HTTP/1.1 {status}\r\nReplay-Nonce: bm9uY2U\r\nLocation: {}\r\nRetry-After: 3600\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        at("account/1"),
        body.len()
    )
}

/// What was signed.
fn payload(text: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// A certificate that has 60 of its 90 days, and what the server calls it: the key of its issuer and its number.
fn certificate(name: &str) -> (Certificate, String) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(b"issuer".to_vec());
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from_slice(&[0x07, 0x08, 0x09]));
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap();
    let now = wall();
    let certificate = Certificate {
        names: [name.to_owned()].into(),
        chain: leaf.pem(),
        key: Opaque("sealed".to_owned()),
        not_before: now - 30 * DAY,
        not_after: now + 60 * DAY,
        renew_at: now + 30 * DAY,
        issuer: "a CA".to_owned(),
        from: CertificateFrom::Acme,
    };
    // RFC 9773: both in base64url.
    (certificate, "aXNzdWVy.BwgJ".to_owned())
}

/// A cluster with a certificate for shop.example.com, ordered from the server.
async fn cluster(server: &Server) -> (Arc<MemoryLedger>, String) {
    let ledger = Arc::new(MemoryLedger::new(NodeId(1), ClusterState::default()));
    write(&ledger, Command::Found { domain: "localhost".to_owned(), token_hash: "00".to_owned() }).await;
    let (certificate, id) = certificate("shop.example.com");
    let [project, environment, name] = ["shop", "production", "shop.example.com"].map(str::to_owned);
    write(&ledger, Command::AddDomain { project, environment, name }).await;
    write(&ledger, Command::SetAcme { acme: Some(server.acme()) }).await;
    write(&ledger, Command::Certify(Certify::Issued(certificate))).await;
    (ledger, id)
}

fn certify(ledger: &Arc<MemoryLedger>) -> (tempfile::TempDir, CancellationToken) {
    // It can only be installed already by another test.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let data = tempfile::tempdir().unwrap();
    let (shutdown, path) = (CancellationToken::new(), PathBuf::from(data.path()));
    let certifier = Certifier::new(Arc::clone(ledger) as Arc<dyn Ledger>, Arc::new(Glass), path);
    tokio::spawn(certifier.run(shutdown.clone()));
    (data, shutdown)
}

#[tokio::test]
async fn a_certificate_is_renewed_when_its_server_wants_that() {
    let mut server = Server::start((10, 12)).await;
    let (ledger, id) = cluster(&server).await;
    let (_data, shutdown) = certify(&ledger);
    let mut changes = ledger.changes();
    let before = wall();
    let moved = changes.wait_for(|_| {
        let at = ledger.state().tls.certificates[&CertificateId(1)].renew_at;
        at >= before + 9 * DAY && at <= before + 13 * DAY
    });
    tokio::time::timeout(Duration::from_secs(20), moved).await.unwrap().unwrap();
    assert_eq!(server.asked.recv().await.unwrap(), format!("/renewal/{id}"));
    assert!(server.orders.try_recv().is_err(), "it is not time yet");
    shutdown.cancel();
}

#[tokio::test]
async fn a_certificate_that_its_server_recalls_is_replaced_at_once() {
    let mut server = Server::start((-2, -1)).await;
    let (ledger, id) = cluster(&server).await;
    let (_data, shutdown) = certify(&ledger);
    let order = tokio::time::timeout(Duration::from_secs(20), server.orders.recv()).await.unwrap().unwrap();
    assert_eq!(order["replaces"], json!(id));
    assert_eq!(order["identifiers"][0]["value"], json!("shop.example.com"));
    // A server that has forgotten the one before is asked without it.
    let order = tokio::time::timeout(Duration::from_secs(20), server.orders.recv()).await.unwrap().unwrap();
    assert_eq!(order["replaces"], Value::Null);
    let mut changes = ledger.changes();
    let told = changes.wait_for(|_| {
        let state = ledger.state();
        state.tls.orders.get("shop.example.com").is_some_and(|order| order.failure.is_some())
    });
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap().unwrap();
    let state = ledger.state();
    assert_eq!(state.tls.orders["shop.example.com"].failure.as_deref(), Some("not today"));
    assert_eq!(state.tls.certificates.len(), 1, "the one before serves on");
    shutdown.cancel();
}

#[test]
fn no_hour_sees_more_tries_than_servers_allow() {
    let hour = 3_600_000;
    let mut at = 0;
    let mut tries = vec![0];
    for attempts in 0..6 {
        at += pause(attempts, false);
        tries.push(at);
    }
    for start in &tries {
        let within = tries.iter().filter(|at| (*start..start + hour).contains(*at)).count();
        assert!(within * 2 <= 5, "{within} tries from {start} on");
    }
    assert!(pause(0, true) >= 2 * hour);
}
