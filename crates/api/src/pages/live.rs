//! The one stream of a page: it says that something has changed, and up to which index of the log; in between, that it is
//! still there, and whether anything can be changed.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{StreamExt, unfold};
use http::HeaderMap;
use serde::Deserialize;
use temps_core::model::Index;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::visitor::Visitor;
use crate::desk::{Desk, Lines};

/// How long changes are gathered: a page that is fetched anew more often shows nobody more.
const GATHER: Duration = Duration::from_millis(400);
/// How often it says that it is still there, and with what.
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
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let news = News { desk: desk.clone(), changes, beat, shown };
    let lines = unfold(news, |mut news| async { Some((Ok(news.next().await?), news)) });
    let lines: Lines<Event> = Box::pin(lines);
    // Whoever is signed out gets the end of the stream, and then the page to sign in.
    let lines = desk.while_permitted(&visitor.caller, lines);
    let lines = lines.filter_map(|line| async { line.ok().map(Ok::<_, Infallible>) });
    let mut response = Sse::new(lines).into_response();
    response.headers_mut().insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    response
}

/// What one page is told.
struct News {
    desk: Desk,
    changes: watch::Receiver<Index>,
    beat: Interval,
    shown: Index,
}

impl News {
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                biased;
                changed = self.changes.changed() => {
                    changed.ok()?;
                    if *self.changes.borrow_and_update() > self.shown {
                        break;
                    }
                }
                _ = self.beat.tick() => {
                    // No entry of the log tells that there can be none. Scripts hear nothing of events without data.
                    let quorum = self.desk.at_hand().await.fresh;
                    return Some(Event::default().event("here").data(if quorum { "quorum" } else { "alone" }));
                }
            }
        }
        tokio::time::sleep(GATHER).await;
        self.shown = *self.changes.borrow_and_update();
        let told = self.shown.to_string();
        Some(Event::default().event("changed").id(&told).data(told))
    }
}
