//! The HTTP API: every operation of gRPC, as JSON under `/api/v1`, described by `/api/openapi.json`.
//!
//! Nothing is decided here. A request becomes the message that gRPC has for it, goes through the same admission to the
//! same handler, and what comes back is written as JSON.

mod ask;
mod bundle;
pub(crate) mod deploy;
mod describe;
pub(crate) mod problem;
mod stream;
mod table;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use serde::Serialize;
use tonic::Status;

use crate::desk::{Answer, Desk};

use self::problem::{Refused, problem};

/// The largest body, in bytes: the log allows variables of 1 MiB, and JSON may write them longer.
const BODY_MAX: usize = 4 << 20;

/// Everything under `/api`.
pub(crate) fn routes() -> Router<Desk> {
    let document = describe::document();
    let document = move || async move { ([(CONTENT_TYPE, "application/json")], document) };
    let api = table::routes().merge(deploy::routes()).merge(bundle::routes()).merge(stream::routes());
    api.route("/api/openapi.json", get(document))
        .route("/api/{*rest}", axum::routing::any(nothing))
        .method_not_allowed_fallback(not_so)
}

async fn nothing(request: Request) -> Refused {
    let path = request.uri().path();
    Refused(Status::not_found(format!("there is no {path}; /api/openapi.json names what there is")))
}

async fn not_so(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let why = format!("{path} does not take {method}; /api/openapi.json names what it takes");
    problem(StatusCode::METHOD_NOT_ALLOWED, "Not taken", &why)
}

/// Head and body of a request.
async fn parts(request: Request) -> Answer<(Parts, Bytes)> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await.map_err(|_| {
        Status::invalid_argument(format!("the body did not come whole; at most {BODY_MAX} bytes fit"))
    })?;
    Ok((head, body))
}

/// An answer that nobody keeps.
fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_string(answer) {
        Ok(text) => ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], text).into_response(),
        Err(why) => Refused(Status::internal(why.to_string())).into_response(),
    }
}
