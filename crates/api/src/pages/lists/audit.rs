//! Who changed what.

use askama::Template;
use axum::extract::{Query, State};
use serde::Deserialize;
use temps_core::access::days;
use temps_ledger::wall;
use temps_wire::proto::{AuditEntry, ListAuditRequest};
use tonic::Status;

use super::super::frame::Frame;
use super::super::visitor::Visitor;
use super::super::{Page, show, words};
use crate::desk::Desk;
use crate::operations::Operations;

const AT: &str = "/audit";
/// How many entries are shown unless asked otherwise, and at most.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 1_000;

/// Which entries are shown. A form sends an empty text for what is left out.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::pages) struct Wish {
    project: String,
    by: String,
    /// Such as `12h` or `7d`.
    since: String,
    limit: String,
    /// Only those before this log index.
    before: String,
}

impl Wish {
    fn limit(&self) -> Result<u32, Status> {
        let limit = match self.limit.trim() {
            "" => return Ok(LIMIT),
            limit => limit.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)),
        };
        limit.ok_or_else(|| {
            Status::invalid_argument(format!("{:?} is no number from 1 to {LIMIT_MAX}", self.limit))
        })
    }

    fn request(&self) -> Result<ListAuditRequest, Status> {
        let since_ms = match self.since.trim() {
            "" => 0,
            since => wall().saturating_sub(days(since).map_err(Status::invalid_argument)?),
        };
        let before = match self.before.trim() {
            "" => None,
            before => Some(
                before
                    .parse()
                    .map_err(|_| Status::invalid_argument(format!("{before:?} is no index of the log")))?,
            ),
        };
        Ok(ListAuditRequest {
            project: self.project.trim().to_owned(),
            by: self.by.trim().to_owned(),
            since_ms,
            limit: self.limit()?,
            after: None,
            before,
        })
    }

    /// The same of what is older.
    fn before(&self, index: u64) -> Result<String, Status> {
        let before = index.to_string();
        let asked = [
            ("project", self.project.as_str()),
            ("by", &self.by),
            ("since", &self.since),
            ("limit", &self.limit),
            ("before", &before),
        ];
        let asked: Vec<_> = asked.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let query = serde_urlencoded::to_string(asked).map_err(|why| Status::internal(why.to_string()))?;
        Ok(format!("{AT}?{query}"))
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    wish: Wish,
    /// The newest first.
    entries: Vec<AuditEntry>,
    /// Where older ones are shown; empty where there are none.
    older: String,
    /// How many older ones are not kept any more.
    forgotten: u64,
}

/// Asked with a quorum alone, as who may see it may have changed elsewhere.
pub(in crate::pages) async fn audit(
    State(desk): State<Desk>,
    visitor: Visitor,
    Query(wish): Query<Wish>,
) -> Page {
    let asked = wish.request()?;
    let limit = asked.limit as usize;
    let listed = Operations::list_audit(&desk, visitor.caller.clone(), asked).await?;
    let mut entries = listed.entries;
    entries.reverse();
    let older = match entries.last() {
        Some(oldest) if entries.len() >= limit => wish.before(oldest.index)?,
        Some(_) | None => String::new(),
    };
    let frame = Frame::new(&visitor, AT).await;
    show(&Audit { frame, wish, entries, older, forgotten: listed.forgotten })
}
