//! The agent: opened by the server, run until it shuts down. Instances live on without it.

use std::ffi::OsString;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use temps_core::model::InstanceId;
use temps_core::table::EdgeReport;
use temps_ledger::Ledger;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::hands::{Hands, Tools};
use crate::logs::{self, LogLine, Until};
use crate::runtime::Runtime;
use crate::runtime::process::{ProcessOptions, ProcessRuntime};
use crate::store::{Fetch, Store};
use crate::view::LocalView;

/// How often things are looked at that only time changes.
const TICK: Duration = Duration::from_millis(250);

/// What an agent works with.
pub struct AgentOptions {
    /// The replicated log; it also says which node this is.
    pub ledger: Arc<dyn Ledger>,
    /// A directory of the agent's own: artifacts, bundles, instances.
    pub data: PathBuf,
    /// Ports for instances. Nodes on one machine need ranges of their own.
    pub ports: RangeInclusive<u16>,
    /// The program, and arguments before the directory, that call [`crate::supervise`].
    pub supervisor: (PathBuf, Vec<OsString>),
    /// What this node's edge reports; the default value until it has reported.
    pub edge: watch::Receiver<EdgeReport>,
    /// How artifacts are read from other nodes.
    pub fetch: Arc<dyn Fetch>,
    /// Larger than at any start of this node's server before.
    pub boot: u64,
}

/// The hands of one node.
pub struct Agent {
    tools: Tools,
}

impl Agent {
    /// Opens the data directory. Nothing runs yet.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn new(options: AgentOptions) -> io::Result<Self> {
        let store = Arc::new(Store::open(options.data.join("artifacts"))?);
        let runtime = ProcessRuntime::new(ProcessOptions {
            data: options.data,
            ports: options.ports,
            supervisor: options.supervisor,
        })?;
        let tools = Tools {
            ledger: options.ledger,
            runtime: Arc::new(runtime),
            store,
            fetch: options.fetch,
            edge: options.edge,
            view: watch::Sender::new(LocalView::default()),
            boot: options.boot,
        };
        Ok(Self { tools })
    }

    /// The artifacts of this node: uploads go in here, other nodes read from here.
    #[must_use]
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.tools.store)
    }

    /// What this node sees of its own instances, at once and without a quorum.
    #[must_use]
    pub fn local_view(&self) -> watch::Receiver<LocalView> {
        self.tools.view.subscribe()
    }

    /// Reads logs of this node's instances, also while the agent runs.
    #[must_use]
    pub fn logs(&self) -> Logs {
        Logs { runtime: Arc::clone(&self.tools.runtime) }
    }

    /// Makes the node match its assignment until `shutdown`; then returns at once and stops nothing.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut changes = self.tools.ledger.changes();
        let mut leadership = self.tools.ledger.leadership();
        let mut led = *leadership.borrow_and_update();
        let mut stored = self.tools.store.changes();
        let mut edge = self.tools.edge.clone();
        let (mut hands, mut events) = Hands::new(self.tools);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        hands.list_after(Duration::ZERO);
        hands.ask_whether_current();
        loop {
            // A sender that is gone tells nothing any more; the ticks go on.
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = changes.changed() => {}
                Ok(()) = leadership.changed() => {
                    let leads = *leadership.borrow_and_update();
                    if leads != led {
                        led = leads;
                        hands.ask_whether_current();
                    }
                }
                Ok(()) = edge.changed() => {}
                Ok(()) = stored.changed() => {}
                Some(event) = events.recv() => hands.on(event),
                _ = tick.tick() => {}
            }
            while let Ok(event) = events.try_recv() {
                hands.on(event);
            }
            hands.reconcile();
        }
    }
}

/// Reads logs of this node's instances.
#[derive(Clone)]
pub struct Logs {
    runtime: Arc<dyn Runtime>,
}

impl Logs {
    /// The last `tail` lines of an instance, then, if wanted, those that follow. Nothing for an instance
    /// that is not on this node.
    pub fn lines(
        &self,
        instance: InstanceId,
        tail: usize,
        until: Until,
    ) -> impl Stream<Item = io::Result<LogLine>> + Send + use<> {
        logs::lines(self.runtime.log(instance), tail, until)
    }
}
