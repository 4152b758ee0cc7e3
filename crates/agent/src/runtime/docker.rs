//! Instances as containers of an engine on this machine.
//!
//! An instance is one container with a name and labels of its own, and nothing without them is touched. A
//! container outlives the server, and with the engine's live-restore also the engine. It is never started
//! twice: one that is started again, stopped or removed by somebody else is over, and the application is
//! not to blame. What an image is made from, and how it came here, is not known here.

mod check;
mod container;
mod create;
mod engine;
mod exit;
mod lines;
mod marks;
mod place;
mod start;
mod stop;
mod watch;
mod words;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use temps_core::model::{Artifact, Exit, InstanceId, NodeId, RuntimeKind};
use tokio::time::sleep;

use self::container::{CLUSTER, Container, DIGEST, NODE, Owner, State};
use self::engine::{PING, QUICK};
use self::marks::{Marks, Record};
use self::watch::Watch;
use super::{Condition, Found, Job, Running, Runtime, StartError};
use crate::files;
use crate::logs::{LogLine, Until};

pub use self::engine::{Engine, EngineError};

/// bollard tells whole requests at lower levels, and values of variables are in them.
const _: () = assert!(log::STATIC_MAX_LEVEL as usize <= log::LevelFilter::Info as usize);

/// How often a running instance is looked at where no event says that something happened.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// How many questions of a listing are asked at once.
const AT_ONCE: usize = 8;

/// Where images come from.
#[async_trait]
pub trait ImageSource: Send + Sync + 'static {
    /// Sees to it that the engine has the image of a stored artifact.
    ///
    /// # Errors
    /// Why it has not.
    async fn ensure(&self, artifact: &Artifact) -> Result<(), StartError>;

    /// Removes the image that was made from a stored artifact, by the artifact's digest. None is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    async fn discard(&self, digest: &str) -> io::Result<()>;
}

/// With what containers are run.
#[derive(Clone)]
pub struct DockerOptions {
    /// The engine. It may be away now.
    pub engine: Arc<Engine>,
    /// What tells this cluster from others: 12 hexadecimal digits.
    pub cluster: String,
    /// This node.
    pub node: NodeId,
    /// The data directory of this node's agent.
    pub data: PathBuf,
    /// Where images come from.
    pub images: Arc<dyn ImageSource>,
}

/// Instances as containers of an engine on this machine.
pub struct DockerRuntime {
    engine: Arc<Engine>,
    owner: Owner,
    marks: PathBuf,
    images: Arc<dyn ImageSource>,
    watch: Watch,
    /// The last news that were told.
    told: AtomicU64,
    /// Held for reading by who uses a project's network, for writing by who may remove it.
    places: tokio::sync::RwLock<()>,
    /// Held by who may create a network.
    networks: tokio::sync::Mutex<()>,
    /// Held by who writes down how an instance ended.
    judging: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for DockerRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DockerRuntime").field("engine", &self.engine).field("owner", &self.owner).finish()
    }
}

impl DockerRuntime {
    /// Opens or creates the directory, and listens to the engine until this is dropped. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// The data directory cannot be used.
    pub fn open(options: DockerOptions) -> io::Result<Self> {
        let marks = options.data.join("containers");
        files::private_dir(&marks)?;
        let owner = Owner { cluster: options.cluster, node: options.node };
        Ok(Self {
            watch: Watch::start(Arc::clone(&options.engine), owner.clone()),
            engine: options.engine,
            owner,
            marks: fs::canonicalize(marks)?,
            images: options.images,
            told: AtomicU64::new(0),
            places: tokio::sync::RwLock::default(),
            networks: tokio::sync::Mutex::default(),
            judging: tokio::sync::Mutex::default(),
        })
    }

    fn marks(&self, instance: InstanceId) -> Marks {
        Marks::new(&self.marks, instance)
    }

    /// An instance that runs as it is meant to, with its start written down.
    fn begun(&self, marks: &Marks, container: &Container) -> io::Result<Running> {
        let incarnation = container.incarnation();
        let record = match marks.record()? {
            Some(record) if record.incarnation.is_some() => record,
            before => {
                let record = before.unwrap_or_else(|| Record {
                    digest: container.label(DIGEST).to_owned(),
                    stop_grace: container.stop_grace(),
                    ..Record::default()
                });
                let record = record.started(incarnation.clone());
                marks.write(&record)?;
                record
            }
        };
        Ok(Running { incarnation, endpoint: container.endpoint(), age: record.age() })
    }

    async fn look(&self, instance: InstanceId) -> Result<Option<Container>, EngineError> {
        let name = self.owner.container(instance);
        let found = Container::find(&self.engine, &self.owner, &name, QUICK).await?;
        Ok(found.filter(|c| c.instance == Some(instance)))
    }

    /// How an instance is that has a container or a directory; `None` where it has neither any more.
    async fn find(&self, instance: InstanceId) -> io::Result<Option<Found>> {
        let marks = self.marks(instance);
        let container = self.look(instance).await?;
        let record = marks.record()?;
        if container.is_none() && record.is_none() {
            return Ok(None);
        }
        let stop_grace = container.as_ref().map(Container::stop_grace);
        let stop_grace = stop_grace.or_else(|| record.as_ref().map(|r| r.stop_grace)).unwrap_or(0);
        let digest = container.as_ref().map(|c| c.label(DIGEST).to_owned());
        let digest = digest.or_else(|| record.as_ref().map(|r| r.digest.clone())).unwrap_or_default();
        let ran = record.as_ref().is_some_and(|r| r.incarnation.is_some());
        let is_over = marks.exit()?.is_some();
        let condition = match container {
            Some(c) if c.state == State::Running && !is_over && is_meant(record.as_ref(), &c) => {
                Condition::Running(self.begun(&marks, &c)?)
            }
            Some(c) if c.state == State::Unstarted && !ran => Condition::Unstarted,
            None if !ran => Condition::Unstarted,
            other => Condition::Ended(exit::judge(self, instance, other).await),
        };
        // Removed while it was judged.
        if ran && marks.record()?.is_none() {
            return Ok(None);
        }
        Ok(Some(Found { instance, digest, stop_grace: Duration::from_millis(stop_grace), condition }))
    }

    /// Returns once an instance does not run any more.
    async fn end(&self, instance: InstanceId) -> End {
        let marks = self.marks(instance);
        let mut news = self.watch.news();
        loop {
            news.borrow_and_update();
            if let Ok(Some(exit)) = marks.exit() {
                return End::Known(exit);
            }
            let record = marks.record().ok().flatten();
            let started = record.as_ref().and_then(Record::container);
            match self.look(instance).await {
                Ok(Some(c)) if c.state == State::Running && is_meant(record.as_ref(), &c) => {}
                Ok(Some(c)) if c.state == State::Unstarted && started.is_none() => {
                    let error = Some("it was never started".to_owned());
                    return End::Known(Exit { error, ..Exit::default() });
                }
                Ok(gone) => return End::Seen(gone),
                Err(error) => {
                    tracing::debug!(%instance, %error, "not known whether it runs");
                    if started.is_some_and(|id| self.watch.has_died(id)) {
                        return End::Seen(None);
                    }
                }
            }
            tokio::select! {
                _ = news.changed() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Instances with a container of ours.
    async fn containers(&self) -> Result<Vec<InstanceId>, EngineError> {
        let labels = [format!("{CLUSTER}={}", self.owner.cluster), format!("{NODE}={}", self.owner.node)];
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let all = self.engine.ask(QUICK, |docker| async move { docker.list_containers(Some(options)).await });
        let instance = |container: bollard::models::ContainerSummary| {
            let labels = container.labels.unwrap_or_default();
            container.names.unwrap_or_default().iter().find_map(|name| self.owner.instance(name, &labels))
        };
        Ok(all.await?.into_iter().filter_map(instance).collect())
    }
}

/// The end of an instance.
enum End {
    /// How it ended is known.
    Known(Exit),
    /// This is left of it.
    Seen(Option<Container>),
}

/// Whether a container runs as the start that was written down.
fn is_meant(record: Option<&Record>, container: &Container) -> bool {
    record.is_none_or(|r| r.is_same_start(&container.incarnation()))
}

#[async_trait]
impl Runtime for DockerRuntime {
    async fn start(&self, job: &Job) -> Result<Running, StartError> {
        start::start(self, job).await
    }

    async fn list(&self) -> io::Result<Vec<Found>> {
        // Directories first: what has one with a start in it must have a container later.
        let mut instances = Marks::all(&self.marks)?;
        instances.extend(self.containers().await?);
        instances.sort_unstable();
        instances.dedup();
        let looking = futures_util::stream::iter(instances).map(|instance| self.find(instance));
        let found: Vec<io::Result<Option<Found>>> = looking.buffer_unordered(AT_ONCE).collect().await;
        found.into_iter().filter_map(Result::transpose).collect()
    }

    async fn ends(&self, instance: InstanceId) {
        self.end(instance).await;
    }

    async fn wait(&self, instance: InstanceId) -> Exit {
        match self.end(instance).await {
            End::Known(exit) => exit,
            End::Seen(container) => exit::judge(self, instance, container).await,
        }
    }

    async fn changed(&self) {
        let mut news = self.watch.news();
        let told = self.told.load(Ordering::Acquire);
        // The sender lives as long as this value.
        if let Ok(now) = news.wait_for(|now| *now > told).await {
            self.told.store(*now, Ordering::Release);
        }
    }

    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    async fn trouble(&self) -> Option<String> {
        self.engine.ping().await.err().map(|error| error.to_string())
    }

    async fn check(&self, instance: InstanceId, command: &str, limit: Duration) -> Result<(), String> {
        check::check(self, instance, command, limit).await
    }

    async fn is(&self, instance: InstanceId, incarnation: &str) -> bool {
        let name = self.owner.container(instance);
        match Container::find(&self.engine, &self.owner, &name, PING).await {
            Ok(Some(container)) => {
                container.instance == Some(instance)
                    && container.state == State::Running
                    && container.incarnation() == incarnation
            }
            Ok(None) => false,
            Err(_) => true,
        }
    }

    async fn stop(&self, instance: InstanceId, grace: Duration) -> io::Result<()> {
        stop::stop(self, instance, grace).await
    }

    async fn remove(&self, instance: InstanceId) -> io::Result<()> {
        stop::remove(self, instance).await
    }

    async fn discard(&self, digest: &str) -> io::Result<()> {
        self.images.discard(digest).await
    }

    fn lines(
        &self,
        instance: InstanceId,
        tail: usize,
        until: Until,
    ) -> BoxStream<'static, io::Result<LogLine>> {
        lines::lines(Arc::clone(&self.engine), self.owner.clone(), instance, tail, until)
    }
}
