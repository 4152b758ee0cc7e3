//! What the edge itself answers, where no application does.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::asked::Refusal;
use crate::body::Answer;
use crate::client::Active;
use crate::count::Fault;
use crate::head::{CUT, FAILED, NOT_HERE, ONCE};

/// Why the edge answers in an application's place.
#[derive(Debug)]
pub(crate) enum Why {
    /// The request is not one that we understand.
    Refused(Refusal),
    /// No table was received yet.
    NotReady,
    /// No application has this host and path.
    Unknown,
    /// Nobody is there to answer; nothing was sent to an application.
    NoInstance(String),
    /// An application may have received it and gave no answer.
    Lost(String),
    /// The application changed the protocol though nobody asked.
    BadUpgrade,
    /// The same is to be asked there, with TLS.
    Elsewhere(HeaderValue),
    /// The connection was made for another host.
    OtherHost,
    /// What a server of ACME expects.
    Proof(String),
    /// The application speaks HTTP/2, where no connection is one client's alone.
    NoUpgrade,
}

impl Why {
    fn status(&self) -> StatusCode {
        match self {
            Why::Refused(Refusal::Connect) => StatusCode::METHOD_NOT_ALLOWED,
            Why::Refused(Refusal::Coding) | Why::NoUpgrade => StatusCode::NOT_IMPLEMENTED,
            Why::Refused(Refusal::SlowBody) => StatusCode::REQUEST_TIMEOUT,
            Why::Refused(_) => StatusCode::BAD_REQUEST,
            Why::NotReady | Why::NoInstance(_) => StatusCode::SERVICE_UNAVAILABLE,
            Why::Unknown => StatusCode::NOT_FOUND,
            Why::Lost(_) | Why::BadUpgrade => StatusCode::BAD_GATEWAY,
            Why::Elsewhere(_) => StatusCode::PERMANENT_REDIRECT,
            Why::OtherHost => StatusCode::MISDIRECTED_REQUEST,
            Why::Proof(_) => StatusCode::OK,
        }
    }

    pub(crate) fn text(&self, host: &str) -> String {
        match self {
            Why::Refused(Refusal::NoHost) => "the request names no host".to_owned(),
            Why::Refused(Refusal::ManyHosts) => "the request names more than one host".to_owned(),
            Why::Refused(Refusal::BadHost) => "the host of the request is not a host name".to_owned(),
            Why::Refused(Refusal::Connect) => "this server opens no tunnels to other hosts".to_owned(),
            Why::Refused(Refusal::BadTarget) => "the target of the request is no path".to_owned(),
            Why::Refused(Refusal::Coding) => "of transfer codings this server knows chunked alone".to_owned(),
            Why::Refused(Refusal::BadBody) => "the body of the request cannot be read".to_owned(),
            Why::Refused(Refusal::SlowBody) => "the body of the request stopped on the way".to_owned(),
            Why::NotReady => "this node has just started and does not know its applications yet".to_owned(),
            Why::Unknown => format!("no application is served at {host} and this path"),
            Why::NoInstance(detail) if detail.is_empty() => format!("no instance of {host} is ready"),
            Why::NoInstance(detail) => format!("no instance of {host} can be reached: {detail}"),
            Why::Lost(detail) => format!("the instance of {host} broke off before it answered: {detail}"),
            Why::NoUpgrade => {
                format!("{host} is served in HTTP/2, where a connection cannot change its protocol")
            }
            Why::BadUpgrade => format!("the instance of {host} changed the protocol without being asked"),
            Why::Elsewhere(_) => format!("{host} is served with TLS"),
            Why::OtherHost => format!("this connection has no certificate for {host}"),
            Why::Proof(authorization) => authorization.clone(),
        }
    }
}

/// The answer to a client. `id`: of the request, by which it is found in the log.
pub(crate) fn answer(why: &Why, host: &str, id: Option<&HeaderValue>, active: Active) -> Response<Answer> {
    let mut text = why.text(host);
    if !matches!(why, Why::Proof(_)) {
        text.push('\n');
        if let Some(id) = id.and_then(|id| id.to_str().ok()) {
            text.push_str(&format!("request {id}\n"));
        }
    }
    let mut response = Response::new(Answer::text(Bytes::from(text), Some(active)));
    *response.status_mut() = why.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    match why {
        Why::NotReady | Why::NoInstance(_) => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // What else such a client sends cannot be trusted to be what it seems.
        Why::Refused(_) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Why::Elsewhere(place) => {
            headers.insert(LOCATION, place.clone());
        }
        Why::Unknown | Why::Lost(_) | Why::BadUpgrade | Why::NoUpgrade | Why::OtherHost | Why::Proof(_) => {}
    }
    response
}

/// The answer to another edge: nothing was sent to an application, ask elsewhere.
pub(crate) fn not_here(active: Active) -> Response<Answer> {
    let mut response = Response::new(Answer::text(Bytes::new(), Some(active)));
    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    response.headers_mut().insert(NOT_HERE, HeaderValue::from_static("1"));
    response
}

/// The answer to another edge: no application answers, and one may have received it, once at most.
pub(crate) fn lost(why: String, host: &str, id: Option<&HeaderValue>, active: Active) -> Response<Answer> {
    let mut response = answer(&Why::Lost(why), host, id, active);
    response.headers_mut().insert(FAILED, HeaderValue::from_static(ONCE));
    response
}

/// The answer to another edge: an application may have received it, and will not answer.
pub(crate) fn failed(
    why: &Why,
    fault: Fault,
    host: &str,
    id: Option<&HeaderValue>,
    active: Active,
) -> Response<Answer> {
    let mut response = answer(why, host, id, active);
    let how = if fault == Fault::Cut { CUT } else { "1" };
    response.headers_mut().insert(FAILED, HeaderValue::from_static(how));
    response
}
