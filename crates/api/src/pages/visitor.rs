//! Who looks at a page, and whether a form was sent from one of ours.
//!
//! A session's secret is in a cookie that scripts cannot read and that belongs to this host alone. A form carries a
//! word that follows from that secret, so a page of somebody else can neither read nor guess it, and where the browser
//! says from where a form was sent that must be here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::{Authority, Uri};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};
use temps_core::model::SESSION_COOKIE;
use temps_wire::serve::PeerAddress;
use temps_wire::token::{SessionSecret, same_hash};
use tonic::Status;

use super::ask;
use super::sorry::Sorry;
use crate::caller::Caller;
use crate::desk::Desk;
use crate::sessions;

/// The largest form, in bytes: a certificate with its key fits.
const FORM_MAX: usize = 256 << 10;

/// Somebody who is signed in.
#[derive(Clone)]
pub(super) struct Visitor {
    /// Where what a page shows is read: see [`Desk::asked`].
    pub(super) desk: Desk,
    pub(super) caller: Caller,
    /// The word that forms carry.
    pub(super) word: String,
    /// Up to where the log had been applied here before anything was read for the page.
    pub(super) index: u64,
}

impl FromRequestParts<Desk> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, desk: &Desk) -> Result<Self, Response> {
        let index = desk.ledger.state().index;
        let found = match secret(&head.headers).filter(|secret| sessions::is_ours(desk, secret)) {
            Some(secret) => {
                let word = word(&secret);
                let desk = desk.asked().await;
                sessions::session(&desk, &secret, address(head)).await.map(|caller| Self {
                    desk,
                    caller,
                    word,
                    index,
                })
            }
            None => None,
        };
        found.ok_or_else(|| {
            if head.uri.path() == super::LIVE {
                // So a stream is told that there is nothing more to come; the page looks why.
                return StatusCode::NO_CONTENT.into_response();
            }
            // What was to be done is not done again by signing in.
            let path = head.uri.path_and_query().filter(|_| head.method == Method::GET);
            let path = path.map_or("/", |path| path.as_str());
            let next = serde_urlencoded::to_string([("next", path)]).unwrap_or_default();
            Redirect::to(&format!("/sign-in?{next}")).into_response()
        })
    }
}

/// A form that somebody sent who is signed in.
pub(super) struct Posted {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl FromRequest<Desk> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Response> {
        let (mut head, body) = request.into_parts();
        // Whoever was signed out, disabled or given less by any node changes nothing here.
        desk.fresh().await.map_err(|status| Sorry(status).into_response())?;
        let asked = Desk { quorum: Some(true), ..desk.clone() };
        let mut visitor = Visitor::from_request_parts(&mut head, &asked).await?;
        let fields = Fields::read(&head, body).await.map_err(Sorry::into_response)?;
        let shown = hex::encode(Sha256::digest(fields.get("word")));
        if same_hash(&shown, &hex::encode(Sha256::digest(&visitor.word))) {
            if let Some(key) = fields.key() {
                visitor.caller =
                    visitor.caller.with_key(&key).map_err(|status| Sorry(status).into_response())?;
            }
            return match ask::question(&head, &fields) {
                Some(page) => Err(page),
                None => Ok(Self { visitor, fields }),
            };
        }
        let why =
            "the form is not from a page of yours, or you have signed in anew since; load the page again";
        Err(Sorry(Status::permission_denied(why)).into_response())
    }
}

/// What a form says. Sent by anybody.
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    pub(super) async fn read(head: &Parts, body: axum::body::Body) -> Result<Self, Sorry> {
        if !is_from_here(&head.uri, &head.headers) {
            return Err(Sorry(Status::permission_denied("the form was sent from another site")));
        }
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind != "application/x-www-form-urlencoded" {
            return Err(Sorry(Status::invalid_argument("this takes a form of a page")));
        }
        let body = to_bytes(body, FORM_MAX).await;
        let body =
            body.map_err(|_| Status::invalid_argument("the form is too long, or did not come whole"))?;
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(&body)
            .map_err(|why| Status::invalid_argument(format!("the form cannot be read: {why}")))?;
        Ok(Self(pairs.into_iter().collect()))
    }

    /// What is one wish, however often its form is sent: a page gives its forms a key.
    fn key(&self) -> Option<String> {
        let mut hash = Sha256::new();
        self.0.get("key")?;
        for (name, value) in &self.0 {
            hash.update(format!("{}:{name}{}:{value}", name.len(), value.len()));
        }
        Some(hex::encode(hash.finalize()))
    }

    /// A field without spaces around it; empty where it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// What a field lists, by commas or spaces.
    pub(super) fn many(&self, name: &str) -> impl Iterator<Item = String> {
        self.get(name).split([',', ' ']).filter(|part| !part.is_empty()).map(str::to_owned)
    }

    /// A field as it was typed.
    pub(super) fn exact(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The fields whose names begin so, without that beginning.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

/// What the browser says about where the form was: nothing, or here.
fn is_from_here(asked: &Uri, headers: &HeaderMap) -> bool {
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    // HTTP/2 says it in the place of the header.
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = asked.authority().map(Authority::as_str).or(named);
    let (Ok(origin), Some(host)) = (origin.to_str(), host) else { return false };
    origin.strip_prefix("https://").is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

/// From where somebody asks.
pub(super) fn address(head: &Parts) -> Option<IpAddr> {
    head.extensions.get::<PeerAddress>().and_then(|address| address.0)
}

fn secret(headers: &HeaderMap) -> Option<SessionSecret> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == SESSION_COOKIE).and_then(|(_, value)| value.parse().ok())
}

fn word(secret: &SessionSecret) -> String {
    hex::encode(Sha256::new().chain_update(b"temps form ").chain_update(secret.reveal()).finalize())
}

/// The answer to somebody who has signed in.
pub(super) fn signed_in(secret: &SessionSecret, next: &str) -> Response {
    let cookie = format!("{SESSION_COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax", secret.reveal());
    with_cookie(&cookie, next)
}

/// The answer to somebody who has signed out.
pub(super) fn signed_out() -> Response {
    with_cookie(&format!("{SESSION_COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"), "/sign-in")
}

fn with_cookie(cookie: &str, next: &str) -> Response {
    let mut response = Redirect::to(inside(next)).into_response();
    match HeaderValue::from_str(cookie) {
        Ok(cookie) => {
            response.headers_mut().insert(http::header::SET_COOKIE, cookie);
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A path of ours; the first page where it is none, such as `//elsewhere.example`.
pub(super) fn inside(next: &str) -> &str {
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(|c: char| c == '\\' || c.is_control());
    if is_ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Uri};

    use super::{inside, is_from_here};

    #[test]
    fn nobody_is_led_elsewhere() {
        for (next, to) in [
            ("/deployments/7?all=1", "/deployments/7?all=1"),
            ("//elsewhere.example/", "/"),
            ("https://elsewhere.example/", "/"),
            ("/\\elsewhere.example", "/"),
            ("/\t/elsewhere.example", "/"),
            ("/\n/elsewhere.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(inside(next), to, "{next}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_not_ours() {
        let check_at = |asked: &'static str, headers: &[(&'static str, &'static str)], ours: bool| {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_from_here(&Uri::from_static(asked), &headers), ours, "{asked} {headers:?}");
        };
        let check = |headers: &[(&'static str, &'static str)], ours| check_at("/code", headers, ours);
        check(&[("host", "n1:7400")], true);
        check(&[("host", "n1:7400"), ("origin", "https://n1:7400")], true);
        check(&[("host", "n1:7400"), ("origin", "https://n1")], false);
        check(&[("host", "n1:7400"), ("origin", "http://n1:7400")], false);
        check(&[("host", "n1:7400"), ("origin", "null")], false);
        check(&[("host", "n1:7400"), ("sec-fetch-site", "cross-site")], false);
        check(&[("host", "n1:7400"), ("sec-fetch-site", "same-origin")], true);
        check_at("https://n1:7400/code", &[("origin", "https://n1:7400")], true);
        check_at("https://n1:7400/code", &[("origin", "https://n2:7400")], false);
    }
}
