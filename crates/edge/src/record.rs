//! One request, as the log tells it: a line of JSON at its end.
//!
//! The fields are stable, and each line has them all; what is not known is `null`.
//!
//! | field | |
//! |---|---|
//! | `time` | when it ended: RFC 3339, UTC, to the millisecond |
//! | `request_id` | as the application and the client were told it |
//! | `client` | the address of the client, as the application was told it in `X-Real-IP` |
//! | `method`, `host` | as the client wrote them |
//! | `path` | without the query, where secrets may be |
//! | `status` | `null`: the client left before it was answered |
//! | `bytes_in`, `bytes_out` | of the bodies of request and answer, or of both ways of a tunnel |
//! | `duration_ms` | from the end of the request's head to the end of the answer, or of the tunnel |
//! | `first_byte_ms` | to the head of the answer |
//! | `environment`, `release`, `instance`, `node` | who answered, as numbers; `null` but for the environment where no application did |
//! | `protocol` | `HTTP/1.1` for example, of the client |
//! | `user_agent` | |
//! | `retries` | tries that failed before |
//! | `error` | why no application answered, or why the answer is not whole |
//! | `dropped` | only where it is not 0: so many lines before this one were not written |
//!
//! What a client may choose freely is cut where it is too long; what is not UTF-8 in it becomes `U+FFFD`.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use temps_core::model::{EnvironmentId, InstanceId, NodeId, ReleaseId};

use crate::call::Call;
use crate::client::Client;
use crate::log::Log;
use crate::told::REAL_IP;

/// What a client may choose freely is cut to so many bytes.
const METHOD: usize = 32;
const NAME: usize = 256;
const PATH: usize = 2048;

/// A line of the log.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    #[serde(serialize_with = "rfc3339")]
    pub(crate) time: SystemTime,
    pub(crate) request_id: String,
    pub(crate) client: String,
    pub(crate) method: String,
    pub(crate) host: Option<String>,
    pub(crate) path: String,
    pub(crate) status: Option<u16>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration_ms: f64,
    pub(crate) first_byte_ms: Option<f64>,
    pub(crate) environment: Option<EnvironmentId>,
    pub(crate) release: Option<ReleaseId>,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) node: Option<NodeId>,
    pub(crate) protocol: String,
    pub(crate) user_agent: Option<String>,
    pub(crate) retries: u32,
    pub(crate) error: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) dropped: u64,
}

// Serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let time = Timestamp::try_from(*time).map_err(serde::ser::Error::custom)?;
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// A request under way. Its line is written when this is dropped: when nobody has to do with it any more.
#[derive(Debug)]
pub(crate) struct Record {
    log: Log,
    begun: Instant,
    /// Only taken at the end.
    line: RefCell<Option<Box<Line>>>,
    received: RefCell<Option<Rc<Cell<u64>>>>,
    /// The answer was passed on to its end.
    whole: Cell<bool>,
}

impl Record {
    pub(crate) fn begin<B>(log: &Log, client: &Client, id: &HeaderValue, request: &Request<B>) -> Rc<Self> {
        let line = Line {
            time: SystemTime::UNIX_EPOCH,
            request_id: cut(id.as_bytes(), NAME),
            client: cut(client.address.as_bytes(), NAME),
            method: cut(request.method().as_str().as_bytes(), METHOD),
            host: match request.uri().authority() {
                Some(authority) => Some(cut(authority.as_str().as_bytes(), NAME)),
                None => request.headers().get(HOST).map(|host| cut(host.as_bytes(), NAME)),
            },
            path: cut(request.uri().path().as_bytes(), PATH),
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            duration_ms: 0.0,
            first_byte_ms: None,
            environment: None,
            release: None,
            instance: None,
            node: None,
            protocol: format!("{:?}", request.version()),
            user_agent: request.headers().get(USER_AGENT).map(|agent| cut(agent.as_bytes(), NAME)),
            retries: 0,
            error: None,
            dropped: 0,
        };
        Rc::new(Self {
            log: log.clone(),
            begun: Instant::now(),
            line: RefCell::new(Some(Box::new(line))),
            received: RefCell::default(),
            whole: Cell::new(false),
        })
    }

    /// Notes something.
    pub(crate) fn note(&self, what: impl FnOnce(&mut Line)) {
        if let Some(line) = self.line.borrow_mut().as_mut() {
            what(line);
        }
    }

    /// It is about to be sent to applications.
    pub(crate) fn sent_on(&self, call: &mut Call) {
        call.is_logged = true;
        *self.received.borrow_mut() = call.upload.as_ref().map(|upload| upload.received());
        if let Some(address) = call.headers.get(REAL_IP) {
            self.note(|line| line.client = cut(address.as_bytes(), NAME));
        }
    }

    pub(crate) fn begin_answer(&self, status: StatusCode) {
        let time = ms(self.begun);
        self.note(|line| {
            line.status = Some(status.as_u16());
            line.first_byte_ms = Some(time);
        });
    }

    /// The answer, or the tunnel, has come to its end.
    pub(crate) fn end(&self) {
        self.whole.set(true);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(mut line) = self.line.borrow_mut().take() else { return };
        line.time = SystemTime::now();
        line.duration_ms = ms(self.begun);
        line.bytes_in += self.received.borrow().as_ref().map_or(0, |received| received.get());
        if !self.whole.get() && line.error.is_none() {
            line.error = Some("the client left".into());
        }
        self.log.write(line);
    }
}

/// With three digits behind the point.
fn ms(since: Instant) -> f64 {
    let us = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
    f64::from(us) / 1000.0
}

fn cut(bytes: &[u8], most: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
}
