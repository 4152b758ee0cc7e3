//! How it stands with those who are told.

use serde_json::{Value, json};
use temps_wire::proto::Notification;
use temps_wire::proto::notification::Told;
use temps_wire::told;

use crate::json::{text, time};
use crate::screen::{Table, escape};

pub(super) fn table(all: &[Notification]) -> String {
    let mut table = Table::new(["NAME", "TYPE", "TO", "ABOUT", "STATE"]);
    for n in all {
        table.row([
            escape(&n.name),
            escape(&n.r#type),
            escape(&n.to),
            escape(&told::about(n)),
            escape(&told::arrives(n)),
        ]);
    }
    table.text()
}

pub(super) fn shape(n: &Notification) -> Value {
    let told = |told: &Option<Told>| {
        told.as_ref().map(|told| {
            json!({ "time": time(Some(told.wall_ms)), "title": told.title, "failure": text(&told.why) })
        })
    };
    json!({
        "id": n.id,
        "name": n.name,
        "type": n.r#type,
        "to": n.to,
        "projects": n.projects,
        "events": n.topics,
        "allow_private": n.allow_private,
        "by": n.by,
        "pending": n.pending,
        "sent": n.sent,
        "given_up": n.given_up,
        "dropped": n.dropped,
        "failing": n.failing,
        "retry_in_ms": n.retry_in_ms,
        "last_sent": told(&n.last_sent),
        "last_failure": told(&n.last_failure),
    })
}
