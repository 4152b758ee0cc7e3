//! Receivers on loopback: of HTTP, and of mail.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::PrivateKeyDer;
use temps_core::model::MailSecurity;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// So much of a request is read, in bytes.
const BODY_MAX: usize = 64 << 10;

/// A certificate for a name by an authority of its own, and that authority in PEM.
pub(super) fn authority(name: &str) -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(own.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (Arc::new(config), root)
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// The status of the answer, once there is one.
    pub(super) answered: Option<u16>,
}

/// A status and what is said with it.
type Answer = (u16, &'static str);
/// Answers the n-th request, from 0, in its own time.
type Script = Box<dyn Fn(usize) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

fn at_once(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Script {
    Box::new(move |number| Box::pin(std::future::ready(script(number))))
}

struct Shared {
    script: Script,
    seen: watch::Sender<Vec<Seen>>,
    connections: AtomicUsize,
    leads_to: Mutex<Option<String>>,
}

/// A web server that writes down what it is sent.
pub(super) struct Hook {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Hook {
    pub(super) async fn start(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::open(None, at_once(script)).await
    }

    /// One that may take its time.
    pub(super) async fn start_slow<F>(script: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::open(None, Box::new(move |number| Box::pin(script(number)))).await
    }

    pub(super) async fn start_secure(
        config: Arc<ServerConfig>,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::open(Some(TlsAcceptor::from(config)), at_once(script)).await
    }

    async fn open(tls: Option<TlsAcceptor>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            seen: watch::Sender::new(Vec::new()),
            connections: AtomicUsize::new(0),
            leads_to: Mutex::new(None),
        });
        let all = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                all.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, tls) = (Arc::clone(&all), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, shared).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, shared).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, shared }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Answers name this place from now on.
    pub(super) fn leads_to(&self, url: &str) {
        *self.shared.leads_to.lock().unwrap() = Some(url.to_owned());
    }

    /// Returns once so many requests arrived.
    pub(super) async fn reached(&self, count: usize) {
        self.shared.seen.subscribe().wait_for(|seen| seen.len() >= count).await.unwrap();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Arc<Shared>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (head, body) = request.into_parts();
            let body = Limited::new(body, BODY_MAX)
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            let target = head.uri.to_string();
            let body = String::from_utf8(body.to_vec()).unwrap();
            let mut number = 0;
            shared.seen.send_modify(|seen| {
                number = seen.len();
                seen.push(Seen { target, headers: head.headers, body, answered: None });
            });
            let (status, text) = (shared.script)(number).await;
            shared.seen.send_modify(|seen| seen[number].answered = Some(status));
            let mut response = Response::builder().status(status);
            if let Some(url) = &*shared.leads_to.lock().unwrap() {
                response = response.header("location", url);
            }
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(text.as_bytes()))).unwrap())
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// A mail as it arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Mail {
    pub(super) login: Option<String>,
    pub(super) to: Vec<String>,
    pub(super) text: String,
}

/// A mail server that takes everything.
pub(super) struct Mailbox {
    pub(super) address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Mailbox {
    pub(super) async fn start(security: MailSecurity, config: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&mails);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (mails, tls) = (Arc::clone(&all), config.clone().map(TlsAcceptor::from));
                // A client that breaks off is the test's concern.
                tokio::spawn(async move {
                    let _ = match (security, tls) {
                        (MailSecurity::Tls, Some(tls)) => {
                            converse(tls.accept(stream).await?, true, &mails).await
                        }
                        (MailSecurity::Starttls, Some(tls)) => {
                            let mut stream = BufReader::new(stream);
                            say(&mut stream, "220 test").await?;
                            hear(&mut stream).await?;
                            say(&mut stream, "250-test\r\n250 STARTTLS").await?;
                            hear(&mut stream).await?;
                            say(&mut stream, "220 go on").await?;
                            converse(tls.accept(stream.into_inner()).await?, false, &mails).await
                        }
                        (_, _) => converse(stream, true, &mails).await,
                    };
                    std::io::Result::Ok(())
                });
            }
        });
        Self { address, mails }
    }

    pub(super) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, line: &str) -> std::io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    stream.flush().await
}

async fn hear<S: AsyncBufReadExt + Unpin>(stream: &mut S) -> std::io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if line.is_empty() {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(line.trim_end().to_owned())
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    greets: bool,
    mails: &Mutex<Vec<Mail>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut mail = Mail::default();
    if greets {
        say(&mut stream, "220 test").await?;
    }
    loop {
        let line = hear(&mut stream).await?;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "EHLO" => say(&mut stream, "250-test\r\n250 AUTH PLAIN").await?,
            "AUTH" => {
                let login = STANDARD.decode(rest.trim_start_matches("PLAIN ")).unwrap();
                mail.login = Some(String::from_utf8(login).unwrap());
                say(&mut stream, "235 welcome").await?;
            }
            "RCPT" => {
                mail.to.push(rest.trim_start_matches("TO:").to_owned());
                say(&mut stream, "250 ok").await?;
            }
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                loop {
                    let line = hear(&mut stream).await?;
                    if line == "." {
                        break;
                    }
                    mail.text.push_str(&line);
                    mail.text.push('\n');
                }
                mails.lock().unwrap().push(std::mem::take(&mut mail));
                say(&mut stream, "250 ok").await?;
            }
            "QUIT" => return say(&mut stream, "221 bye").await,
            _ => say(&mut stream, "250 ok").await?,
        }
    }
}
