//! The agent's one place where things change: events come in, acts and reports go out.
//!
//! Everything slow runs in tasks that answer with an [`Event`]; nothing here waits. What a strategy is,
//! who leads, and how requests are routed is not known here.

mod act;
mod artifacts;
mod builds;
mod listing;
mod outcomes;
mod own;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::assignment::{Assignment, assignment};
use temps_core::command::{Outcome, Receipt};
use temps_core::model::{Artifact, DeploymentId, Exit, InstanceId, Want};
use temps_core::table::EdgeReport;
use temps_ledger::{Ledger, LedgerError, Proposal};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use self::artifacts::Fetches;
use self::builds::Builds;
use self::listing::Listing;
use self::own::Own;
use crate::build::{Build, BuildError};
use crate::diff::{Here, Standing, diff};
use crate::facts::{Sight, facts};
use crate::health::Vitals;
use crate::local::{Local, Stage};
use crate::memory::Memory;
use crate::outbox::Outbox;
use crate::runtime::{Found, Running, Runtime, StartError};
use crate::store::{Fetch, Store, StoreError};
use crate::view::LocalView;

/// Time until something that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What a task has to say.
#[derive(Debug)]
pub(crate) enum Event {
    /// Everything on this node, and when it was asked for.
    Listed(Instant, std::io::Result<Vec<Found>>),
    /// Something may have changed that only a list tells.
    Changed,
    /// Everything that was decided before the question is known here, and when that was asked.
    Current(u64, Instant),
    Started(InstanceId, Result<Running, StartError>),
    Checked(InstanceId, Vitals),
    /// It does not run any more.
    Ends(InstanceId),
    /// How it ended.
    Ended(InstanceId, Exit),
    Stopped(InstanceId, std::io::Result<()>),
    Removed(InstanceId, std::io::Result<()>),
    Fetched(String, Result<(), StoreError>),
    Built(DeploymentId, Result<Artifact, BuildError>),
    /// Whether there was a quorum, and when that was asked.
    Quorum(Instant, bool),
    Trouble(Option<String>),
    Free(Option<u64>),
    Reported(Result<Receipt, LedgerError>),
}

/// Everything the agent works with, and everything it remembers.
pub(crate) struct Hands {
    ledger: Arc<dyn Ledger>,
    runtime: Arc<dyn Runtime>,
    builder: Option<Arc<dyn Build>>,
    store: Arc<Store>,
    fetch: Arc<dyn Fetch>,
    edge: watch::Receiver<EdgeReport>,
    view: watch::Sender<LocalView>,
    tell: mpsc::UnboundedSender<Event>,
    /// All end with the agent. Instances do not.
    tasks: JoinSet<()>,
    listing: Listing,
    standing: Standing,
    /// Counts the questions whether the assignment is current; only the last answer matters.
    question: u64,
    asking: Option<AbortHandle>,
    assigned: Assignment,
    known_stored: BTreeSet<String>,
    known_boot: u64,
    locals: BTreeMap<InstanceId, Local>,
    fetches: Fetches,
    builds: Builds,
    own: Own,
    memory: Memory,
    outbox: Outbox,
}

/// What hands are given.
pub(crate) struct Tools {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) data: PathBuf,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) builder: Option<Arc<dyn Build>>,
    pub(crate) store: Arc<Store>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) edge: watch::Receiver<EdgeReport>,
    pub(crate) view: watch::Sender<LocalView>,
    pub(crate) boot: u64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) disks: Vec<PathBuf>,
    pub(crate) lease: Duration,
}

impl Hands {
    pub(crate) fn new(tools: Tools) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (tell, events) = mpsc::unbounded_channel();
        let hands = Self {
            own: Own::new(tools.runtime.kind(), tools.labels, tools.disks, tools.lease, &tools.data),
            outbox: Outbox::new(tools.ledger.node(), tools.boot),
            ledger: tools.ledger,
            runtime: tools.runtime,
            builder: tools.builder,
            store: tools.store,
            fetch: tools.fetch,
            edge: tools.edge,
            view: tools.view,
            tell,
            tasks: JoinSet::new(),
            listing: Listing::new(),
            standing: Standing::MaybeOld,
            question: 0,
            asking: None,
            assigned: Assignment::default(),
            known_stored: BTreeSet::new(),
            known_boot: 0,
            locals: BTreeMap::new(),
            fetches: Fetches::new(),
            builds: Builds::default(),
            memory: Memory::default(),
        };
        (hands, events)
    }

    /// Starts to look and to ask.
    pub(crate) fn begin(&mut self) {
        self.watch_changes();
        self.ask_whether_current();
        self.reconcile();
    }

    /// Until everything decided elsewhere is known here, nothing is started or ended.
    pub(crate) fn ask_whether_current(&mut self) {
        self.standing = Standing::MaybeOld;
        self.question += 1;
        let (ledger, tell, question) = (Arc::clone(&self.ledger), self.tell.clone(), self.question);
        let asking = self.tasks.spawn(async move {
            loop {
                let asked = Instant::now();
                match ledger.barrier().await {
                    Ok(_) => {
                        let _ = tell.send(Event::Current(question, asked));
                        return;
                    }
                    Err(error) => tracing::debug!(%error, "the assignment may be old"),
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        if let Some(before) = self.asking.replace(asking) {
            before.abort();
        }
    }

    pub(crate) fn on(&mut self, event: Event) {
        match event {
            Event::Listed(asked, outcome) => self.listed(asked, outcome),
            Event::Changed => self.listing.want(Instant::now()),
            Event::Current(question, asked) => {
                self.own.lease.prove(asked);
                if question == self.question {
                    self.standing = Standing::Current;
                }
            }
            Event::Started(id, outcome) => self.started(id, outcome),
            Event::Checked(id, vitals) => self.checked(id, vitals),
            Event::Ends(id) => self.ends(id),
            Event::Ended(id, exit) => self.ended(id, exit),
            Event::Stopped(id, outcome) => self.stopped(id, outcome),
            Event::Removed(id, outcome) => self.removed(id, outcome),
            Event::Fetched(digest, outcome) => self.fetched(&digest, outcome),
            Event::Built(deployment, outcome) => self.builds.built(deployment, outcome),
            Event::Quorum(asked, has) => self.own.quorum(asked, has),
            Event::Trouble(trouble) => self.own.heard(trouble),
            Event::Free(free) => self.own.measured(free),
            Event::Reported(outcome) => self.reported(outcome),
        }
    }

    fn reported(&mut self, outcome: Result<Receipt, LedgerError>) {
        let now = Instant::now();
        match outcome {
            Ok(receipt) => {
                if let Outcome::Rejected(why) = &receipt.outcome {
                    tracing::warn!(%why, "a report was refused");
                }
                self.outbox.answered(now);
            }
            Err(error) => {
                tracing::debug!(%error, "a report got no answer");
                self.outbox.failed(now);
            }
        }
    }

    /// Makes this node match what is known now, and tells what is not known elsewhere.
    pub(crate) fn reconcile(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the agent is broken");
            }
        }
        self.read_state();
        let now = Instant::now();
        self.list_if_due(now);
        self.look_at_node(now);
        self.keep_lease(now);
        let stored = self.store.list();
        self.note_unneeded(&stored, now);
        for act in diff(&self.assigned, &self.here(stored, now)) {
            self.act(act, now);
        }
        self.build(now);
        self.tidy(now);
        let assigned = &self.assigned;
        self.locals.retain(|id, local| {
            assigned.instances.contains_key(id) || !matches!(local.stage, Stage::Removed(_))
        });
        self.look_at_drains();
        self.report(now);
        if !self.listing.done() {
            return;
        }
        let view = LocalView::of(&self.assigned, &self.locals);
        self.view.send_if_modified(|old| {
            let changed = *old != view;
            *old = view;
            changed
        });
    }

    /// Before everything on this node was listed, nothing can be concluded from what is not known here.
    fn standing(&self) -> Standing {
        if self.listing.done() { self.standing } else { Standing::MaybeOld }
    }

    fn read_state(&mut self) {
        let state = self.ledger.state();
        // An index that goes back is somebody's mistake, and the newer instructions stand.
        if state.index <= self.assigned.index && self.assigned.index > 0 {
            return;
        }
        let node = self.ledger.node();
        self.assigned = assignment(&state, node);
        if let Some(known) = state.nodes.get(&node) {
            self.known_stored.clone_from(&known.artifacts);
            self.known_boot = known.boot;
        }
    }

    fn here(&self, stored: BTreeSet<String>, now: Instant) -> Here {
        Here {
            standing: self.standing(),
            instances: self.locals.iter().map(|(id, local)| (*id, local.phase())).collect(),
            stored,
            fetching: self.fetches.busy(now),
            unneeded: self.fetches.long_unneeded(now),
        }
    }

    fn look_at_drains(&mut self) {
        let edge = self.edge.borrow();
        for (id, work) in self.assigned.instances.iter().filter(|(_, w)| w.instance.want == Want::Drain) {
            if let Some(local) = self.locals.get_mut(id)
                && local.phase() == crate::diff::Phase::Draining
            {
                local.drain.look(work, self.assigned.index, &edge);
            }
        }
    }

    fn report(&mut self, now: Instant) {
        self.memory.look(&self.edge.borrow(), &self.assigned.unmeasured, now);
        let sight = Sight {
            standing: self.standing(),
            assigned: &self.assigned,
            locals: &self.locals,
            edge: &self.edge.borrow(),
            stored: &self.store.list(),
            known_stored: &self.known_stored,
            pasts: self.memory.pasts(),
            builds: self.builds.results(),
            node: self.own.condition.news(&self.assigned.facts, now),
        };
        let facts = facts(&sight);
        let Some(command) = self.outbox.next(facts, self.known_boot, now) else { return };
        let (ledger, tell) = (Arc::clone(&self.ledger), self.tell.clone());
        self.tasks.spawn(async move {
            let by = format!("node {}", ledger.node());
            let outcome = ledger.propose(Proposal { key: None, by, command }).await;
            let _ = tell.send(Event::Reported(outcome));
        });
    }
}
