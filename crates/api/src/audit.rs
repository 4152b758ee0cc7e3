//! Who changed what.

use temps_core::model::AuditEntry;
use temps_wire::proto::{self, ListAuditRequest, ListAuditResponse};

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::limits;

/// How many entries are listed unless asked otherwise, and at most.
const LISTED: u32 = 50;
const LISTED_MAX: u32 = 1_000;

pub(crate) async fn list_audit(
    desk: &Desk,
    _: Caller,
    request: ListAuditRequest,
) -> Answer<ListAuditResponse> {
    let ListAuditRequest { project, by, since_ms, limit, after, before } = request;
    limits::text("the project name", &project)?;
    limits::text("the name", &by)?;
    let limit = match limit {
        0 => LISTED,
        limit => limit.min(LISTED_MAX),
    } as usize;
    let state = desk.fresh().await?;
    let audit = &state.audit;
    let wanted = |entry: &&AuditEntry| {
        (project.is_empty() || entry.project.as_ref() == Some(&project))
            && (by.is_empty() || entry.by == by)
            && entry.wall >= since_ms
            && before.is_none_or(|before| entry.index < before)
    };
    let all = audit.entries.values().map(AsRef::as_ref).filter(wanted);
    let entries = match after {
        Some(after) => all.filter(|entry| entry.index > after).take(limit).map(shown).collect(),
        None => {
            let mut newest: Vec<_> = all.rev().take(limit).map(shown).collect();
            newest.reverse();
            newest
        }
    };
    Ok(ListAuditResponse { entries, before: audit.before.clone(), forgotten: audit.forgotten })
}

fn shown(entry: &AuditEntry) -> proto::AuditEntry {
    let (outcome, why) = entry.outcome.words();
    proto::AuditEntry {
        index: entry.index,
        wall_ms: entry.wall,
        kind: entry.kind.word().to_owned(),
        by: entry.by.clone(),
        from: entry.from.clone().unwrap_or_default(),
        operation: entry.operation.clone(),
        project: entry.project.clone().unwrap_or_default(),
        object: entry.object.clone(),
        outcome: outcome.to_owned(),
        why: why.to_owned(),
        hash: entry.hash.clone(),
    }
}
