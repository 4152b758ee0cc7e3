//! The agent: opened by the server, run until it shuts down. Instances live on without it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use temps_core::model::InstanceId;
use temps_core::table::EdgeReport;
use temps_ledger::Ledger;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::build::Build;
use crate::files;
use crate::hands::{Hands, Tools};
use crate::logs::{LogLine, Until};
use crate::runtime::Runtime;
use crate::store::{Fetch, Store};
use crate::view::LocalView;

/// How often things are looked at that only time changes.
const TICK: Duration = Duration::from_millis(250);

/// What an agent works with.
pub struct AgentOptions {
    /// The replicated log; it also says which node this is.
    pub ledger: Arc<dyn Ledger>,
    /// A directory of this node, for the little that the agent itself has to remember.
    pub data: PathBuf,
    /// What runs instances here.
    pub runtime: Arc<dyn Runtime>,
    /// What makes images here; `None` where nothing does.
    pub builder: Option<Arc<dyn Build>>,
    /// Artifacts that are stored here.
    pub store: Arc<Store>,
    /// How artifacts are read from other nodes.
    pub fetch: Arc<dyn Fetch>,
    /// What this node's edge reports; the default value until it has reported.
    pub edge: watch::Receiver<EdgeReport>,
    /// Larger than at any start of this node's server before.
    pub boot: u64,
    /// Labels of this node, for placement.
    pub labels: BTreeMap<String, String>,
    /// Places whose disks deployments fill; the fullest one counts.
    pub disks: Vec<PathBuf>,
    /// How long a node may be without a quorum before others may run what is exclusive.
    pub lease: Duration,
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
        files::private_dir(&options.data)?;
        let tools = Tools {
            ledger: options.ledger,
            data: options.data,
            runtime: options.runtime,
            builder: options.builder,
            store: options.store,
            fetch: options.fetch,
            edge: options.edge,
            view: watch::Sender::new(LocalView::default()),
            boot: options.boot,
            labels: options.labels,
            disks: options.disks,
            lease: options.lease,
        };
        Ok(Self { tools })
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
        hands.begin();
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
    #[must_use]
    pub fn lines(
        &self,
        instance: InstanceId,
        tail: usize,
        until: Until,
    ) -> BoxStream<'static, io::Result<LogLine>> {
        self.runtime.lines(instance, tail, until)
    }
}
