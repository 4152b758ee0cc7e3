//! The dashboard: pages made on the server from what the API answers, to somebody who has signed in.
//!
//! Every page works without scripts. With them, [`live`] says that something has changed, and the page is fetched anew;
//! so a page never shows what the API would not. Nothing that an application or a stranger wrote is anything but text:
//! templates escape it, and the policy allows no script and no style but our two files.

mod ask;
mod chart;
mod deployments;
mod frame;
mod gantt;
mod image;
mod lists;
mod live;
mod logs;
mod machines;
mod projects;
mod sign;
mod sorry;
mod visitor;
mod words;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use tonic::{Code, Status};

use crate::desk::Desk;
use sorry::Sorry;

#[derive(rust_embed::RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// Where a page hears what changes.
const LIVE: &str = "/live";

/// A page, or why there is none.
type Page = Result<Response, Sorry>;

/// What a page says of the button that led to it.
#[derive(Deserialize)]
struct Note {
    note: Option<String>,
}

impl Note {
    /// Where a page says that nothing had to be done.
    fn unchanged(path: &str) -> String {
        format!("{path}?note=unchanged")
    }

    fn text(&self) -> &'static str {
        match self.note.as_deref() {
            Some("unchanged") => "It was so already, so nothing was changed.",
            Some(_) | None => "",
        }
    }
}

/// Everything that people look at.
pub(crate) fn routes(desk: &Desk) -> Router<Desk> {
    Router::new()
        .route("/", get(projects::all))
        .route("/projects", post(projects::create))
        .route("/projects/{project}/{environment}", get(projects::one))
        .route("/projects/{project}/{environment}/logs", get(logs::of_environment))
        .route("/projects/{project}/{environment}/{action}", post(projects::act))
        .route("/deployments", get(deployments::list).post(image::deploy))
        .route("/deployments/{number}", get(deployments::one))
        .route("/deployments/{number}/log", get(logs::of_build))
        .route("/deployments/{number}/{action}", post(deployments::act))
        .route("/instances/{number}", get(deployments::why))
        .route("/nodes", get(machines::list))
        .route("/nodes/join", post(machines::join))
        .route("/nodes/{node}", get(machines::one))
        .route("/nodes/{node}/{action}", post(machines::act))
        .route("/domains", get(lists::domains))
        .route("/domains/{action}", post(lists::change_domains))
        .route("/notifications", get(lists::notifications))
        .route("/notifications/{action}", post(lists::change_notifications))
        .route("/access", get(lists::access))
        .route("/access/{action}", post(lists::change_access))
        .route("/audit", get(lists::audit))
        .route("/sign-in", get(sign::form).post(sign::sign_in))
        .route("/sign-out", post(sign::sign_out))
        .route("/code", get(sign::code_form).post(sign::redeem))
        .route(LIVE, get(live::live))
        .route("/health", get(|| async { "ok\n" }))
        .route("/static/{file}", get(asset))
        .layer(axum::middleware::from_fn_with_state(desk.clone(), guarded))
}

async fn asset(Path(file): Path<String>) -> Response {
    let Some(found) = Assets::get(&file) else { return StatusCode::NOT_FOUND.into_response() };
    let kind = match file.rsplit('.').next() {
        Some("svg") => "image/svg+xml",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "application/octet-stream",
    };
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], found.data).into_response()
}

fn show(page: &impl Template) -> Page {
    let text = page.render().map_err(|why| Status::internal(why.to_string()))?;
    Ok(Html(text).into_response())
}

/// The page from which somebody came, as far as that is known; the first one otherwise. It stays on this node.
fn back(headers: &HeaderMap) -> String {
    let from = headers.get(REFERER).and_then(|from| from.to_str().ok()?.parse::<Uri>().ok());
    let path = from.and_then(|from| Some(from.path_and_query()?.as_str().to_owned()));
    path.map_or_else(|| "/".to_owned(), |path| visitor::inside(&path).to_owned())
}

/// What no page may do, whatever is in it. A page asks other nodes whether they answer, and nobody else; where those are
/// is told to who has signed in.
async fn guarded(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET;
    let back = back(request.headers());
    let is_door = matches!(request.uri().path(), "/sign-in" | "/code" | "/health");
    let mut response = next.run(request).await;
    if let Some(sorry) = response.extensions().get::<Sorry>() {
        let is_missing = matches!(sorry.0.code(), Code::NotFound | Code::PermissionDenied);
        response = if is_read && is_missing && !desk.at_hand().await.fresh {
            // It may be there by now where there is a quorum.
            let why = format!("no quorum, and this node does not know better: {}", sorry.0.message());
            Sorry(Status::unavailable(why)).page(&back)
        } else {
            sorry.page(&back)
        };
    }
    let mut policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
        form-action 'self'; frame-ancestors 'none'; base-uri 'none'; connect-src 'self'"
        .to_owned();
    let is_page =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page && !is_door && response.status() == StatusCode::OK {
        for origin in frame::origins(&desk) {
            policy.push(' ');
            policy.push_str(&origin);
        }
    }
    let is_away = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if is_page && is_read && is_away {
        // An election is over soon.
        headers.insert(HeaderName::from_static("refresh"), HeaderValue::from_static("3"));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Assets;

    /// The colours of the sheet by name: light ones, or dark ones in their place.
    fn colours(sheet: &str, dark: bool) -> BTreeMap<&str, [f64; 3]> {
        let blocks = sheet.split(":root {").skip(1).take(if dark { 2 } else { 1 });
        let lines = blocks.flat_map(|block| block.split('}').next().unwrap_or_default().lines());
        let named = lines.filter_map(|line| {
            let (name, value) = line.trim().strip_prefix("--")?.split_once(": #")?;
            let value = u32::from_str_radix(value.trim_end_matches(';'), 16).ok()?;
            Some((name, [16, 8, 0].map(|shift| f64::from(value >> shift & 0xff) / 255.0)))
        });
        named.collect()
    }

    /// Relative luminance, WCAG 2.2.
    fn luminance(colour: [f64; 3]) -> f64 {
        let [red, green, blue] =
            colour.map(|c| if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    #[test]
    fn text_can_be_read_on_its_ground() {
        let sheet = Assets::get("app.css").unwrap().data;
        let sheet = std::str::from_utf8(&sheet).unwrap();
        for dark in [false, true] {
            let colours = colours(sheet, dark);
            let check = |front: &str, ground: &str, least: f64| {
                let [a, b] = [front, ground].map(|name| luminance(colours[name]) + 0.05);
                let contrast = a.max(b) / a.min(b);
                assert!(contrast >= least, "{front} on {ground} has {contrast:.2}, dark: {dark}");
            };
            for ground in ["ground", "card", "quiet-soft", "busy-soft", "bad-soft"] {
                check("ink", ground, 4.5);
            }
            for ground in ["ground", "card", "busy-soft", "bad-soft"] {
                check("accent", ground, 4.5);
            }
            for (front, ground) in [
                ("soft", "ground"),
                ("soft", "card"),
                ("soft", "quiet-soft"),
                ("accent-ink", "accent"),
                ("good", "card"),
                ("good", "good-soft"),
                ("busy", "busy-soft"),
                ("bad", "card"),
                ("bad", "bad-soft"),
            ] {
                check(front, ground, 4.5);
            }
            // Lines of drawings.
            for line in ["old", "new", "good", "busy", "bad", "soft"] {
                check(line, "card", 3.0);
            }
        }
    }
}
