//! The agent's one place where things change: events come in, acts and reports go out.
//!
//! Everything slow runs in tasks that answer with an [`Event`]; nothing here waits. What a strategy is,
//! who leads, and how requests are routed is not known here.

mod act;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::assignment::{Assignment, assignment};
use temps_core::command::{Outcome, Receipt};
use temps_core::model::{Exit, InstanceId, Want};
use temps_core::table::EdgeReport;
use temps_ledger::{Ledger, LedgerError, Proposal};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::diff::{Here, Standing, diff};
use crate::facts::{Sight, facts};
use crate::health::Vitals;
use crate::local::{Care, Local, Stage};
use crate::outbox::Outbox;
use crate::runtime::{Found, Running, Runtime, StartError};
use crate::store::{Fetch, Store, StoreError};
use crate::view::LocalView;

/// How long an artifact that nobody here needs is kept: a deployment may be about to name it.
const UNNEEDED: Duration = Duration::from_secs(600);
/// Time until something that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What a task has to say.
#[derive(Debug)]
pub(crate) enum Event {
    Listed(std::io::Result<Vec<Found>>),
    Current(u64),
    Started(InstanceId, Result<Running, StartError>),
    Checked(InstanceId, Vitals),
    Ended(InstanceId, Exit),
    Stopped(InstanceId, std::io::Result<()>),
    Removed(InstanceId, std::io::Result<()>),
    Fetched(String, Result<(), StoreError>),
    Reported(Result<Receipt, LedgerError>),
}

/// A fetch that is under way, or that failed and waits.
#[derive(Clone, Copy, Debug)]
struct Fetching {
    failures: u32,
    /// `None` while it is under way.
    again_at: Option<Instant>,
}

/// Everything the agent works with, and everything it remembers.
pub(crate) struct Hands {
    ledger: Arc<dyn Ledger>,
    runtime: Arc<dyn Runtime>,
    store: Arc<Store>,
    fetch: Arc<dyn Fetch>,
    edge: watch::Receiver<EdgeReport>,
    view: watch::Sender<LocalView>,
    tell: mpsc::UnboundedSender<Event>,
    /// All end with the agent. Instances do not.
    tasks: JoinSet<()>,
    listed: bool,
    standing: Standing,
    /// Counts the questions whether the assignment is current; only the last answer matters.
    question: u64,
    asking: Option<AbortHandle>,
    assigned: Assignment,
    known_stored: BTreeSet<String>,
    known_boot: u64,
    locals: BTreeMap<InstanceId, Local>,
    fetching: BTreeMap<String, Fetching>,
    unneeded: BTreeMap<String, Instant>,
    outbox: Outbox,
}

/// What hands are given.
pub(crate) struct Tools {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) store: Arc<Store>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) edge: watch::Receiver<EdgeReport>,
    pub(crate) view: watch::Sender<LocalView>,
    pub(crate) boot: u64,
}

impl Hands {
    pub(crate) fn new(tools: Tools) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (tell, events) = mpsc::unbounded_channel();
        let hands = Self {
            outbox: Outbox::new(tools.ledger.node(), tools.boot),
            ledger: tools.ledger,
            runtime: tools.runtime,
            store: tools.store,
            fetch: tools.fetch,
            edge: tools.edge,
            view: tools.view,
            tell,
            tasks: JoinSet::new(),
            listed: false,
            standing: Standing::MaybeOld,
            question: 0,
            asking: None,
            assigned: Assignment::default(),
            known_stored: BTreeSet::new(),
            known_boot: 0,
            locals: BTreeMap::new(),
            fetching: BTreeMap::new(),
            unneeded: BTreeMap::new(),
        };
        (hands, events)
    }

    /// Until everything decided elsewhere is known here, nothing is started or ended.
    pub(crate) fn ask_whether_current(&mut self) {
        self.standing = Standing::MaybeOld;
        self.question += 1;
        let (question, ledger, tell) = (self.question, Arc::clone(&self.ledger), self.tell.clone());
        let asking = self.tasks.spawn(async move {
            while let Err(error) = ledger.barrier().await {
                tracing::debug!(%error, "the assignment may be old");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            let _ = tell.send(Event::Current(question));
        });
        if let Some(before) = self.asking.replace(asking) {
            before.abort();
        }
    }

    pub(crate) fn on(&mut self, event: Event) {
        match event {
            Event::Listed(Ok(found)) => self.listed(found),
            Event::Listed(Err(error)) => {
                tracing::error!(%error, "the instances on this node cannot be listed");
                self.list_after(Duration::from_secs(1));
            }
            Event::Current(question) => {
                if question == self.question {
                    self.standing = Standing::Current;
                }
            }
            Event::Started(id, outcome) => self.started(id, outcome),
            Event::Checked(id, vitals) => {
                if let Some(local) = self.locals.get_mut(&id)
                    && matches!(local.stage, Stage::Up(_, Care::Health))
                {
                    tracing::info!(instance = %id, seen = ?vitals.seen, last_check = vitals.last_check, "checked");
                    local.vitals = vitals;
                }
            }
            Event::Ended(id, exit) => {
                tracing::info!(instance = %id, how = exit.how(), asked = exit.asked, "ended");
                if let Some(local) = self.locals.get_mut(&id) {
                    local.end_checks();
                    local.stage = Stage::Ended(exit);
                }
            }
            Event::Stopped(id, outcome) => self.stopped(id, outcome),
            Event::Removed(id, outcome) => self.removed(id, outcome),
            Event::Fetched(digest, outcome) => self.fetched(&digest, outcome),
            Event::Reported(outcome) => self.reported(outcome),
        }
    }

    fn listed(&mut self, found: Vec<Found>) {
        for found in found {
            let id = found.instance;
            let local = Local::found(found);
            // What is known is known better, unless it runs after all.
            let is_news = self.locals.get(&id).is_none_or(|known| {
                local.running().is_some() && matches!(known.stage, Stage::Unstarted | Stage::Ended(_))
            });
            if !is_news {
                continue;
            }
            tracing::info!(instance = %id, phase = ?local.phase(), "found on this node");
            if local.running().is_some() {
                self.wait_for_end(id);
            }
            self.locals.insert(id, local);
        }
        self.listed = true;
        self.list_after(Duration::from_secs(30));
    }

    fn started(&mut self, id: InstanceId, outcome: Result<Running, StartError>) {
        let can_fetch_again = self.somebody_has(id);
        let Some(local) = self.locals.get_mut(&id) else { return };
        match outcome {
            Ok(running) => {
                tracing::info!(instance = %id, incarnation = running.incarnation, "started");
                local.stage = Stage::Up(running, Care::Nothing);
                self.wait_for_end(id);
            }
            Err(StartError::Damaged) if can_fetch_again => {
                tracing::warn!(instance = %id, "the stored artifact is damaged and is fetched again");
                if let Some(local) = self.locals.remove(&id) {
                    self.forget_artifact(local.digest);
                }
            }
            Err(error) => {
                tracing::warn!(instance = %id, %error, "not started");
                let error = Some(error.to_string());
                local.stage = Stage::Ended(Exit { error, ..Exit::default() });
            }
        }
    }

    fn somebody_has(&self, id: InstanceId) -> bool {
        let digest = self.assigned.instances.get(&id).map(|work| &work.artifact.digest);
        digest.and_then(|d| self.assigned.artifacts.get(d)).is_some_and(|wanted| !wanted.holders.is_empty())
    }

    fn stopped(&mut self, id: InstanceId, outcome: std::io::Result<()>) {
        // That it has ended, and how, is told by the task that waits for it.
        let Err(error) = outcome else { return };
        tracing::error!(instance = %id, %error, "not stopped");
        let Some(local) = self.locals.get_mut(&id) else { return };
        if let Stage::Stopping(running) = &local.stage {
            local.stage = Stage::Up(running.clone(), Care::Drain);
            local.not_before = Some(Instant::now() + TRY_AGAIN);
        }
    }

    fn removed(&mut self, id: InstanceId, outcome: std::io::Result<()>) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        let Stage::Removing(exit) = &mut local.stage else { return };
        let exit = exit.take();
        match outcome {
            Ok(()) => {
                tracing::info!(instance = %id, "removed");
                local.stage = Stage::Removed(exit);
            }
            Err(error) => {
                tracing::error!(instance = %id, %error, "not removed");
                local.stage = exit.map_or(Stage::Unstarted, Stage::Ended);
                local.not_before = Some(Instant::now() + TRY_AGAIN);
            }
        }
    }

    fn fetched(&mut self, digest: &str, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => {
                tracing::info!(digest, "artifact fetched");
                self.fetching.remove(digest);
            }
            Err(error) => {
                tracing::warn!(digest, %error, "artifact not fetched");
                if let Some(fetching) = self.fetching.get_mut(digest) {
                    fetching.failures += 1;
                    let wait = Duration::from_millis(500 << fetching.failures.min(4));
                    fetching.again_at = Some(Instant::now() + wait);
                }
            }
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
        if !self.listed {
            return;
        }
        let now = Instant::now();
        let stored = self.store.list();
        self.note_unneeded(&stored, now);
        for act in diff(&self.assigned, &self.here(stored, now)) {
            self.act(act, now);
        }
        let assigned = &self.assigned;
        self.locals.retain(|id, local| {
            assigned.instances.contains_key(id) || !matches!(local.stage, Stage::Removed(_))
        });
        self.look_at_drains();
        self.report(now);
        let view = LocalView::of(&self.assigned, &self.locals);
        self.view.send_if_modified(|old| {
            let changed = *old != view;
            *old = view;
            changed
        });
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
        let is_busy = |f: &Fetching| f.again_at.is_none_or(|at| now < at);
        let is_long = |since: &Instant| now.duration_since(*since) >= UNNEEDED;
        Here {
            standing: self.standing,
            instances: self.locals.iter().map(|(id, local)| (*id, local.phase())).collect(),
            stored,
            fetching: self.fetching.iter().filter(|(_, f)| is_busy(f)).map(|(d, _)| d.clone()).collect(),
            unneeded: self.unneeded.iter().filter(|(_, s)| is_long(s)).map(|(d, _)| d.clone()).collect(),
        }
    }

    fn note_unneeded(&mut self, stored: &BTreeSet<String>, now: Instant) {
        let needed: BTreeSet<&String> =
            self.locals.values().map(|l| &l.digest).chain(self.assigned.artifacts.keys()).collect();
        self.unneeded.retain(|digest, _| stored.contains(digest) && !needed.contains(digest));
        for digest in stored.iter().filter(|d| !needed.contains(d)) {
            self.unneeded.entry(digest.clone()).or_insert(now);
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
        let sight = Sight {
            standing: self.standing,
            assigned: &self.assigned,
            locals: &self.locals,
            edge: &self.edge.borrow(),
            stored: &self.store.list(),
            known_stored: &self.known_stored,
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
