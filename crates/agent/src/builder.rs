//! Making images with the node's Docker engine.
//!
//! A build is one request to the engine: its context streams in, its log streams out, and where nobody
//! waits for it any more the engine ends it and removes its container. The log is kept as instances'
//! logs are, until the cluster forgets the deployment. What the image is for is not known here.

mod context;
mod log;
mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptions;
use futures_util::StreamExt;
use temps_core::assignment::BuildWork;
use temps_core::model::{Artifact, DeploymentId, Millis, NodeId, Source};
use temps_core::text;

pub use log::BuildLogs;

use crate::build::{Build, BuildError};
use crate::images::{CLUSTER, ExportError, Images, NODE, attended, is_away, meaning, patient};
use crate::runtime::docker::{Engine, EngineError};
use crate::store::Store;
use log::BuildLog;

/// Layers that are still in use are looked at again after this time at the earliest.
const REMOVE_AGAIN: Duration = Duration::from_secs(600);

/// Makes images with an engine.
#[derive(Debug)]
pub struct DockerBuilder {
    engine: Arc<Engine>,
    images: Arc<Images>,
    store: Arc<Store>,
    logs: BuildLogs,
    cluster: String,
    node: NodeId,
    /// When layers of which forgotten builds were last looked at.
    looked: Mutex<BTreeMap<DeploymentId, Instant>>,
}

/// Why it does not go on.
enum Stop {
    Failed(String),
    NotNow(String),
}

impl DockerBuilder {
    /// Builds with an engine, from contexts in `store` into `images`. Logs are below `dir`, usually
    /// `<data>/builds`. `cluster` and `node` are as for [`Images::new`].
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn new(
        engine: Arc<Engine>,
        images: Arc<Images>,
        store: Arc<Store>,
        dir: PathBuf,
        cluster: &str,
        node: NodeId,
    ) -> io::Result<Self> {
        let logs = BuildLogs::open(dir)?;
        Ok(Self { engine, images, store, logs, cluster: cluster.to_owned(), node, looked: Mutex::default() })
    }

    /// The logs of the builds on this node.
    #[must_use]
    pub fn logs(&self) -> BuildLogs {
        self.logs.clone()
    }

    async fn make(&self, work: &BuildWork, log: &mut BuildLog) -> Result<Artifact, Stop> {
        self.engine.ping().await.map_err(not_now)?;
        match &work.source {
            Source::Bundle { .. } => Err(Stop::Failed("a bundle needs no image".to_owned())),
            Source::Image { reference, id, .. } => {
                log.note(&format!("storing {reference}, which is {id}"));
                self.export(id, log).await.map_err(|error| match error {
                    Stop::Failed(why) => Stop::Failed(format!(
                        "{why}; deploy {reference} again, so that its name is looked up again"
                    )),
                    Stop::NotNow(why) => Stop::NotNow(why),
                })
            }
            Source::Build { context, dockerfile, timeout } => {
                // What is not needed any more makes room first.
                if let Err(error) = self.images.sweep(&self.store.known()).await {
                    tracing::warn!(%error, "old images are not removed");
                }
                let _making = self.images.making().await;
                let id = self.build_within(work, context, dockerfile, *timeout, log).await?;
                log.note(&format!("built {id}"));
                self.export(&id, log).await
            }
        }
    }

    async fn export(&self, id: &str, log: &mut BuildLog) -> Result<Artifact, Stop> {
        let exported = self.images.export_told(id, |told| log.note(told)).await;
        exported.map_err(|error| match error {
            ExportError::NotNow(why) => Stop::NotNow(why),
            ExportError::NotHere(_) | ExportError::NoRoom(_) | ExportError::Failed(_) => {
                Stop::Failed(error.to_string())
            }
        })
    }

    async fn build_within(
        &self,
        work: &BuildWork,
        context: &Artifact,
        dockerfile: &str,
        limit: Millis,
        log: &mut BuildLog,
    ) -> Result<String, Stop> {
        let full = |error: crate::store::NoRoom| Stop::Failed(error.to_string());
        self.images.engine_room_for(context.bytes).await.map_err(full)?;
        self.store.room_for(0).map_err(full)?;
        let Some(path) = self.store.find(&context.digest) else {
            return Err(Stop::NotNow("the source is not stored on this node yet".to_owned()));
        };
        let context = context::open(path, &context.digest).await.map_err(|error| match error {
            context::Unusable::Damaged => {
                self.store.hide(&context.digest);
                Stop::NotNow("the stored source is damaged, and is fetched again".to_owned())
            }
            context::Unusable::Io(error) => {
                Stop::NotNow(format!("the stored source cannot be read: {error}"))
            }
        })?;
        let options = BuildImageOptions {
            dockerfile: dockerfile.to_owned(),
            labels: Some(self.labels(work)),
            rm: true,
            forcerm: true,
            ..BuildImageOptions::default()
        };
        let building = self.build_image(options, context, log);
        match tokio::time::timeout(Duration::from_millis(limit), building).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Stop::Failed(format!("building took longer than {}", text::duration(limit)))),
        }
    }

    async fn build_image(
        &self,
        options: BuildImageOptions,
        context: context::Context,
        log: &mut BuildLog,
    ) -> Result<String, Stop> {
        let docker = patient(&self.engine).await.map_err(not_now)?;
        let trouble = context.trouble;
        let mut answers = Box::pin(docker.build_image(options, None, Some(body_try_stream(context.parts))));
        let following = async {
            while let Some(answer) = answers.next().await {
                follow(answer?, log);
            }
            Ok::<(), Error>(())
        };
        let followed = attended(&self.engine, following).await;
        drop(answers);
        let error = match followed.map_err(not_now)? {
            Ok(()) => return log.steps.image().ok_or_else(|| broken_off("the engine says no more")),
            Err(error) => meaning(&self.engine, error),
        };
        if let Some(why) = trouble.said() {
            return Err(Stop::Failed(why));
        }
        // An engine that is being stopped may end its builds with an error of theirs.
        if is_away(&error) || self.engine.ping().await.is_err() {
            return Err(broken_off(&error.to_string()));
        }
        let why = match error {
            EngineError::Missing(why) | EngineError::Conflict(why) | EngineError::Refused(why) => why,
            away @ EngineError::Away { .. } => away.to_string(),
        };
        Err(Stop::Failed(log.steps.explain(&why)))
    }

    fn looked(&self) -> MutexGuard<'_, BTreeMap<DeploymentId, Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn labels(&self, work: &BuildWork) -> HashMap<String, String> {
        HashMap::from([
            (CLUSTER.to_owned(), self.cluster.clone()),
            (NODE.to_owned(), self.node.to_string()),
            ("dev.temps.project".to_owned(), work.project.clone()),
            ("dev.temps.environment".to_owned(), work.environment.clone()),
            ("dev.temps.release".to_owned(), work.release.to_string()),
        ])
    }
}

fn not_now(error: EngineError) -> Stop {
    Stop::NotNow(error.to_string())
}

fn broken_off(why: &str) -> Stop {
    Stop::NotNow(format!("building was broken off: {why}"))
}

/// Takes what the engine says about a build.
fn follow(info: BuildInfo, log: &mut BuildLog) {
    if let Some(text) = info.stream {
        log.write(&text);
    }
    if let Some(status) = info.status
        && info.progress_detail.is_none_or(|detail| detail.current.is_none())
    {
        // A base image is being pulled; its bars are of no use in a log.
        let line = match info.id {
            Some(id) => format!("{id}: {status}"),
            None => status,
        };
        log.note(&line);
    }
    if let Some(id) = info.aux.and_then(|aux| aux.id) {
        log.steps.built(id);
    }
}

#[async_trait]
impl Build for DockerBuilder {
    async fn build(&self, deployment: DeploymentId, work: &BuildWork) -> Result<Artifact, BuildError> {
        let failed =
            |error: io::Error| BuildError::NotNow(format!("the build log cannot be written: {error}"));
        let mut log = self.logs.begin(deployment).map_err(failed)?;
        match self.make(work, &mut log).await {
            Ok(artifact) => {
                log.end("done");
                Ok(artifact)
            }
            Err(Stop::NotNow(why)) => {
                log.end(&why);
                Err(BuildError::NotNow(why))
            }
            Err(Stop::Failed(why)) => {
                // What the engine wrote; the reason stands beside it.
                let log_tail = log.tail();
                log.end(&format!("failed: {why}"));
                Err(BuildError::Failed { why, log_tail })
            }
        }
    }

    async fn forget(&self, keep: &BTreeSet<DeploymentId>) {
        let made = match self.logs.forget(keep) {
            Ok(made) => made,
            Err(error) => {
                tracing::warn!(%error, "build logs are not removed");
                return;
            }
        };
        let now = Instant::now();
        let known: BTreeSet<_> = made.iter().map(|(deployment, _)| *deployment).collect();
        self.looked().retain(|deployment, at| known.contains(deployment) && now - *at < REMOVE_AGAIN);
        for (deployment, layers) in made {
            if *self.looked().entry(deployment).or_insert(now) != now {
                continue;
            }
            let mut is_gone = true;
            for made in layers {
                match self.images.remove_untagged(&made.layers, made.since).await {
                    // Where something is left, a newer build goes on from it.
                    Ok(left) => is_gone &= left.is_empty(),
                    Err(error) => {
                        tracing::warn!(%error, "the layers of old builds are not removed");
                        return;
                    }
                }
            }
            if is_gone {
                self.logs.forget_made(deployment);
            }
        }
    }
}
