//! The leader's duties: run the planner, decide which nodes count, order certificates, and tell people.
//!
//! What a plan contains is not known here, nor what runs on a node. A deposed leader is harmless:
//! its plans carry the revision they were made on and are refused.

mod acme;
mod certify;
mod lease;
mod notify;

pub use certify::{Certifier, Vault};
pub use notify::{ChannelKeys, Notifier};

use std::sync::Arc;
use std::time::Duration;

use temps_core::command::{Command, Outcome, Rejection};
use temps_core::model::Millis;
use temps_core::plan::plan;
use temps_ledger::{Ledger, Proposal};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How often silence of nodes is looked at.
const LIVENESS_EVERY: Duration = Duration::from_millis(250);
/// How long to wait after the log gave no answer.
const PAUSE: Duration = Duration::from_millis(200);

/// The duties of a leader, on every node; they rest while another node leads.
pub struct Control {
    ledger: Arc<dyn Ledger>,
    lease: Duration,
}

impl Control {
    /// Duties on this ledger. A node that the leader has not heard for `lease` counts as lost.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, lease: Duration) -> Self {
        Self { ledger, lease }
    }

    /// Does the duties whenever this node leads, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut changes = self.ledger.changes();
        let mut leadership = self.ledger.leadership();
        let mut led = false;
        loop {
            changes.mark_unchanged();
            let leads = leadership.borrow_and_update().leader == Some(self.ledger.node());
            if leads != led {
                led = leads;
                info!(leads, "leadership changed");
            }
            let wait = if leads { self.lead().await } else { LIVENESS_EVERY };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                changed = changes.changed() => if changed.is_err() { return },
                changed = leadership.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Writes what is due now; returns how long nothing will be, unless something happens.
    async fn lead(&self) -> Duration {
        let state = self.ledger.state();
        if let Some(command) = lease::liveness(&state, self.ledger.node(), &self.ledger.silence(), self.lease)
        {
            return self.write("liveness", command).await;
        }
        let now = self.ledger.now();
        let plan = plan(&state, now);
        if !plan.actions.is_empty() {
            debug!(actions = ?plan.actions, "planned");
            return self.write("plan", Command::Plan { seen: state.revision, actions: plan.actions }).await;
        }
        let due = plan.wake_at.map_or(Millis::MAX, |at| at.saturating_sub(now));
        Duration::from_millis(due).min(LIVENESS_EVERY)
    }

    async fn write(&self, what: &str, command: Command) -> Duration {
        let proposal = Proposal { key: None, by: "planner".to_owned(), command };
        match self.ledger.propose(proposal).await {
            Ok(receipt) => match receipt.outcome {
                Outcome::Done(_) => Duration::ZERO,
                Outcome::NoChange(_) => PAUSE,
                Outcome::Rejected(Rejection::Stale { seen, now }) => {
                    debug!(seen, now, "the state moved on; planning again");
                    Duration::ZERO
                }
                Outcome::Rejected(why) => {
                    warn!(what, %why, "refused");
                    PAUSE
                }
            },
            Err(why) => {
                warn!(what, %why, "no answer from the log");
                PAUSE
            }
        }
    }
}

#[cfg(test)]
mod tests;
