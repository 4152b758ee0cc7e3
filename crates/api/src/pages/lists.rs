//! Pages that are mostly a list and a form or two: names, notifications, who may do what, and who did what.

mod access;
mod audit;
mod domains;
mod notifications;

use askama::Template;
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use tonic::Status;

use super::Page;
use super::frame::Frame;
use super::sorry::Sorry;
use super::visitor::Fields;

pub(super) use access::{access, change_access};
pub(super) use audit::audit;
pub(super) use domains::{change_domains, domains};
pub(super) use notifications::{change_notifications, notifications};

/// A secret that is shown once.
#[derive(Template)]
#[template(path = "once.html")]
pub(super) struct Once<'a> {
    pub(super) frame: Frame,
    pub(super) what: &'a str,
    pub(super) secret: &'a str,
    pub(super) back: &'a str,
}

/// What came of a form, as the address of the page after it says it. Anybody can write such an address, so the
/// sentence is ours, and names only what is on the page.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Came {
    came: String,
    of: String,
}

/// There was nothing to change.
const SAME: &str = "same";
/// What is said where it is not known of what.
const SO_ALREADY: &str = "It is so already: nothing was changed.";

/// Leads back to a page, which says what came of a form.
fn back(at: &str, came: &str, of: &str) -> Page {
    let query = serde_urlencoded::to_string([("came", came), ("of", of)]);
    let query = query.map_err(|why| Status::internal(why.to_string()))?;
    Ok(Redirect::to(&format!("{at}?{query}")).into_response())
}

fn nothing(action: &str) -> Page {
    Err(Sorry(Status::not_found(format!("there is no button {action:?}"))))
}

/// A port; 0 where none was typed.
fn port(typed: &str) -> Result<u32, Status> {
    match typed {
        "" => Ok(0),
        typed => typed.parse().map_err(|_| Status::invalid_argument(format!("{typed:?} is no port"))),
    }
}

/// What a field has in PEM, as a file has it: browsers send every end of a line as two characters.
fn pem(fields: &Fields, name: &str) -> String {
    match fields.get(name) {
        "" => String::new(),
        text => text.replace("\r\n", "\n") + "\n",
    }
}
