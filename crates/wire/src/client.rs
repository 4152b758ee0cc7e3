//! Calling a cluster as a person or program with a token.
//!
//! A client knows several endpoints and uses the one that works. A change is sent under one key
//! however often it is tried, so that it takes effect once.

mod error;
mod join;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::MESSAGE_MAX;
use crate::connect::Dialer;
use crate::identity::CLUSTER_NAME;
use crate::proto::temps_client::TempsClient;
use crate::tls;
use crate::token::ApiToken;

pub use error::ClientError;
pub use join::join;

use error::Failure;

/// The metadata key of the idempotency key.
pub const KEY: &str = "temps-key";

/// Time for TCP and TLS together; the cluster may be on another continent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that is silent for two of these is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// How long a call is tried while nodes answer that they have no leader.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a call is tried while no endpoint answers at all.
const PATIENCE_ALONE: Duration = Duration::from_secs(10);

/// The generated client, with token and key added to each request.
pub type Api = TempsClient<InterceptedService<Channel, Credentials>>;

/// A way into a cluster. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    patience: Duration,
}

struct Inner {
    endpoints: Vec<(String, Channel)>,
    authorization: MetadataValue<Ascii>,
    /// The endpoint that worked last.
    preferred: AtomicUsize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.inner.endpoints.iter().map(|(address, _)| address).collect();
        f.debug_struct("Client").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the cluster of `token`. Endpoints are `host:port`, with or without `https://`.
    /// Nothing is connected yet. Has to be called inside a Tokio runtime.
    #[must_use]
    pub fn new(endpoints: Vec<String>, token: &ApiToken) -> Self {
        let tls = tls::pinned_client_config(token.fingerprint()).map_err(|e| e.to_string());
        let channel = |endpoint: String| {
            let dialer = Dialer {
                address: address(&endpoint).to_owned(),
                name: CLUSTER_NAME.to_owned(),
                tls: tls.clone(),
                timeout: CONNECT_TIMEOUT,
            };
            (endpoint, dialer.channel(KEEP_ALIVE))
        };
        let mut authorization: MetadataValue<Ascii> =
            format!("Bearer {}", token.reveal()).parse().expect("a token is ASCII");
        authorization.set_sensitive(true);
        let inner = Inner {
            endpoints: endpoints.into_iter().map(channel).collect(),
            authorization,
            preferred: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner), patience: PATIENCE }
    }

    /// The same client with another limit for how long a call is tried; 30 s unless set.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The endpoint that is used at present.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        let at = self.inner.preferred.load(Ordering::Relaxed) % self.inner.endpoints.len().max(1);
        self.inner.endpoints.get(at).map(|(address, _)| address.as_str())
    }

    /// Asks one node after the other until one answers: under one new idempotency key, and for up to
    /// 30 s over a leader change. `ask` is called once for each try.
    ///
    /// # Errors
    /// [`ClientError`] where no node answered in time, or one refused.
    pub async fn call<T, F, Answer>(&self, ask: F) -> Result<T, ClientError>
    where
        F: Fn(Api) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_with_key(&new_key(), ask).await
    }

    /// As [`Client::call`], with a key of the caller: visible ASCII, at most 128 characters.
    ///
    /// # Errors
    /// [`ClientError`] where no node answered in time, or one refused.
    pub async fn call_with_key<T, F, Answer>(&self, key: &str, ask: F) -> Result<T, ClientError>
    where
        F: Fn(Api) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let key: MetadataValue<Ascii> = key
            .parse()
            .map_err(|_| ClientError::Invalid { why: "an idempotency key is visible ASCII".to_owned() })?;
        let began = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let failure = match self.round(&key, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let patience = match &failure {
                Failure::Final(_) | Failure::Stranger(_) => Duration::ZERO,
                Failure::Transient(ClientError::Unreachable { .. }) => self.patience.min(PATIENCE_ALONE),
                Failure::Transient(_) => self.patience,
            };
            if began.elapsed() + pause > patience {
                return Err(failure.into_error());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Each endpoint once, the preferred one first. Keeps the failure that tells most.
    async fn round<T, F, Answer>(&self, key: &MetadataValue<Ascii>, ask: &F) -> Result<T, Failure>
    where
        F: Fn(Api) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let count = self.inner.endpoints.len();
        let first = self.inner.preferred.load(Ordering::Relaxed);
        let mut worst = None;
        for at in (first..first + count).map(|at| at % count) {
            match ask(self.api(at, key)).await {
                Ok(response) => {
                    self.inner.preferred.store(at, Ordering::Relaxed);
                    return Ok(response.into_inner());
                }
                Err(status) => match Failure::from(status) {
                    Failure::Final(error) => {
                        self.inner.preferred.store(at, Ordering::Relaxed);
                        return Err(Failure::Final(error));
                    }
                    failure => worst = Some(Failure::more_telling(worst, failure)),
                },
            }
        }
        Err(worst.unwrap_or_else(|| {
            Failure::Final(ClientError::Unreachable { why: "no endpoint is known".to_owned() })
        }))
    }

    fn api(&self, at: usize, key: &MetadataValue<Ascii>) -> Api {
        let credentials = Credentials { authorization: self.inner.authorization.clone(), key: key.clone() };
        TempsClient::with_interceptor(self.inner.endpoints[at].1.clone(), credentials)
            .max_decoding_message_size(MESSAGE_MAX)
    }

    /// The preferred endpoint failed while it was used.
    fn turn_away(&self) {
        self.inner.preferred.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds token and key to each request.
#[derive(Clone)]
pub struct Credentials {
    authorization: MetadataValue<Ascii>,
    key: MetadataValue<Ascii>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request.metadata_mut().insert(KEY, self.key.clone());
        Ok(request)
    }
}

/// A new idempotency key.
#[must_use]
pub fn new_key() -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}

fn address(endpoint: &str) -> &str {
    let address = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    address.strip_suffix('/').unwrap_or(address)
}

#[cfg(test)]
mod tests;
