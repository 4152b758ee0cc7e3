//! Who is told what happens, and whether it arrives.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect};
use temps_core::model::Topic;
use temps_wire::proto::add_notification_request::Receiver;
use temps_wire::proto::{
    AddNotificationRequest, EmailReceiver, ListNotificationsRequest, Notification, RemoveNotificationRequest,
    SlackReceiver, TestNotificationRequest, WebhookReceiver,
};
use temps_wire::told;
use tonic::Status;

use super::super::frame::Frame;
use super::super::sorry::Sorry;
use super::super::visitor::{Fields, Posted, Visitor};
use super::super::{Page, show, words};
use super::{Came, Once, back, nothing, pem, port};
use crate::desk::Desk;
use crate::operations::Operations;

const AT: &str = "/notifications";
const ADDED: &str = "added";
const ARRIVED: &str = "arrived";

#[derive(Template)]
#[template(path = "notifications.html")]
struct Notifications {
    frame: Frame,
    /// What came of a form.
    notice: String,
    notifications: Vec<Notification>,
}

pub(in crate::pages) async fn notifications(visitor: Visitor, Query(came): Query<Came>) -> Page {
    let asked = ListNotificationsRequest {};
    let listed = Operations::list_notifications(&visitor.desk, visitor.caller.clone(), asked).await?;
    let known = listed.notifications.iter().any(|one| one.name == came.of);
    let notice = match (came.came.as_str(), known) {
        (ADDED, true) => {
            format!("{} is told what happens from now on. Test it to see whether it arrives.", came.of)
        }
        (ARRIVED, true) => format!("A notice arrived at {}.", came.of),
        (_, _) => String::new(),
    };
    let frame = Frame::new(&visitor, AT).await;
    show(&Notifications { frame, notice, notifications: listed.notifications })
}

pub(in crate::pages) async fn change_notifications(
    State(desk): State<Desk>,
    Path(action): Path<String>,
    posted: Posted,
) -> Page {
    let Posted { visitor, fields } = posted;
    let (caller, name) = (visitor.caller.clone(), fields.get("name").to_owned());
    match action.as_str() {
        "add" => {
            let made = Operations::add_notification(&desk, caller, channel(&fields)?).await?;
            if made.signing_secret.is_empty() {
                return back(AT, ADDED, &name);
            }
            let frame = Frame::new(&visitor, AT).await;
            let what = "This secret signs what the webhook is told";
            show(&Once { frame, what, secret: &made.signing_secret, back: AT })
        }
        "test" => {
            let asked = TestNotificationRequest { name: name.clone() };
            let told = Operations::test_notification(&desk, caller, asked).await?;
            if told.delivered {
                return back(AT, ARRIVED, &name);
            }
            let why = format!("No notice arrived at {name}: {}", told.failure);
            Err(Sorry(Status::failed_precondition(why)))
        }
        "remove" => {
            Operations::remove_notification(&desk, caller, RemoveNotificationRequest { name }).await?;
            Ok(Redirect::to(AT).into_response())
        }
        other => nothing(other),
    }
}

fn channel(fields: &Fields) -> Result<AddNotificationRequest, Sorry> {
    let text = |name: &str| fields.get(name).to_owned();
    let receiver = match fields.get("type") {
        "slack" => Receiver::Slack(SlackReceiver { url: text("url"), channel: text("channel") }),
        "webhook" => {
            Receiver::Webhook(WebhookReceiver { url: text("url"), signing_secret: text("signing_secret") })
        }
        "email" => Receiver::Email(EmailReceiver {
            host: text("host"),
            port: port(fields.get("port"))?,
            security: text("security"),
            user: text("user"),
            password: fields.exact("password").to_owned(),
            from: text("from"),
            to: fields.many("to").collect(),
        }),
        other => return Err(Sorry(Status::invalid_argument(format!("there is no type {other:?}")))),
    };
    Ok(AddNotificationRequest {
        name: text("name"),
        receiver: Some(receiver),
        projects: fields.many("projects").collect(),
        topics: fields.below("topic.").map(|(topic, _)| topic.to_owned()).collect(),
        allow_private: fields.is_set("allow_private"),
        root: pem(fields, "root"),
    })
}
