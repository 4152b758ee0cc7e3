//! Certificates for hosts, and clients that come with TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Authority, within};

/// An answer with its whole body.
pub(crate) type Read = Response<String>;

/// A connection with TLS, of HTTP/1 or HTTP/2.
pub(crate) enum Secure {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

/// The start of a connection, as a client that trusts `authority` and offers these protocols sees it.
pub(crate) async fn shake(
    at: SocketAddr,
    authority: &Authority,
    host: &str,
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(at).await?;
    let host = ServerName::try_from(host.to_owned()).unwrap();
    within("a handshake", TlsConnector::from(Arc::new(config)).connect(host, stream)).await
}

/// What a server of ACME sees that asks for a proof by TLS; it trusts nobody, and looks at the certificate itself.
pub(crate) async fn shake_for_proof(stream: TcpStream, host: &str) -> io::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let stream = within("a handshake", TlsConnector::from(Arc::new(config)).connect(host, stream)).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    Ok(shown(&stream))
}

/// Takes any certificate.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that a connection was shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

impl Secure {
    pub(crate) async fn connect(at: SocketAddr, authority: &Authority, host: &str, protocol: &str) -> Self {
        let stream = shake(at, authority, host, &[protocol]).await.expect("a certificate that is trusted");
        let agreed = stream.get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(protocol.as_bytes()), "the protocol is agreed on");
        let io = TokioIo::new(stream);
        if protocol == "h2" {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Self::Two(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::One(sender)
        }
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Read {
        let request = Request::builder();
        let answer = within("an answer", async {
            match self {
                Self::One(sender) => {
                    let request = request.uri(path).header("host", host);
                    sender.ready().await?;
                    sender.send_request(request.body(Empty::new()).unwrap()).await
                }
                Self::Two(sender) => {
                    let request = request.uri(format!("https://{host}{path}"));
                    sender.ready().await?;
                    sender.send_request(request.body(Empty::new()).unwrap()).await
                }
            }
        });
        let (parts, body) = answer.await.unwrap().into_parts();
        let body = within("a body", body.collect()).await.unwrap().to_bytes();
        Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
    }
}
