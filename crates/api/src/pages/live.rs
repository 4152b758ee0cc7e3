//! The one stream of a page: it says that something has changed, and up to which index of the log.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{StreamExt, unfold};
use http::HeaderMap;
use serde::Deserialize;

use super::visitor::Visitor;
use crate::desk::{Desk, Lines};

/// How long changes are gathered: a page that is fetched anew more often shows nobody more.
const GATHER: Duration = Duration::from_millis(400);
/// How often it says that it is still there.
const BEAT: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
pub(super) struct Since {
    /// The index of the log that the page shows; on any node.
    after: Option<u64>,
}

/// Whoever shows something older than this node has is told at once; a node that is behind waits until it has more.
pub(super) async fn live(
    State(desk): State<Desk>,
    Query(since): Query<Since>,
    headers: HeaderMap,
    visitor: Visitor,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let shown = last.or(since.after).unwrap_or_else(|| desk.ledger.state().index);
    let mut changes = desk.ledger.changes();
    // What has happened before counts as a change.
    changes.mark_changed();
    let lines = unfold((changes, shown), |(mut changes, shown)| async move {
        loop {
            changes.changed().await.ok()?;
            if *changes.borrow_and_update() > shown {
                break;
            }
        }
        tokio::time::sleep(GATHER).await;
        let index = *changes.borrow_and_update();
        let index_told = index.to_string();
        Some((Ok(Event::default().event("changed").id(&index_told).data(index_told)), (changes, index)))
    });
    let lines: Lines<Event> = Box::pin(lines);
    // Whoever is signed out gets the end of the stream, and then the page to sign in.
    let lines = desk.while_permitted(&visitor.caller, lines);
    let lines = lines.filter_map(|line| async { line.ok().map(Ok::<_, Infallible>) });
    // Scripts hear nothing of comments, nor of events without data.
    let beat = KeepAlive::new().interval(BEAT).event(Event::default().event("here").data("here"));
    let mut response = Sse::new(lines).keep_alive(beat).into_response();
    response.headers_mut().insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    response
}
