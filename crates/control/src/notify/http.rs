//! One POST to a webhook: to an address that was checked, without following where it leads, and reading little.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Url};

use super::Unsent;
use super::address::{self, Names};

/// So much is taken from a receiver, in bytes: many times the longest head that others let through.
const READ_MAX: u64 = 256 << 10;
/// So much of the body of an answer is read, in bytes.
const ANSWER_MAX: usize = 4 << 10;
/// How long that may take after the head of the answer.
const ANSWER: Duration = Duration::from_secs(1);

/// What is sent where.
pub(super) struct Post<'a> {
    pub(super) url: &'a str,
    /// A root certificate in PEM beside the public ones.
    pub(super) root: Option<&'a str>,
    pub(super) allow_private: bool,
    pub(super) names: &'a dyn Names,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Sends it; an answer of 2xx is success.
pub(super) async fn send(post: Post<'_>) -> Result<(), Unsent> {
    // The URL is a secret: no failure shows more of it than its host.
    let url =
        Url::parse(post.url).map_err(|_| Unsent::of("the URL is damaged; add the notification again"))?;
    let secure = match (url.scheme(), post.allow_private) {
        ("https", _) => true,
        ("http", true) => false,
        _ => return Err(Unsent::of("the URL does not begin with https://")),
    };
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(ip)) => ip.to_string(),
        Some(Host::Ipv6(ip)) => ip.to_string(),
        None => return Err(Unsent::of("the URL names no host")),
    };
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses = address::find(post.names, &host, port, post.allow_private).await.map_err(Unsent::of)?;
    let stream = connect(&host, &addresses).await.map_err(Unsent::of)?;
    let request =
        request(&url, &post).ok_or_else(|| Unsent::of("the URL has a part that HTTP cannot carry"))?;
    let answer = if secure {
        let config = config(post.root).map_err(Unsent::of)?;
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| Unsent::of(format!("{host} is no name for TLS")))?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        let secured = secured.map_err(|why| Unsent::of(format!("no TLS with {host}: {why}")))?;
        exchange(secured, request).await
    } else {
        exchange(stream, request).await
    };
    let (answer, said) = answer.map_err(|why| Unsent::of(format!("{host} broke off: {why}")))?;
    judge(&answer, &said)
}

fn request(url: &Url, post: &Post<'_>) -> Option<Request<Full<Bytes>>> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str()?),
        None => url.host_str()?.to_owned(),
    };
    let mut request = Request::post(target).body(Full::from(post.body.clone())).ok()?;
    let headers = request.headers_mut();
    headers.extend(post.headers.clone());
    headers.insert(HOST, HeaderValue::from_str(&host).ok()?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("temps/", env!("CARGO_PKG_VERSION"))));
    Some(request)
}

/// A connection to the first address that takes one.
async fn connect(host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut failure = format!("{host} has no address");
    for address in addresses {
        match tokio::time::timeout(Duration::from_secs(4), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => failure = format!("no connection to {host} ({address}): {why}"),
            Err(_) => failure = format!("no connection to {host} ({address}) in time"),
        }
    }
    Err(failure)
}

/// The public roots of this system, and one more.
fn config(root: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    static PUBLIC: OnceLock<RootCertStore> = OnceLock::new();
    let public = PUBLIC.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store
    });
    let mut roots = public.clone();
    if let Some(pem) = root {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
            added.ok_or("the root certificate is damaged")?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The answer, and the beginning of its body.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(Response<()>, String), hyper::Error> {
    // Beyond that the answer ends, so that one without end, such as of interim answers, costs little.
    let (read, write) = tokio::io::split(stream);
    let stream = tokio::io::join(read.take(READ_MAX), write);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let (head, mut body): (_, Incoming) = sender.send_request(request).await?.into_parts();
    if head.status.is_success() {
        return Ok((Response::from_parts(head, ()), String::new()));
    }
    let mut said = Vec::new();
    // The head tells what became of it; a body that breaks off or stands still changes nothing.
    let read = async {
        while said.len() < ANSWER_MAX {
            let Some(Ok(frame)) = body.frame().await else { break };
            said.extend(frame.data_ref().into_iter().flatten());
        }
    };
    let _ = tokio::time::timeout(ANSWER, read).await;
    Ok((Response::from_parts(head, ()), String::from_utf8_lossy(&said).into_owned()))
}

fn judge(answer: &Response<()>, said: &str) -> Result<(), Unsent> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        return Err(Unsent::of(format!(
            "it answered {status}, and redirects are not followed; add it with the URL that it leads to"
        )));
    }
    let said: String = said.chars().filter(|c| !c.is_control()).collect();
    let said = if said.trim().is_empty() { String::new() } else { format!(": {}", said.trim()) };
    let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let asked = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let after = after.filter(|_| asked).map(Duration::from_secs);
    Err(Unsent { why: format!("it answered {status}{said}"), after })
}
