//! Pages that are mostly a list and a form or two: names, notifications, who may do what, and who did what.

mod access;
mod domains;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use temps_wire::proto::add_notification_request::Receiver;
use temps_wire::proto::{
    AddNotificationRequest, AuditEntry, EmailReceiver, ListAuditRequest, ListNotificationsRequest,
    Notification, RemoveNotificationRequest, SlackReceiver, TestNotificationRequest, WebhookReceiver,
};
use tonic::Status;

use super::frame::Frame;
use super::sorry::Sorry;
use super::visitor::{Fields, Posted, Visitor};
use super::{Page, show, words};
use crate::desk::Desk;
use crate::operations::Operations;

pub(super) use access::{access, change_access};
pub(super) use domains::{change_domains, domains};

#[derive(Template)]
#[template(path = "notifications.html")]
struct Notifications {
    frame: Frame,
    notifications: Vec<Notification>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    entries: Vec<AuditEntry>,
}

/// A secret that is shown once.
#[derive(Template)]
#[template(path = "once.html")]
pub(super) struct Once<'a> {
    pub(super) frame: Frame,
    pub(super) what: &'a str,
    pub(super) secret: &'a str,
    pub(super) back: &'a str,
}

pub(super) async fn notifications(visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let asked = ListNotificationsRequest {};
    let listed = Operations::list_notifications(desk, visitor.caller.clone(), asked).await?;
    let frame = Frame::new(&visitor, "/notifications").await;
    show(&Notifications { frame, notifications: listed.notifications })
}

pub(super) async fn change_notifications(
    State(desk): State<Desk>,
    Path(action): Path<String>,
    posted: Posted,
) -> Page {
    let Posted { visitor, fields } = posted;
    let (caller, name) = (visitor.caller.clone(), fields.get("name").to_owned());
    match action.as_str() {
        "add" => {
            let made = Operations::add_notification(&desk, caller, channel(&fields)?).await?;
            if !made.signing_secret.is_empty() {
                let frame = Frame::new(&visitor, "/notifications").await;
                let what = "The secret with which this webhook is signed";
                return show(&Once { frame, what, secret: &made.signing_secret, back: "/notifications" });
            }
        }
        "test" => {
            let told = Operations::test_notification(&desk, caller, TestNotificationRequest { name }).await?;
            if !told.delivered {
                return Err(Sorry(Status::failed_precondition(told.failure)));
            }
        }
        "remove" => {
            Operations::remove_notification(&desk, caller, RemoveNotificationRequest { name }).await?;
        }
        other => return nothing(other),
    }
    Ok(Redirect::to("/notifications").into_response())
}

fn channel(fields: &Fields) -> Result<AddNotificationRequest, Sorry> {
    let text = |name: &str| fields.get(name).to_owned();
    let receiver = match fields.get("type") {
        "slack" => Receiver::Slack(SlackReceiver { url: text("url"), channel: text("channel") }),
        "webhook" => Receiver::Webhook(WebhookReceiver { url: text("url"), signing_secret: String::new() }),
        "email" => {
            let port = match fields.get("port") {
                "" => 0,
                port => port.parse().map_err(|_| Status::invalid_argument(format!("{port:?} is no port")))?,
            };
            Receiver::Email(EmailReceiver {
                host: text("host"),
                port,
                security: String::new(),
                user: text("user"),
                password: fields.exact("password").to_owned(),
                from: text("from"),
                to: fields.many("to").collect(),
            })
        }
        other => return Err(Sorry(Status::invalid_argument(format!("there is no type {other:?}")))),
    };
    Ok(AddNotificationRequest {
        name: text("name"),
        receiver: Some(receiver),
        projects: fields.many("projects").collect(),
        topics: fields.many("topics").collect(),
        allow_private: fields.is_set("allow_private"),
        root: String::new(),
    })
}

pub(super) async fn audit(State(desk): State<Desk>, visitor: Visitor) -> Page {
    let asked = ListAuditRequest { limit: 200, ..ListAuditRequest::default() };
    let mut entries = Operations::list_audit(&desk, visitor.caller.clone(), asked).await?.entries;
    entries.reverse();
    show(&Audit { frame: Frame::new(&visitor, "/audit").await, entries })
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
