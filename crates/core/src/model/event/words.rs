//! Words of events that hang on more than one thing.

use crate::model::Phase;

pub(super) fn age(new: bool) -> &'static str {
    if new { "New" } else { "Old" }
}

pub(super) fn ended(phase: Phase, errors: Option<u64>) -> String {
    let head = match phase {
        Phase::Succeeded => "Deployment complete.",
        Phase::RolledBack => "Rolled back.",
        Phase::Cancelled => "Cancelled.",
        Phase::Superseded => return "Superseded by a newer deployment.".to_owned(),
        Phase::Failed => "Deployment failed.",
        Phase::Queued
        | Phase::Building
        | Phase::Releasing
        | Phase::Stepping
        | Phase::Watching
        | Phase::Reverting => "Deployment ended.",
    };
    match errors {
        None => head.to_owned(),
        Some(0) => format!("{head} Zero errors."),
        Some(1) => format!("{head} 1 request failed."),
        Some(n) => format!("{head} {n} requests failed."),
    }
}

/// `in 3 days`.
pub(super) fn in_days(days: u64) -> String {
    match days {
        0 => "within a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    }
}
