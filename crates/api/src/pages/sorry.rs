//! The page that says why something was not done.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use tonic::Status;

use crate::http::problem::meaning;

/// Why something was not done.
#[derive(Debug)]
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
}

impl IntoResponse for Sorry {
    fn into_response(self) -> Response {
        let (status, title) = meaning(self.0.code());
        let page = Page { title, why: self.0.message() };
        (status, Html(page.render().unwrap_or_default())).into_response()
    }
}
