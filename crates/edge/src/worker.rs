//! One worker: a thread with its own runtime, listeners, connections and current table.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use temps_core::model::{EnvironmentId, Maintenance, NodeId};
use temps_core::table::Challenge;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use crate::callers::Callers;
use crate::client::{Connection, Ticks};
use crate::config::Limits;
use crate::count::{Account, Sharded};
use crate::identity::Tls;
use crate::instance::Lease;
use crate::keyring::Keyring;
use crate::log::Log;
use crate::maintenance;
use crate::network::Network;
use crate::peer::{self, PeerLink};
use crate::pick::{self, Ask, Pick, Tried, Trust};
use crate::pool::Pool;
use crate::sticky::Lean;
use crate::table::{Awaiting, Compiled, Instance, Left, Peer, Route, Swap};
use crate::ticket::Ids;

/// How long a table is not acknowledged because a request that chose by the one before has not heard
/// from the other node yet.
const HOLD: Duration = Duration::from_secs(2);

/// Requests that a client may have under way on one connection of HTTP/2.
const STREAMS: u32 = 100;

/// Runs what hyper spawns on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spawn;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// What the workers and the control thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Wakes whoever reports.
    pub(crate) news: Arc<Notify>,
    /// By worker: the newest table that it serves, with no request left that chose by an older one and
    /// has not heard from its node.
    pub(crate) acknowledged: Vec<AtomicU64>,
    /// Requests sent once more, or on another connection.
    pub(crate) retries: Sharded,
    /// Whether a server keeps the table up to date.
    pub(crate) heard: AtomicBool,
    pub(crate) callers: Arc<Callers>,
    pub(crate) tls: Tls,
    /// Proxies whose word on the client is believed.
    pub(crate) trusted: Arc<[Network]>,
    /// Whose connections begin with a header of the PROXY protocol.
    pub(crate) proxy_protocol: Vec<Network>,
    /// Where requests are logged, if they are.
    pub(crate) log: Option<Log>,
}

/// A table that waits to be acknowledged.
#[derive(Debug)]
struct Hold {
    seq: u64,
    until: Instant,
    waits: Vec<Arc<Awaiting>>,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    pub(crate) ticks: Ticks,
    pub(crate) http2: http2::Builder<Spawn>,
    pub(crate) ids: Ids,
    table: RefCell<Option<Arc<Compiled>>>,
    pools: RefCell<HashMap<u64, Rc<Pool>>>,
    accounts: RefCell<HashMap<EnvironmentId, Rc<Account>>>,
    links: RefCell<HashMap<NodeId, Rc<PeerLink>>>,
    connections: RefCell<HashMap<u64, Arc<Connection>>>,
    next_connection: Cell<u64>,
    tunnels: Cell<usize>,
    /// Since which tick it takes no new connections.
    pub(crate) closing: Cell<Option<u32>>,
    /// Accept what has come, and no more.
    pub(crate) last_call: Notify,
    holds: RefCell<VecDeque<Hold>>,
    settling: Notify,
    /// Wakes requests that wait: there is a new table.
    pub(crate) changed: Notify,
    keyring: RefCell<Arc<Keyring>>,
    /// The port at which clients come with TLS.
    pub(crate) https: Option<u16>,
}

/// Who answers a request.
#[derive(Debug)]
pub(crate) enum Chosen {
    NotReady,
    Unknown,
    Maintenance(Arc<Maintenance>),
    Nobody(Rc<Account>),
    Local(Rc<Account>, Lease),
    Remote(Rc<Account>, Forward),
}

/// A request on its way to another edge. The table after the one it chose by is not acknowledged before
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) link: Rc<PeerLink>,
    pub(crate) environment: EnvironmentId,
    pub(crate) ask: Ask,
    waiting: Option<(Rc<Worker>, Arc<Awaiting>)>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        if let Some((worker, awaiting)) = self.waiting.take()
            && awaiting.0.take(worker.index) == 0
            && !worker.holds.borrow().is_empty()
        {
            worker.settling.notify_one();
        }
    }
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        limits: Limits,
        keyring: Arc<Keyring>,
        https: Option<u16>,
    ) -> Self {
        let mut http2 = http2::Builder::new(Spawn);
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(crate::upload::WINDOW)
            .initial_connection_window_size(4 * 1024 * 1024)
            .max_header_list_size(256 * 1024)
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        Self {
            index,
            shared,
            limits,
            ticks: Ticks::default(),
            http2,
            ids: Ids::new(),
            table: RefCell::default(),
            pools: RefCell::default(),
            accounts: RefCell::default(),
            links: RefCell::default(),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            tunnels: Cell::new(0),
            closing: Cell::new(None),
            last_call: Notify::new(),
            holds: RefCell::default(),
            settling: Notify::new(),
            changed: Notify::new(),
            keyring: RefCell::new(keyring),
            https,
        }
    }

    /// What clients are shown.
    pub(crate) fn keyring(&self) -> Ref<'_, Arc<Keyring>> {
        self.keyring.borrow()
    }

    /// Shows these to clients from now on.
    pub(crate) fn show(&self, keyring: Arc<Keyring>) {
        *self.keyring.borrow_mut() = keyring;
    }

    /// What a challenge for a host is answered.
    pub(crate) fn challenge(&self, host: &str, is_it: impl Fn(&Challenge) -> bool) -> Option<String> {
        let table = self.table.borrow();
        let mut challenges = table.as_ref()?.challenges.iter();
        challenges.find(|c| c.host == host && is_it(c)).map(|c| c.authorization.clone())
    }

    /// Whether an environment has some path of a host.
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.table.borrow().as_ref().is_some_and(|table| table.hosts.contains_key(host))
    }

    /// Something of the route of a path of a host.
    pub(crate) fn route<T>(&self, host: &str, path: &str, read: impl FnOnce(&Route) -> T) -> Option<T> {
        self.table.borrow().as_ref()?.find(host, path).map(|route| read(route))
    }

    /// Who answers a request for a path of a host. Choosing and counting happen without a pause.
    pub(crate) fn choose(
        self: &Rc<Self>,
        name: &str,
        path: &str,
        headers: &HeaderMap,
        tried: &Tried,
    ) -> Chosen {
        let table = self.table.borrow();
        let Some(table) = table.as_ref() else { return Chosen::NotReady };
        let Some(route) = table.find(name, path) else { return Chosen::Unknown };
        if let Some(maintenance) = route.maintenance.as_ref().filter(|_| !maintenance::passes(path)) {
            return Chosen::Maintenance(Arc::clone(maintenance));
        }
        let account = self.account(route);
        let trust = if self.shared.heard.load(Ordering::Relaxed) { Trust::Fresh } else { Trust::Stale };
        let lean = route.sticky.as_ref().and_then(|sticky| Lean::of(sticky, headers));
        match pick::pick(table, route, lean, tried, trust, self.index) {
            Pick::Local(instance) => Chosen::Local(account, self.lease(instance)),
            Pick::Remote(peer, ask, awaiting) => {
                let waiting = awaiting.map(|awaiting| {
                    awaiting.0.add(self.index, 1);
                    (Rc::clone(self), Arc::clone(awaiting))
                });
                Chosen::Remote(
                    account,
                    Forward { link: self.link(peer), environment: route.environment, ask, waiting },
                )
            }
            Pick::Nobody => Chosen::Nobody(account),
        }
    }

    /// Which instance answers what another edge forwards.
    pub(crate) fn choose_for_peer(
        &self,
        environment: EnvironmentId,
        ask: Ask,
        tried: &Tried,
    ) -> Option<Lease> {
        let table = self.table.borrow();
        let routes = table.as_ref()?.environments.get(&environment)?;
        let instance = routes.iter().find_map(|route| pick::pick_for_peer(route, ask, tried, self.index))?;
        Some(self.lease(instance))
    }

    /// Of the table that is served.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.table.borrow().as_ref().map(|table| table.node)
    }

    fn lease(&self, instance: &Arc<Instance>) -> Lease {
        let mut pools = self.pools.borrow_mut();
        let pool = pools
            .entry(instance.uid)
            .or_insert_with(|| Rc::new(Pool::new(Arc::clone(instance), self.index, self.ticks.clone())));
        Lease::new(Rc::clone(pool))
    }

    fn account(&self, route: &Route) -> Rc<Account> {
        let mut accounts = self.accounts.borrow_mut();
        let account = accounts.entry(route.environment).or_insert_with(|| {
            Rc::new(Account::new(route.environment, Arc::clone(&route.meter), self.index))
        });
        Rc::clone(account)
    }

    fn link(&self, peer: &Arc<Peer>) -> Rc<PeerLink> {
        let mut links = self.links.borrow_mut();
        if let Some(link) = links.get(&peer.node).filter(|link| Arc::ptr_eq(&link.peer, peer)) {
            return Rc::clone(link);
        }
        let link = Rc::new(PeerLink::new(Arc::clone(peer), self.shared.tls.clone()));
        links.insert(peer.node, Rc::clone(&link));
        link
    }

    /// Serves a new table from now on, and acknowledges it as soon as that is true of all requests.
    pub(crate) fn switch(&self, swap: Swap) {
        let Swap { seq, table, vanished, withdrawn } = swap;
        self.links.borrow_mut().retain(|node, _| table.peers.contains_key(node));
        // The control thread lets go of the old table last, so that freeing it stops no request.
        *self.table.borrow_mut() = Some(table);
        self.changed.notify_waiters();
        let mut pools = self.pools.borrow_mut();
        for (uid, left) in withdrawn {
            if left == Left::Draining {
                if let Some(pool) = pools.get(&uid) {
                    pool.clear();
                }
            } else if let Some(pool) = pools.remove(&uid) {
                pool.clear();
                if left == Left::Ended {
                    pool.end();
                }
            }
        }
        drop(pools);
        self.holds.borrow_mut().push_back(Hold { seq, until: Instant::now() + HOLD, waits: vanished });
        self.settle();
        self.settling.notify_one();
    }

    /// Acknowledges what can be acknowledged, in order.
    fn settle(&self) {
        let mut holds = self.holds.borrow_mut();
        let before = holds.len();
        while let Some(hold) = holds.front() {
            let waiting = hold.waits.iter().any(|awaiting| awaiting.0.part(self.index) > 0);
            if waiting && Instant::now() < hold.until {
                break;
            }
            if waiting {
                warn!(
                    worker = self.index,
                    "another edge has not answered in time, the table is acknowledged without it"
                );
            }
            self.shared.acknowledged[self.index].store(hold.seq, Ordering::Release);
            holds.pop_front();
        }
        if holds.len() != before {
            self.shared.news.notify_one();
        }
    }

    /// Settles whenever something may have changed; never ends.
    pub(crate) async fn keep_settling(&self) {
        loop {
            let next = self.holds.borrow().front().map(|hold| hold.until);
            match next {
                Some(until) => {
                    let _ = tokio::time::timeout_at(until, self.settling.notified()).await;
                }
                None => self.settling.notified().await,
            }
            self.settle();
        }
    }

    /// Keeps an eye on a connection until the answer is dropped.
    pub(crate) fn know(self: &Rc<Self>, connection: &Arc<Connection>) -> Known {
        let id = self.next_connection.get();
        self.next_connection.set(id + 1);
        self.connections.borrow_mut().insert(id, Arc::clone(connection));
        Known { worker: Rc::clone(self), id }
    }

    /// Makes room for one more connection, at the cost of the one that has been idle the longest. `false`: there is no
    /// room, and none is idle.
    pub(crate) fn make_room(&self) -> bool {
        let (workers, now) = (self.shared.acknowledged.len(), self.ticks.now());
        if self.open() < self.limits.connections.div_ceil(workers) {
            return true;
        }
        let connections = self.connections.borrow();
        let idle =
            connections.values().filter_map(|connection| Some((connection.idle_for(now)?, connection)));
        let longest = idle.max_by_key(|(ticks, _)| *ticks);
        longest.inspect(|(_, connection)| connection.make_room()).is_some()
    }

    pub(crate) fn open_tunnel(self: &Rc<Self>) -> OpenTunnel {
        self.tunnels.set(self.tunnels.get() + 1);
        OpenTunnel(Rc::clone(self))
    }

    /// Ends connections that take too long, and closes what nobody uses.
    pub(crate) fn sweep(&self, now: u32) {
        let (head, idle) = (Ticks::count(self.limits.head), Ticks::count(self.limits.idle));
        for connection in self.connections.borrow().values() {
            connection.sweep(now, head, idle, self.closing.get());
        }
        for pool in self.pools.borrow().values() {
            pool.prune();
        }
    }

    /// Whether nothing is left to finish.
    pub(crate) fn is_quiet(&self) -> bool {
        self.connections.borrow().is_empty() && self.tunnels.get() == 0
    }

    /// How many connections and tunnels are open.
    pub(crate) fn open(&self) -> usize {
        self.connections.borrow().len() + self.tunnels.get()
    }

    /// How other edges are served on a connection.
    pub(crate) fn http2_for_edges(&self) -> http2::Builder<Spawn> {
        let mut http2 = http2::Builder::new(Spawn);
        http2
            .timer(TokioTimer::new())
            // What an edge sends beyond this proves that we accepted its request.
            .initial_stream_window_size(crate::upload::WINDOW)
            .initial_connection_window_size(peer::ALL_STREAMS)
            .max_concurrent_streams(100_000)
            .max_header_list_size(peer::HEAD)
            .max_pending_accept_reset_streams(100_000)
            .max_local_error_reset_streams(None)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        http2
    }
}

/// A connection that the worker keeps an eye on.
#[derive(Debug)]
pub(crate) struct Known {
    worker: Rc<Worker>,
    id: u64,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.id);
    }
}

/// A tunnel under way.
#[derive(Debug)]
pub(crate) struct OpenTunnel(Rc<Worker>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get() - 1);
    }
}
