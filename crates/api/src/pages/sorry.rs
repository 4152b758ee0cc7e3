//! The page that says why something was not done.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use tonic::{Code, Status};

use crate::http::problem::meaning;

/// Why something was not done.
#[derive(Clone, Debug)]
pub(super) struct Sorry(pub(super) Status);

impl From<Status> for Sorry {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

#[derive(Template)]
#[template(path = "sorry.html")]
struct Page<'a> {
    title: &'a str,
    why: &'a str,
    back: &'a str,
}

impl Sorry {
    /// The page, which leads back to where somebody came from.
    pub(super) fn page(&self, back: &str) -> Response {
        let (status, title) = meaning(self.0.code());
        // Nothing is at odds where something outside was tried and did not do.
        let title = if self.0.code() == Code::FailedPrecondition { "Not done" } else { title };
        let page = Page { title, why: self.0.message(), back };
        (status, Html(page.render().unwrap_or_default())).into_response()
    }
}

impl IntoResponse for Sorry {
    fn into_response(self) -> Response {
        let mut response = self.page("/");
        response.extensions_mut().insert(self);
        response
    }
}
