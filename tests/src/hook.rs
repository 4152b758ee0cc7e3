//! A web server that writes down what it is sent, on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::trouble::Result;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its header `webhook-id`.
    pub id: String,
    /// Its header `webhook-signature`.
    pub signature: String,
    /// Its body; null where that is no JSON.
    pub body: Value,
}

/// Receives webhooks until it is dropped.
#[derive(Debug)]
pub struct Hook {
    /// Where.
    pub address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    _ends: DropGuard,
}

impl Hook {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let (all, end) = (Arc::clone(&told), CancellationToken::new());
        let ends = end.clone().drop_guard();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = end.cancelled() => {}
                    () = accept(listener, all) => {}
                }
            });
        });
        Ok(Self { address, told, _ends: ends })
    }

    /// What it was told until now, in order.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, told: Arc<Mutex<Vec<Told>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let told = Arc::clone(&told);
        let answer = service_fn(move |request: Request<Incoming>| {
            let told = Arc::clone(&told);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let header = |name: &str| {
                    let value = head.headers.get(name).and_then(|value| value.to_str().ok());
                    value.unwrap_or_default().to_owned()
                };
                let one = Told {
                    id: header("webhook-id"),
                    signature: header("webhook-signature"),
                    body: serde_json::from_slice(&body).unwrap_or_default(),
                };
                told.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }
        });
        let serving =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(serving);
    }
}
