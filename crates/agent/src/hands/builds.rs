//! Images that are to be made here: one at a time, and only while somebody waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use temps_core::assignment::BuildWork;
use temps_core::command::Observation;
use temps_core::model::{Artifact, DeploymentId};
use tokio::task::AbortHandle;

use super::{Event, Hands};
use crate::build::BuildError;
use crate::diff::Standing;
use crate::logs::TAIL;

/// The first wait for what could not be made yet; doubled with each further one.
const NOT_NOW: Duration = Duration::from_millis(500);
/// The longest.
const NOT_NOW_MAX: Duration = Duration::from_secs(10);
/// How often the builder is told what it need not keep.
const FORGET: Duration = Duration::from_secs(600);

/// How far an image is.
#[derive(Debug)]
enum Making {
    UnderWay(AbortHandle, u32),
    /// What makes images does not answer; how often, and when it is asked again.
    Later(u32, Instant),
    Made(Artifact),
    Failed(String, Vec<String>),
}

/// What is being made here, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Builds {
    makings: BTreeMap<DeploymentId, Making>,
    /// Deployments that the cluster remembered when this was last looked at.
    remembered: BTreeSet<DeploymentId>,
    /// When the builder was last told.
    told: Option<Instant>,
}

impl Builds {
    /// Gives up what nobody waits for, and what has vanished.
    fn keep(&mut self, wanted: &BTreeMap<DeploymentId, BuildWork>, is_stored: impl Fn(&str) -> bool) {
        self.makings.retain(|deployment, making| match making {
            Making::UnderWay(task, _) if !wanted.contains_key(deployment) => {
                tracing::info!(%deployment, "build given up");
                task.abort();
                false
            }
            Making::Made(image) => wanted.contains_key(deployment) && is_stored(&image.digest),
            Making::UnderWay(..) | Making::Later(..) | Making::Failed(..) => wanted.contains_key(deployment),
        });
        for making in self.makings.values_mut() {
            // It ended without a word. What it may have said in this moment is heard next.
            if let Making::UnderWay(task, failures) = making
                && task.is_finished()
            {
                *making = Making::Later(*failures + 1, Instant::now() + NOT_NOW_MAX);
            }
        }
    }

    /// What is to be made next, and how often it could not be until now.
    fn next(
        &self,
        wanted: &BTreeMap<DeploymentId, BuildWork>,
        is_stored: impl Fn(&str) -> bool,
        now: Instant,
    ) -> Option<(DeploymentId, u32)> {
        if self.makings.values().any(|making| matches!(making, Making::UnderWay(..))) {
            return None;
        }
        wanted.iter().find_map(|(deployment, work)| {
            if work.source.stored().is_some_and(|file| !is_stored(&file.digest)) {
                return None;
            }
            match self.makings.get(deployment) {
                None => Some((*deployment, 0)),
                Some(Making::Later(failures, at)) if *at <= now => Some((*deployment, *failures)),
                Some(Making::Later(..) | Making::UnderWay(..) | Making::Made(_) | Making::Failed(..)) => None,
            }
        })
    }

    pub(super) fn built(&mut self, deployment: DeploymentId, outcome: Result<Artifact, BuildError>) {
        // Nobody waits for it any more.
        let Some(making) = self.makings.get_mut(&deployment) else { return };
        let failures = match making {
            Making::UnderWay(_, failures) | Making::Later(failures, _) => *failures,
            Making::Made(_) | Making::Failed(..) => return,
        };
        *making = match outcome {
            Ok(image) => {
                tracing::info!(%deployment, digest = image.digest, "image made");
                Making::Made(image)
            }
            Err(BuildError::Failed { why, mut log_tail }) => {
                tracing::warn!(%deployment, why, "image not made");
                log_tail.drain(..log_tail.len().saturating_sub(TAIL));
                Making::Failed(why, log_tail)
            }
            Err(BuildError::NotNow(why)) => {
                tracing::warn!(%deployment, why, "image not made yet");
                let wait = NOT_NOW.saturating_mul(1 << failures.min(8)).min(NOT_NOW_MAX);
                Making::Later(failures.saturating_add(1), Instant::now() + wait)
            }
        };
    }

    /// What the cluster waits for.
    pub(super) fn results(&self) -> Vec<(DeploymentId, Observation)> {
        let result = |(deployment, making): (&DeploymentId, &Making)| match making {
            Making::Made(image) => {
                Some((*deployment, Observation::Built { deployment: *deployment, image: image.clone() }))
            }
            Making::Failed(why, log_tail) => Some((
                *deployment,
                Observation::NotBuilt {
                    deployment: *deployment,
                    why: why.clone(),
                    log_tail: log_tail.clone(),
                },
            )),
            Making::UnderWay(..) | Making::Later(..) => None,
        };
        self.makings.iter().filter_map(result).collect()
    }

    /// Images that were made and that the cluster may not know yet.
    pub(super) fn images(&self) -> impl Iterator<Item = &Artifact> {
        self.makings.values().filter_map(|making| match making {
            Making::Made(image) => Some(image),
            Making::UnderWay(..) | Making::Later(..) | Making::Failed(..) => None,
        })
    }
}

impl Hands {
    pub(super) fn build(&mut self, now: Instant) {
        let store = std::sync::Arc::clone(&self.store);
        let is_stored = |digest: &str| store.has(digest);
        self.builds.keep(&self.assigned.builds, is_stored);
        if self.standing != Standing::Current {
            return;
        }
        self.forget_builds(now);
        let Some((deployment, failures)) = self.builds.next(&self.assigned.builds, is_stored, now) else {
            return;
        };
        let Some(work) = self.assigned.builds.get(&deployment).cloned() else { return };
        let Some(builder) = self.builder.clone() else {
            let why = "this node makes no images: it runs local processes".to_owned();
            self.builds.makings.insert(deployment, Making::Failed(why, Vec::new()));
            return;
        };
        tracing::info!(%deployment, "build begins");
        let tell = self.tell.clone();
        let task = self.tasks.spawn(async move {
            let outcome = builder.build(deployment, &work).await;
            let _ = tell.send(Event::Built(deployment, outcome));
        });
        self.builds.makings.insert(deployment, Making::UnderWay(task, failures));
    }

    /// Tells the builder when deployments were forgotten, and otherwise now and then: it may not have been
    /// able to remove everything.
    fn forget_builds(&mut self, now: Instant) {
        let (builds, remembered) = (&mut self.builds, &self.assigned.remembered);
        let lost = !builds.remembered.is_subset(remembered);
        let due = builds.told.is_none_or(|at| now.saturating_duration_since(at) >= FORGET);
        if builds.remembered != *remembered {
            builds.remembered.clone_from(remembered);
        }
        if (lost || due)
            && let Some(builder) = self.builder.clone()
        {
            builds.told = Some(now);
            let keep = remembered.clone();
            self.tasks.spawn(async move { builder.forget(&keep).await });
        }
    }
}
