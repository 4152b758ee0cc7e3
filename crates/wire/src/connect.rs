//! Connections for gRPC channels: TCP without delay, TLS, and one deadline for both.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Nobody answered in time.
    #[error("{address} does not answer")]
    Silent { address: String },
    /// The address cannot be reached.
    #[error("cannot connect to {address}: {source}")]
    Refused { address: String, source: io::Error },
    /// It has a certificate of another cluster, or none that is valid for the name.
    #[error("{address} is not who it should be: {why}")]
    Stranger { address: String, why: String },
    /// This side cannot do TLS.
    #[error("cannot set up TLS: {0}")]
    Unusable(String),
}

/// Opens connections to one address.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) address: String,
    /// The name that the server's certificate must carry.
    pub(crate) name: String,
    /// Or why there is none, so that whoever makes a channel needs no error.
    pub(crate) tls: Result<Arc<ClientConfig>, String>,
    pub(crate) timeout: Duration,
}

impl Dialer {
    /// A channel that connects when it is first used, and again whenever its connection is lost.
    /// A connection that is silent for two intervals of `keep_alive` is lost.
    pub(crate) fn channel(self, keep_alive: Duration) -> Channel {
        // The host is only a name in requests; the dialer knows where to connect.
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.name.as_str())
            .path_and_query("/")
            .build()
            .expect("names of nodes are host names");
        Endpoint::from(uri)
            .http2_keep_alive_interval(keep_alive)
            .keep_alive_timeout(keep_alive)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024)
            .connect_with_connector_lazy(self)
    }

    async fn dial(self) -> Result<TokioIo<TlsStream<TcpStream>>, DialError> {
        let address = self.address;
        let tls = self.tls.map_err(DialError::Unusable)?;
        let name = ServerName::try_from(self.name).map_err(|e| DialError::Unusable(e.to_string()))?;
        let connect = async {
            let tcp = TcpStream::connect(&address).await?;
            tcp.set_nodelay(true)?;
            TlsConnector::from(tls).connect(name, tcp).await
        };
        match tokio::time::timeout(self.timeout, connect).await {
            Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
            Ok(Err(source)) => Err(refusal(address, source)),
            Err(_) => Err(DialError::Silent { address }),
        }
    }
}

fn refusal(address: String, source: io::Error) -> DialError {
    match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            DialError::Stranger { address, why: format!("its certificate is not valid here ({why})") }
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            DialError::Stranger { address, why: "it has no certificate".to_owned() }
        }
        _ => DialError::Refused { address, source },
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}
