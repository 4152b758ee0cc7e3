//! Signing in and out, and the code with which somebody sets a password.

use askama::Template;
use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use tonic::Status;

use super::visitor::{Fields, Posted, address, signed_in, signed_out};
use super::{Page, show};
use crate::desk::Desk;
use crate::sessions;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    next: &'a str,
    name: &'a str,
    problem: &'a str,
}

#[derive(Template)]
#[template(path = "code.html")]
struct Code<'a> {
    code: &'a str,
    name: &'a str,
    problem: &'a str,
}

pub(super) async fn form(RawQuery(query): RawQuery) -> Page {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query.as_deref().unwrap_or_default()).unwrap_or_default();
    let next = pairs.iter().find(|(name, _)| name == "next").map_or("/", |(_, next)| next.as_str());
    show(&SignIn { next, name: "", problem: "" })
}

pub(super) async fn sign_in(State(desk): State<Desk>, request: Request) -> Page {
    let (head, body) = request.into_parts();
    let fields = Fields::read(&head, body).await?;
    let (name, next) = (fields.get("name"), fields.get("next"));
    match sessions::sign_in(&desk, name, fields.exact("password"), address(&head)).await {
        Ok(secret) => Ok(signed_in(&secret, next)),
        Err(status) => again(&status, show(&SignIn { next, name, problem: status.message() })?),
    }
}

pub(super) async fn code_form() -> Page {
    show(&Code { code: "", name: "", problem: "" })
}

pub(super) async fn redeem(State(desk): State<Desk>, request: Request) -> Page {
    let (head, body) = request.into_parts();
    let fields = Fields::read(&head, body).await?;
    let (code, name) = (fields.get("code"), fields.get("name"));
    let problem = if fields.exact("password") == fields.exact("again") {
        let given = Some(name).filter(|name| !name.is_empty());
        match sessions::redeem(&desk, code, given, fields.exact("password"), address(&head)).await {
            Ok(secret) => return Ok(signed_in(&secret, "/")),
            Err(status) => status,
        }
    } else {
        Status::invalid_argument("the two passwords are not the same")
    };
    again(&problem, show(&Code { code, name, problem: problem.message() })?)
}

pub(super) async fn sign_out(State(desk): State<Desk>, posted: Posted) -> Page {
    sessions::sign_out(&desk, &posted.visitor.caller).await?;
    Ok(signed_out())
}

/// The form once more, under the status of what was wrong.
fn again(status: &Status, mut page: Response) -> Page {
    *page.status_mut() = crate::http::problem::meaning(status.code()).0;
    Ok(page)
}
