//! The dashboard: pages made on the server from what the API answers, to somebody who has signed in.
//!
//! Every page works without scripts. With them, [`live`] says that something has changed, and the page is fetched anew;
//! so a page never shows what the API would not. Nothing that an application or a stranger wrote is anything but text:
//! templates escape it, and the policy allows no script and no style but our two files.

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
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use tonic::Status;

use crate::desk::Desk;
use sorry::Sorry;

#[derive(rust_embed::RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// A page, or why there is none.
type Page = Result<Response, Sorry>;

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
        .route("/live", get(live::live))
        .route("/health", get(|| async { "ok\n" }))
        .route("/static/{file}", get(asset))
        .layer(axum::middleware::map_response_with_state(desk.clone(), guarded))
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

/// What no page may do, whatever is in it. A page asks other nodes whether they answer, and nobody else.
async fn guarded(State(desk): State<Desk>, mut response: Response) -> Response {
    let mut policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
        form-action 'self'; frame-ancestors 'none'; base-uri 'none'; connect-src 'self'"
        .to_owned();
    for origin in frame::origins(&desk) {
        policy.push(' ');
        policy.push_str(&origin);
    }
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
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
