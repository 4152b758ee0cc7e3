//! The page that asks before something is done that somebody may not have meant, where no script of the page has asked.

use askama::Template;
use axum::response::{IntoResponse, Response};

use super::visitor::Fields;
use super::{Page, back, show};

#[derive(Template)]
#[template(path = "ask.html")]
struct Ask<'a> {
    question: &'a str,
    path: &'a str,
    fields: Vec<(&'a str, &'a str)>,
    back: String,
}

/// The same form once more, with its question; `None` for one that asks nothing.
pub(super) fn question(head: &http::request::Parts, fields: &Fields) -> Option<Response> {
    let question = Some(fields.get(ASK)).filter(|question| !question.is_empty())?;
    let (path, back) = (head.uri.path(), back(&head.headers));
    let fields = fields.below("").filter(|(name, _)| *name != ASK).collect();
    let page: Page = show(&Ask { question, path, fields, back });
    Some(page.into_response())
}

/// The field of a button that is to be asked about.
const ASK: &str = "ask";
