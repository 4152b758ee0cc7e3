//! What clients of an environment in maintenance get.
//!
//! It is an answer that somebody asked for: nobody's failure, and counted nowhere, so that no release is judged by it.
//! What is under way goes on to its end, and so does what another edge forwards that has not heard yet.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, VARY};
use http::{Response, StatusCode};
use temps_core::model::Maintenance;

use crate::body::Answer;
use crate::client::Active;
use crate::secure::CHALLENGES;

const TITLE: &str = "Down for maintenance";
const DEFAULT: &str = "Please try again in a few minutes.";

/// Whether a request reaches the application all the same: who proves that a domain is its own need not wait. Challenges
/// of the cluster's own orders are answered before.
pub(crate) fn passes(path: &str) -> bool {
    let token = |rest: &str| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    path.strip_prefix(CHALLENGES).is_some_and(token)
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// The one that is named first: browsers name HTML first, programs what they read. Who names none gets text.
    fn wanted(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let mut kinds = lines.flat_map(|line| line.split(',')).map(|range| {
            let kind = range.split_once(';').map_or(range, |(kind, _)| kind).trim();
            match kind.to_ascii_lowercase().as_str() {
                "text/html" | "application/xhtml+xml" => Some(Form::Html),
                "text/plain" => Some(Form::Text),
                "application/json" => Some(Form::Json),
                kind if kind.ends_with("+json") => Some(Form::Json),
                _ => None,
            }
        });
        kinds.find_map(|form| form).unwrap_or(Form::Text)
    }

    fn kind(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Form::Html => "text/html; charset=utf-8",
            Form::Json => "application/json",
            Form::Text => "text/plain; charset=utf-8",
        })
    }

    fn body(self, message: &str) -> String {
        match self {
            Form::Text => format!("{TITLE}. {message}\n"),
            Form::Json => {
                serde_json::json!({ "error": "maintenance", "title": TITLE, "message": message }).to_string()
            }
            Form::Html => {
                let message = escape(message);
                format!(
                    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                     <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
                     <meta name=\"robots\" content=\"noindex\">\n<title>{TITLE}</title>\n\
                     <style>:root{{color-scheme:light dark}}body{{font:1.125rem/1.5 system-ui,sans-serif;\
                     max-width:36rem;margin:20vh auto;padding:0 1.5rem}}</style>\n</head>\n\
                     <body>\n<main>\n<h1>{TITLE}</h1>\n<p>{message}</p>\n</main>\n</body>\n</html>\n"
                )
            }
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The answer to a client.
pub(crate) fn answer(maintenance: &Maintenance, headers: &HeaderMap, active: Active) -> Response<Answer> {
    let form = Form::wanted(headers);
    let text = form.body(maintenance.message.as_deref().unwrap_or(DEFAULT));
    let mut response = Response::new(Answer::text(Bytes::from(text), Some(active)));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, form.kind());
    headers.insert(RETRY_AFTER, HeaderValue::from(maintenance.retry_after));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;
    use http::{HeaderMap, HeaderValue};

    use super::{Form, passes};

    #[test]
    fn the_form_is_the_one_that_is_named_first() {
        let check = |accept: &'static str, form| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::wanted(&headers), form, "{accept}");
        };
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form::Html);
        check("application/json, text/plain, */*", Form::Json);
        check("application/problem+json", Form::Json);
        check("image/avif, TEXT/HTML;q=0.5", Form::Html);
        check("*/*", Form::Text);
        check("text/plain", Form::Text);
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Text);
    }

    #[test]
    fn only_challenges_pass() {
        assert!(passes("/.well-known/acme-challenge/aZ0_-"));
        for path in ["/", "/.well-known/acme-challenge", "/.well-known/acme-challenge/../../admin"] {
            assert!(!passes(path), "{path}");
        }
    }

    #[test]
    fn a_message_is_text_in_every_form() {
        let message = r#"5 < 6 & "so" </p>"#;
        assert!(Form::Html.body(message).contains(r#"<p>5 &lt; 6 &amp; "so" &lt;/p&gt;</p>"#));
        let json: serde_json::Value = serde_json::from_str(&Form::Json.body(message)).unwrap();
        assert_eq!(json["message"], message);
        assert!(Form::Text.body(message).contains(message));
    }
}
