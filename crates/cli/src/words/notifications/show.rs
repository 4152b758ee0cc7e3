//! How it stands with those who are told.

use serde_json::{Value, json};
use temps_core::text::duration;
use temps_wire::proto::Notification;
use temps_wire::proto::notification::Told;

use crate::json::{text, time};
use crate::screen::{Table, escape};
use crate::timeline::timestamp;

pub(super) fn table(all: &[Notification]) -> String {
    let mut table = Table::new(["NAME", "TYPE", "TO", "ABOUT", "STATE"]);
    for n in all {
        table.row([escape(&n.name), escape(&n.r#type), escape(&n.to), about(n), state(n)]);
    }
    table.text()
}

/// `rolled_back, failed of shop`.
fn about(n: &Notification) -> String {
    let topics = if n.topics.is_empty() { "everything".to_owned() } else { escape(&n.topics.join(", ")) };
    if n.projects.is_empty() { topics } else { format!("{topics} of {}", escape(&n.projects.join(", "))) }
}

/// Whether it arrives, for a person.
fn state(n: &Notification) -> String {
    let mut parts = Vec::new();
    match &n.last_failure {
        Some(failure) if n.failing > 0 => parts.push(format!("failing: {}", escape(&failure.why))),
        Some(_) | None => {}
    }
    match (&n.last_sent, n.sent) {
        (Some(last), sent) => parts.push(format!("{sent} sent, the last at {}", at(last))),
        (None, _) if parts.is_empty() && n.pending == 0 => parts.push("nothing sent yet".to_owned()),
        (None, _) => {}
    }
    match (n.pending, n.retry_in_ms) {
        (0, _) => {}
        (waiting, Some(millis)) => parts.push(format!("{waiting} waiting, again in {}", duration(millis))),
        (waiting, None) => parts.push(format!("{waiting} waiting")),
    }
    for (count, word) in [(n.given_up, "given up"), (n.dropped, "dropped")] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    parts.join("; ")
}

fn at(told: &Told) -> String {
    timestamp(told.wall_ms).map_or_else(|| "?".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
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

#[cfg(test)]
mod tests {
    use temps_wire::proto::Notification;
    use temps_wire::proto::notification::Told;

    use super::{about, state};

    #[test]
    fn it_is_told_as_it_stands() {
        let told = |why: &str| {
            let title = "Node n2 lost.".to_owned();
            Some(Told { wall_ms: 1_800_000_000_000, title, why: why.to_owned() })
        };
        let plain = Notification::default();
        for (notification, said) in [
            (plain.clone(), "nothing sent yet"),
            (Notification { pending: 2, ..plain.clone() }, "2 waiting"),
            (
                Notification { sent: 3, last_sent: told(""), ..plain.clone() },
                "3 sent, the last at 2027-01-15T08:00:00Z",
            ),
            // What failed once and went well since is no news.
            (
                Notification {
                    sent: 3,
                    last_sent: told(""),
                    last_failure: told("x"),
                    dropped: 1,
                    ..plain.clone()
                },
                "3 sent, the last at 2027-01-15T08:00:00Z; 1 dropped",
            ),
            (
                Notification {
                    failing: 2,
                    pending: 5,
                    retry_in_ms: Some(12_000),
                    last_failure: told("it answered 404"),
                    given_up: 4,
                    ..plain.clone()
                },
                "failing: it answered 404; 5 waiting, again in 12s; 4 given up",
            ),
        ] {
            assert_eq!(state(&notification), said);
        }
        assert_eq!(about(&plain), "everything");
        let (topics, projects) = (vec!["failed".to_owned()], vec!["shop".to_owned(), "blog".to_owned()]);
        assert_eq!(about(&Notification { topics, projects, ..plain }), "failed of shop, blog");
    }
}
