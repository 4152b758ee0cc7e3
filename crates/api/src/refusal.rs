//! Refusals of the log as answers; the texts stay as they are.

use std::io;

use temps_core::command::Rejection;
use temps_ledger::LedgerError;
use tonic::Status;

/// The longest text of a refusal, in bytes: it travels in a header.
const TEXT_MAX: usize = 4_096;

/// A text that fits.
pub(crate) fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

pub(crate) fn refused(why: &Rejection) -> Status {
    let text = bounded(why.to_string());
    match why {
        Rejection::NotFound { .. } => Status::not_found(text),
        Rejection::Invalid { .. } => Status::invalid_argument(text),
        Rejection::Conflict { .. } => Status::already_exists(text),
        Rejection::Denied { .. } => Status::permission_denied(text),
        // Only the planner sends what can be stale, and not over this desk.
        Rejection::Stale { .. } => Status::internal(text),
    }
}

pub(crate) fn unanswered(why: &LedgerError) -> Status {
    Status::unavailable(why.to_string())
}

/// Of the artifact store.
pub(crate) fn unstored(why: &io::Error) -> Status {
    match why.kind() {
        io::ErrorKind::NotFound => Status::not_found("the bundle is not stored on this node"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Status::invalid_argument(why.to_string()),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Status::resource_exhausted(format!("there is no space left on this node: {why}"))
        }
        _ => Status::internal(format!("the bundle store failed: {why}")),
    }
}
