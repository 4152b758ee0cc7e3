//! What people should be told, read off the events: nothing is kept twice.

use crate::model::{ClusterState, Event, Phase, What};

/// Events worth telling that nobody was told of yet, oldest first.
pub fn notices(state: &ClusterState) -> impl Iterator<Item = &Event> {
    use std::ops::Bound::{Excluded, Unbounded};
    state
        .events
        .range((Excluded(state.noticed), Unbounded))
        .map(|(_, event)| event)
        .filter(|event| is_worth_telling(&event.what))
}

fn is_worth_telling(what: &What) -> bool {
    match what {
        What::Accepted { .. }
        | What::Reverting { .. }
        | What::Failed { .. }
        | What::NodeLost { .. }
        | What::NodeReturned { .. }
        | What::NodeDrained { .. }
        | What::NodeRemoved { .. }
        | What::CertificateFailed { .. } => true,
        What::Ended { phase, .. } => *phase != Phase::Superseded,
        What::Building { .. }
        | What::Built { .. }
        | What::ReleaseStarted { .. }
        | What::ReleaseDone { .. }
        | What::Starting { .. }
        | What::Healthy { .. }
        | What::Admitted { .. }
        | What::Unhealthy { .. }
        | What::Draining { .. }
        | What::Drained { .. }
        | What::DrainTimedOut { .. }
        | What::Removed { .. }
        | What::Crashed { .. }
        | What::Judged { .. }
        | What::Watching { .. }
        | What::Share { .. }
        | What::Paused { .. }
        | What::Resumed { .. }
        | What::Promoted { .. }
        | What::Scaled { .. }
        | What::DomainAdded { .. }
        | What::DomainRemoved { .. }
        | What::CertificateIssued { .. }
        | What::MaintenanceBegan { .. }
        | What::MaintenanceEnded { .. }
        | What::NodeJoined { .. }
        | What::NodeCordoned { .. }
        | What::NodeUncordoned { .. }
        | What::NodeDraining { .. } => false,
    }
}
