//! Refusals as RFC 9457 has them: what, why and what to do are in `detail`, as in every other answer.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tonic::{Code, Status};

/// The type of such an answer.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// A refusal.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// The kind of refusal in a few words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
}

/// A refusal of an operation.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Status);

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, title) = meaning(self.0.code());
        problem(status, title, self.0.message())
    }
}

/// A refusal under a status of its own.
pub(crate) fn problem(status: StatusCode, title: &'static str, detail: &str) -> Response {
    let told = Problem { title, status: status.as_u16(), detail: detail.to_owned() };
    let text = serde_json::to_string(&told).unwrap_or_default();
    let mut response = (status, [(CONTENT_TYPE, PROBLEM)], text).into_response();
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The status and the title for a code of gRPC.
pub(crate) fn meaning(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::InvalidArgument | Code::OutOfRange => (StatusCode::BAD_REQUEST, "Not understood"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "Not logged in"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "Forbidden"),
        Code::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => (StatusCode::CONFLICT, "Conflict"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "Too much"),
        Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "Not implemented"),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
            (StatusCode::SERVICE_UNAVAILABLE, "Not available now")
        }
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => {
            (StatusCode::INTERNAL_SERVER_ERROR, "Something is broken")
        }
    }
}
