//! What a request of the HTTP API asks: path, query or body become the message that gRPC has for it.

use axum::extract::RawPathParams;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use temps_wire::client::KEY;
use temps_wire::serve::PeerAddress;
use tonic::Status;

use crate::desk::Answer;

/// The header with which a write takes effect once, however often it is sent.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What is in a path where it is a number; everything else there is a name.
pub(crate) const NUMBERS: [&str; 4] = ["number", "deployment", "node", "instance"];

/// A message that is all in path and query.
pub(crate) fn of_query<T: DeserializeOwned>(path: &RawPathParams, query: Option<&str>) -> Answer<T> {
    let pairs: Vec<(String, String)> = match serde_urlencoded::from_str(query.unwrap_or_default()) {
        Ok(pairs) => pairs,
        Err(why) => return Err(Status::invalid_argument(format!("the query cannot be read: {why}"))),
    };
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let all: Vec<_> = path.chain(pairs).collect();
    let encoded = serde_urlencoded::to_string(all).map_err(|why| Status::internal(why.to_string()))?;
    serde_urlencoded::from_str(&encoded).map_err(|why| Status::invalid_argument(why.to_string()))
}

/// A message that is in path and body.
pub(crate) fn of_body<T: DeserializeOwned>(path: &RawPathParams, head: &Parts, body: &Bytes) -> Answer<T> {
    if head.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Status::invalid_argument("this takes no query; what it takes is in the body"));
    }
    let mut fields = fields(head, body)?;
    for (name, value) in path {
        let value = match NUMBERS.contains(&name) {
            true => value
                .parse::<u64>()
                .map(Value::from)
                .map_err(|_| Status::invalid_argument(format!("{value:?} is no number; {name} is one")))?,
            false => Value::from(value),
        };
        if fields.insert(name.to_owned(), value).is_some() {
            return Err(Status::invalid_argument(format!("{name} is in the path; leave it out of the body")));
        }
    }
    serde_json::from_value(Value::Object(fields)).map_err(|why| Status::invalid_argument(why.to_string()))
}

/// The body's fields; none where it is empty.
pub(crate) fn fields(head: &Parts, body: &Bytes) -> Answer<Map<String, Value>> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    // A page of somebody else can send other types without being asked.
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Status::invalid_argument("a body must be JSON, with Content-Type: application/json"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Status::invalid_argument("a body must be an object of JSON")),
        Err(why) => Err(Status::invalid_argument(format!("the body is no JSON: {why}"))),
    }
}

/// The message as gRPC would bring it, with who asks and under which key.
pub(crate) fn asked<T>(head: &Parts, message: T) -> Answer<tonic::Request<T>> {
    let mut request = tonic::Request::new(message);
    if let Some(from) = head.extensions.get::<PeerAddress>() {
        request.extensions_mut().insert(*from);
    }
    for (header, name) in [("authorization", "authorization"), (IDEMPOTENCY_KEY, KEY)] {
        let Some(value) = head.headers.get(header) else { continue };
        let value = value.to_str().ok().and_then(|value| value.parse().ok());
        let value =
            value.ok_or_else(|| Status::invalid_argument(format!("{header} must be visible ASCII")))?;
        request.metadata_mut().insert(name, value);
    }
    Ok(request)
}
