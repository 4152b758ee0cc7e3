//! A log that three nodes share, each with a state of its own, in one process: nodes die, come back and lead in turn,
//! and can be stopped exactly between two steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use temps_core::apply::apply;
use temps_core::command::{Command, ENTRY_VERSION, Entry, Notify, Receipt};
use temps_core::model::{ClusterState, EventId, Index, Millis, NodeId, Notice};
use temps_ledger::{Leadership, Ledger, LedgerError, Proposal, wall};
use tokio::sync::{oneshot, watch};

/// So much faster than ours the cluster clock goes, so that the waits of receivers that fail take no minutes.
const SPEED: u64 = 20;
/// One proposal in so many gets no answer.
const UNANSWERED: u32 = 400;

/// Where a leader can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// The receiver has the request, and has not answered.
    Received,
    /// The receiver has answered, and nothing of that is in the log.
    Unwritten,
    /// It is in the log, and the leader does not know that yet.
    Written,
}

/// A node, as long as it lives.
struct Seat {
    state: Mutex<Arc<ClusterState>>,
    changes: watch::Sender<Index>,
    leadership: watch::Sender<Leadership>,
}

impl Seat {
    /// A node that has read this log from the beginning.
    fn reading(entries: &[Entry], leadership: Leadership) -> Self {
        let seat = Self {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            leadership: watch::Sender::new(leadership),
        };
        for (entry, index) in entries.iter().zip(1..) {
            seat.apply(index, entry);
        }
        seat
    }

    fn apply(&self, index: Index, entry: &Entry) -> Receipt {
        let receipt = apply(Arc::make_mut(&mut self.state.lock().unwrap()), index, entry);
        self.changes.send_replace(index);
        receipt
    }
}

#[derive(Default)]
struct Inside {
    entries: Vec<Entry>,
    /// The nodes that live.
    seats: BTreeMap<NodeId, Arc<Seat>>,
    leadership: Leadership,
    /// All that had to be told.
    made: BTreeMap<EventId, Notice>,
}

/// The log and its nodes.
pub(super) struct Group {
    inside: Mutex<Inside>,
    changes: watch::Sender<Index>,
    trap: Mutex<Option<(Point, oneshot::Sender<()>)>>,
    whims: Mutex<StdRng>,
    began: Instant,
}

impl Group {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            inside: Mutex::default(),
            changes: watch::Sender::new(0),
            trap: Mutex::new(None),
            whims: Mutex::new(StdRng::seed_from_u64(seed)),
            began: Instant::now(),
        })
    }

    /// Starts a node, with the whole log and nothing else.
    pub(super) fn join(self: &Arc<Self>, node: NodeId) -> Arc<dyn Ledger> {
        let mut inside = self.inside.lock().unwrap();
        let seat = Arc::new(Seat::reading(&inside.entries, inside.leadership));
        inside.seats.insert(node, Arc::clone(&seat));
        Arc::new(Door { node, seat, group: Arc::clone(self) })
    }

    /// A dead node hears nothing any more.
    pub(super) fn leave(&self, node: NodeId) {
        self.inside.lock().unwrap().seats.remove(&node);
    }

    pub(super) fn elect(&self, leader: Option<NodeId>) {
        let mut inside = self.inside.lock().unwrap();
        inside.leadership = Leadership { term: inside.leadership.term + 1, leader };
        for seat in inside.seats.values() {
            seat.leadership.send_replace(inside.leadership);
        }
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        self.inside.lock().unwrap().leadership.leader
    }

    /// Writes what somebody else than the notifiers asks for; nothing where nobody leads.
    pub(super) fn write(&self, command: Command) -> Option<Receipt> {
        self.append(self.leader()?, Proposal { key: None, by: "ann".to_owned(), command })
    }

    /// Whichever node asks, whoever leads writes it.
    fn append(&self, asking: NodeId, proposal: Proposal) -> Option<Receipt> {
        let mut inside = self.inside.lock().unwrap();
        inside.leadership.leader?;
        inside.seats.get(&asking)?;
        let Proposal { key, by, command } = proposal;
        let entry = Entry { version: ENTRY_VERSION, clock: self.now(), wall: wall(), key, by, command };
        inside.entries.push(entry.clone());
        let index = inside.entries.len() as Index;
        let receipts: Vec<_> = inside.seats.values().map(|seat| seat.apply(index, &entry)).collect();
        let state = inside.seats.values().next()?.state.lock().unwrap().clone();
        let made = state.notifications.notices.range(EventId { index, place: 0 }..);
        inside.made.extend(made.map(|(id, notice)| (*id, notice.clone())));
        drop(inside);
        // Whoever waits for it looks inside.
        self.changes.send_replace(index);
        receipts.into_iter().next()
    }

    /// All that had to be told so far.
    pub(super) fn made(&self) -> BTreeMap<EventId, Notice> {
        self.inside.lock().unwrap().made.clone()
    }

    /// The states of all nodes that live.
    pub(super) fn states(&self) -> Vec<Arc<ClusterState>> {
        let inside = self.inside.lock().unwrap();
        inside.seats.values().map(|seat| seat.state.lock().unwrap().clone()).collect()
    }

    /// Waits until the state is so.
    pub(super) async fn until(&self, is: impl Fn(&ClusterState) -> bool) {
        let mut changes = self.changes.subscribe();
        changes.wait_for(|_| self.states().first().is_some_and(|state| is(state))).await.unwrap();
    }

    /// The next that comes to this point stays there; it is told when.
    pub(super) fn trap(&self, point: Point) -> oneshot::Receiver<()> {
        let (caught, reached) = oneshot::channel();
        *self.trap.lock().unwrap() = Some((point, caught));
        reached
    }

    /// Goes on, except into a trap.
    pub(super) async fn pass(&self, point: Point) {
        let caught = self.trap.lock().unwrap().take_if(|(at, _)| *at == point);
        if let Some((_, caught)) = caught {
            caught.send(()).unwrap();
            std::future::pending::<()>().await;
        }
    }

    fn whim(&self) -> u32 {
        self.whims.lock().unwrap().random_range(0..UNANSWERED * 2)
    }

    fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis * SPEED
    }
}

/// What a node sees of the log.
struct Door {
    node: NodeId,
    seat: Arc<Seat>,
    group: Arc<Group>,
}

#[async_trait]
impl Ledger for Door {
    fn node(&self) -> NodeId {
        self.node
    }

    fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.seat.state.lock().unwrap())
    }

    fn changes(&self) -> watch::Receiver<Index> {
        self.seat.changes.subscribe()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.seat.leadership.subscribe()
    }

    async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError> {
        let unanswered = || LedgerError::NoQuorum { why: "this is a test".to_owned() };
        let arrived = match &proposal.command {
            Command::Notify(Notify::Tried(all)) => all.iter().any(|attempt| attempt.failure.is_none()),
            _ => false,
        };
        if arrived {
            self.group.pass(Point::Unwritten).await;
        }
        let whim = self.group.whim();
        if whim == 0 {
            return Err(unanswered());
        }
        // As long as the disks of a majority take, about.
        tokio::time::sleep(Duration::from_micros(500)).await;
        let receipt = self.group.append(self.node, proposal).ok_or_else(unanswered)?;
        if arrived {
            self.group.pass(Point::Written).await;
        }
        if whim == 1 { Err(unanswered()) } else { Ok(receipt) }
    }

    async fn barrier(&self) -> Result<Index, LedgerError> {
        Ok(*self.seat.changes.borrow())
    }

    fn silence(&self) -> BTreeMap<NodeId, Duration> {
        BTreeMap::new()
    }

    fn now(&self) -> Millis {
        self.group.now()
    }
}
