//! How pages say numbers and states: as the CLI does.

use jiff::Timestamp;
use temps_core::model::percent;
use temps_core::text;
use temps_wire::proto::{Deployment, Notification, ReleaseMetrics};
pub(super) use temps_wire::told::{failed, last};

/// The tone of a phase or a state: what colour its tag has, and which shape.
pub(super) fn tone(word: &str) -> &'static str {
    match word {
        "succeeded" | "serving" | "ready" | "up" => "good",
        "failed" | "rolled_back" | "exited" | "lost" | "unready" => "bad",
        "queued" | "building" | "releasing" | "stepping" | "watching" | "reverting" | "starting"
        | "draining" | "stopping" => "busy",
        _ => "",
    }
}

/// A word of the API for people.
pub(super) fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// How a deployment stands.
pub(super) fn stands(d: &Deployment) -> String {
    let paused = if d.paused.is_empty() { "" } else { ", paused" };
    format!("{}{paused}", plain(&d.phase))
}

/// The number in an instance's name, by which its page is found.
pub(super) fn number(id: &str) -> &str {
    id.trim_start_matches('i')
}

/// A number that may not be known.
pub(super) fn count(n: &Option<u64>) -> String {
    n.map_or_else(|| "–".to_owned(), |n| n.to_string())
}

pub(super) fn duration(ms: &u64) -> String {
    text::duration(*ms)
}

pub(super) fn maybe(ms: &Option<u64>) -> String {
    ms.map_or_else(|| "–".to_owned(), text::duration)
}

pub(super) fn or_empty(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

pub(super) fn bytes(n: &Option<u64>) -> String {
    n.map_or_else(|| "–".to_owned(), text::bytes)
}

/// A moment, as HTML and scripts read it.
pub(super) fn moment(wall_ms: &u64) -> String {
    written(*wall_ms, "%Y-%m-%dT%H:%M:%SZ")
}

/// The time of day, by UTC: the server does not know the reader's zone.
pub(super) fn clock(wall_ms: &u64) -> String {
    written(*wall_ms, "%H:%M:%S")
}

/// A moment with its day, by UTC.
pub(super) fn date_and_clock(wall_ms: &u64) -> String {
    written(*wall_ms, "%Y-%m-%d %H:%M:%S")
}

/// A day, by UTC.
pub(super) fn date(wall_ms: &u64) -> String {
    written(*wall_ms, "%Y-%m-%d")
}

fn written(wall_ms: u64, format: &str) -> String {
    let at = i64::try_from(wall_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| "–".to_owned(), |at| at.strftime(format).to_string())
}

/// The share of requests that failed.
pub(super) fn rate(r: &ReleaseMetrics) -> String {
    percent(failed(r).rate())
}

/// How somebody is told: `type` is no name in templates.
pub(super) fn by(notification: &Notification) -> &str {
    &notification.r#type
}
