//! The events of a deployment as they come.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use futures_util::stream::{StreamExt, unfold};
use temps_core::model::{ClusterState, DeploymentId, EventId, Index};
use temps_ledger::{Ledger, LedgerError};
use temps_wire::proto::{Event, WatchDeploymentRequest};
use tokio::sync::watch;
use tonic::Status;

use crate::caller::Caller;
use crate::desk::{Answer, Desk, Lines};
use crate::refusal::unanswered;
use crate::views;

pub(crate) async fn watch_deployment(
    desk: &Desk,
    caller: Caller,
    request: WatchDeploymentRequest,
) -> Answer<Lines<Event>> {
    let id = DeploymentId(request.number);
    // One that was accepted a moment ago by another node may not have arrived here.
    if !desk.ledger.state().deployments.contains_key(&id)
        && !desk.fresh().await?.deployments.contains_key(&id)
    {
        return Err(Status::not_found(format!("there is no deployment {id}")));
    }
    let follower = Follower {
        ledger: Arc::clone(&desk.ledger),
        changes: desk.ledger.changes(),
        id,
        after: request.after.map(|id| EventId { index: id.index, place: id.place }),
        ready: VecDeque::new(),
        over: false,
    };
    let events = unfold(follower, |mut follower| async {
        let item = follower.next().await?;
        Some((item, follower))
    });
    Ok(desk.while_permitted(&caller, events.boxed()))
}

struct Follower {
    ledger: Arc<dyn Ledger>,
    changes: watch::Receiver<Index>,
    id: DeploymentId,
    /// Every event up to this one was looked at.
    after: Option<EventId>,
    ready: VecDeque<Event>,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Answer<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            // Marked as seen before the state is read, so that no change falls between the two.
            self.changes.borrow_and_update();
            let state = self.ledger.state();
            self.collect(&state);
            if self.ready.is_empty() && !self.over && self.changes.changed().await.is_err() {
                self.over = true;
                return Some(Err(unanswered(&LedgerError::Closing)));
            }
        }
    }

    fn collect(&mut self, state: &ClusterState) {
        let after = self.after.map_or(Bound::Unbounded, Bound::Excluded);
        for (id, event) in state.events.range((after, Bound::Unbounded)) {
            self.after = Some(*id);
            if event.deployment == Some(self.id) {
                self.ready.push_back(views::event(state, event));
            }
        }
        self.over = state.deployments.get(&self.id).is_none_or(|d| d.phase.is_terminal());
    }
}
