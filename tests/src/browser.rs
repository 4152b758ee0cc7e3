//! A single client that asks one thing after another, on one connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

use crate::check;
use crate::trouble::{Context, Result, Trouble};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client with one connection, which is never opened again.
#[derive(Debug)]
pub struct Browser {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    host: String,
    shown: Vec<u8>,
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // The next request tells that it is closed.
        let _ = connection.await;
    });
    Ok(sender)
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// Its headers, by lower-case name; the last one of each name.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Bytes,
}

impl Browser {
    /// Connects to an edge; every request has this Host.
    ///
    /// # Errors
    /// When the edge does not listen.
    pub fn open(edge: SocketAddr, host: &str) -> Result<Self> {
        // One worker drives the connection while nobody asks.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let sender = runtime.block_on(async { speak(TcpStream::connect(edge).await?).await })?;
        Ok(Self { runtime, sender, host: host.to_owned(), shown: Vec::new() })
    }

    /// Connects with TLS; only what this root (in PEM) has signed is trusted.
    ///
    /// # Errors
    /// When the edge does not listen, or shows another certificate or none.
    pub fn open_secure(edge: SocketAddr, host: &str, root: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let root =
            CertificateDer::from_pem_slice(root.as_bytes()).map_err(|e| Trouble::new(format!("{e:?}")))?;
        roots.add(root)?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (sender, shown) = runtime.block_on(async {
            let stream = TcpStream::connect(edge).await?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            let shown =
                stream.get_ref().1.peer_certificates().and_then(|chain| Some(chain.first()?.to_vec()));
            Ok::<_, Trouble>((speak(stream).await?, shown.unwrap_or_default()))
        })?;
        Ok(Self { runtime, sender, host: host.to_owned(), shown })
    }

    /// The certificate that it was shown, in DER; nothing without TLS.
    #[must_use]
    pub fn shown(&self) -> &[u8] {
        &self.shown
    }

    /// Whether the connection is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Asks for a page.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&mut self, path: &str) -> Result<Page> {
        self.ask(Method::GET, path, &[], "")
    }

    /// Asks for a page that goes on, and returns when its head has come.
    ///
    /// # Errors
    /// When there is no answer, or another one than 200.
    pub fn listen(mut self, path: &str) -> Result<Stream> {
        let request = Request::builder().uri(path).header(header::HOST, &self.host);
        let request = request.body(Full::new(Bytes::new()))?;
        let sender = &mut self.sender;
        let asked = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, sender.send_request(request)).await });
        let (head, body) = asked.context(path)?.context(path)?.into_parts();
        check!(head.status == StatusCode::OK, "{path} answers {}", head.status);
        Ok(Stream { browser: self, body })
    }

    /// Asks with any method, more headers and a body.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Page> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned())))?;
        let sender = &mut self.sender;
        let asked = self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, async {
                sender.ready().await?;
                let (head, body) = sender.send_request(request).await?.into_parts();
                Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
            })
            .await
        });
        let (head, body) = asked.context(path)?.context(path)?;
        let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Page { status: head.status.as_u16(), headers, body })
    }
}

/// An answer that goes on: its head has come.
#[derive(Debug)]
pub struct Stream {
    browser: Browser,
    body: Incoming,
}

impl Stream {
    /// Reads to the end.
    ///
    /// # Errors
    /// When it does not end as an answer ends, or not in time.
    pub fn to_end(self) -> Result<Bytes> {
        let Self { browser, body } = self;
        let read = browser.runtime.block_on(async { tokio::time::timeout(PATIENCE, body.collect()).await });
        Ok(read.context("the stream")?.context("the stream")?.to_bytes())
    }
}

impl Page {
    /// A header, or an empty text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The version that answered, or an empty text.
    #[must_use]
    pub fn version(&self) -> &str {
        self.header("x-version")
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks for one page on a connection of its own.
///
/// # Errors
/// When there is no answer.
pub fn get(edge: SocketAddr, host: &str, path: &str) -> Result<Page> {
    Browser::open(edge, host)?.get(path)
}
