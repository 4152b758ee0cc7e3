//! What each path answers.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};

use crate::busy::{BrokenOff, Busy, Held};
use crate::journal::Journal;
use crate::notes::Notes;
use crate::settings::Settings;
use crate::socket;

/// The application.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) journal: Journal,
    effects: Option<Notes>,
    started: Instant,
    health_checks: AtomicU64,
    requests: AtomicU64,
    broken: AtomicU64,
    in_flight: Arc<AtomicU64>,
    terminated: AtomicBool,
}

impl App {
    pub(crate) fn new(settings: Settings, journal: Journal) -> Self {
        Self {
            effects: settings.count_to.map(Notes::to),
            settings,
            journal,
            started: Instant::now(),
            health_checks: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            in_flight: Arc::default(),
            terminated: AtomicBool::new(false),
        }
    }

    /// SIGTERM was received.
    pub(crate) fn terminate(&self) {
        self.terminated.store(true, Ordering::SeqCst);
        let in_flight = self.in_flight.load(Ordering::SeqCst);
        self.journal.line(&format!("SIGTERM with {in_flight} requests in flight"));
    }

    /// Answers one request; `busy` is held until the answer's body is sent or dropped.
    pub(crate) async fn answer(&self, request: Request<Incoming>, mut busy: Busy) -> Response<Held> {
        let path = request.uri().path().to_owned();
        let is_check = path == "/up";
        if !is_check {
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            busy.counters.push(Arc::clone(&self.in_flight));
            if self.terminated.load(Ordering::SeqCst) {
                self.journal.line(&format!("LATE {} {}", request.method(), request.uri()));
            }
        }
        if !is_check {
            tokio::time::sleep(self.settings.answer_after).await;
        }
        let mut response = match (request.method(), path.as_str()) {
            (_, "/up") => self.health(request.headers()).await,
            (_, "/") if !self.is_well() => self.health(request.headers()).await,
            _ if draws(&self.broken, self.settings.reset_percent) => broken(),
            _ if draws(&self.requests, self.settings.error_percent) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "unlucky".to_owned())
            }
            (&Method::GET, "/ws") => {
                let response = socket::upgrade(request, self.settings.version.clone(), busy);
                return self.signed(response);
            }
            (_, path) => self.page(path, request).await,
        };
        response.body_mut().busy = Some(busy);
        self.signed(response)
    }

    async fn page(&self, path: &str, request: Request<Incoming>) -> Response<Held> {
        let settings = &self.settings;
        match (request.method(), path) {
            (&Method::GET, "/") => text(
                StatusCode::OK,
                format!("hello from {} ({} on {})", settings.version, settings.instance, settings.node),
            ),
            (&Method::GET, "/slow") => {
                let ms = query(&request, "ms").unwrap_or(2_000);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                text(StatusCode::OK, format!("slept {ms} ms in {}", settings.version))
            }
            (&Method::GET, "/bytes") => {
                let n = query(&request, "n").unwrap_or(102_400).min(1 << 30);
                bytes(Bytes::from_iter((0..n).map(pattern)))
            }
            (&Method::GET, "/sse") => events(settings.version.clone()),
            (&Method::GET, "/env") => json(&std::env::vars_os().map(lossy).collect()),
            (_, "/headers") => json(&request.headers().iter().map(printable).collect()),
            (&Method::POST, "/echo") => answer(request.into_body().map_err(Into::into).boxed_unsync()),
            (&Method::POST, "/count") => self.count(request.headers()),
            (&Method::GET, "/file") => self.read_file(),
            (&Method::POST, "/file") => self.append_to_file(request.into_body()).await,
            (&Method::POST, "/flood") => flood(query(&request, "mb").unwrap_or(1).min(1_000)),
            _ => text(StatusCode::NOT_FOUND, "no such page".to_owned()),
        }
    }

    fn is_well(&self) -> bool {
        self.settings.health_status == StatusCode::OK && self.started.elapsed() >= self.settings.warm_up
    }

    async fn health(&self, headers: &HeaderMap) -> Response<Held> {
        let settings = &self.settings;
        let number = self.health_checks.fetch_add(1, Ordering::SeqCst);
        if let (0, Some(time)) = (number, settings.first_slow) {
            tokio::time::sleep(time).await;
        }
        if let Some(wanted) = &settings.health_host {
            let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
            if !host.eq_ignore_ascii_case(wanted) {
                return text(StatusCode::BAD_REQUEST, format!("not a host of mine: {host}"));
            }
        }
        if self.started.elapsed() < settings.warm_up {
            return text(StatusCode::SERVICE_UNAVAILABLE, "warming up".to_owned());
        }
        let status = settings.health_status;
        let mut response = match status.as_u16() {
            204 | 304 => bytes(Bytes::new()),
            _ => text(status, format!("health of {}: {status}", settings.version)),
        };
        *response.status_mut() = status;
        if let Some(location) = settings.location.as_ref().and_then(|l| HeaderValue::try_from(l).ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }

    /// Tells the request's id to whoever counts effects.
    fn count(&self, headers: &HeaderMap) -> Response<Held> {
        let id = headers.get("x-number").and_then(|id| id.to_str().ok()).unwrap_or("-");
        match self.effects.as_ref().map(|effects| effects.tell(id)) {
            Some(Ok(())) => text(StatusCode::OK, id.to_owned()),
            Some(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            None => text(StatusCode::NOT_FOUND, "COUNT_TO is not set".to_owned()),
        }
    }

    fn read_file(&self) -> Response<Held> {
        let Some(path) = &self.settings.file else {
            return text(StatusCode::NOT_FOUND, "FILE is not set".to_owned());
        };
        match std::fs::read(path) {
            Ok(content) => bytes(Bytes::from(content)),
            Err(error) => text(StatusCode::NOT_FOUND, error.to_string()),
        }
    }

    async fn append_to_file(&self, body: Incoming) -> Response<Held> {
        let Some(path) = &self.settings.file else {
            return text(StatusCode::NOT_FOUND, "FILE is not set".to_owned());
        };
        let content = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let written = opened.and_then(|mut file| {
            file.write_all(&content)?;
            file.sync_all()
        });
        match written {
            Ok(()) => text(StatusCode::OK, String::new()),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// Says who answered.
    fn signed(&self, mut response: Response<Held>) -> Response<Held> {
        let names = [
            ("x-version", self.settings.version.clone()),
            ("x-instance", self.settings.instance.clone()),
            ("x-node", self.settings.node.clone()),
            ("x-project", self.settings.project.clone()),
            ("x-build", self.settings.build.clone()),
            ("x-pid", std::process::id().to_string()),
        ];
        for (name, value) in names {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// A plain text answer.
pub(crate) fn text(status: StatusCode, text: String) -> Response<Held> {
    let mut response = bytes(Bytes::from(text));
    *response.status_mut() = status;
    response
}

fn answer(inner: UnsyncBoxBody<Bytes, BrokenOff>) -> Response<Held> {
    Response::new(Held { inner, busy: None })
}

fn bytes(body: Bytes) -> Response<Held> {
    answer(Full::new(body).map_err(never).boxed_unsync())
}

fn json(names: &serde_json::Map<String, serde_json::Value>) -> Response<Held> {
    // A map of strings always has a JSON form.
    let mut response = bytes(Bytes::from(serde_json::to_vec(names).unwrap_or_default()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Spreads a percentage evenly over what is counted.
fn draws(counter: &AtomicU64, percent: u64) -> bool {
    let n = counter.fetch_add(1, Ordering::SeqCst);
    (n * percent) / 100 != ((n + 1) * percent) / 100
}

/// An answer that breaks off in the middle.
fn broken() -> Response<Held> {
    let parts = [Ok(Frame::data(Bytes::from_static(b"half of"))), Err("broken off".into())];
    answer(StreamBody::new(stream::iter(parts)).boxed_unsync())
}

/// One event at once, then one each second, until the client leaves.
fn events(version: String) -> Response<Held> {
    let events = stream::unfold(0_u64, move |n| {
        let event = format!("id: {n}\ndata: {version}\n\n");
        async move {
            if n > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Some((Ok(Frame::data(Bytes::from(event))), n + 1))
        }
    });
    let mut response = answer(StreamBody::new(events).boxed_unsync());
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Fills the log with this many MiB.
fn flood(mb: u64) -> Response<Held> {
    let line = format!("{}\n", "flood ".repeat(170));
    let lines = (mb << 20) / u64::try_from(line.len()).unwrap_or(1_024);
    for _ in 0..lines {
        if let Err(error) = std::io::stderr().write_all(line.as_bytes()) {
            return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        }
    }
    text(StatusCode::OK, format!("{lines} lines"))
}

/// The byte at place `n` of `/bytes`.
fn pattern(n: u64) -> u8 {
    b'a' + (n % 26) as u8
}

fn query(request: &Request<Incoming>, name: &str) -> Option<u64> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name)?.1.parse().ok()
}

fn lossy((name, value): (std::ffi::OsString, std::ffi::OsString)) -> (String, serde_json::Value) {
    (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned().into())
}

fn printable((name, value): (&HeaderName, &HeaderValue)) -> (String, serde_json::Value) {
    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
}

fn never(never: Infallible) -> BrokenOff {
    match never {}
}
