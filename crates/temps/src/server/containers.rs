//! Images and build logs of this node, for the front desk.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use temps_agent::builder::BuildLogs;
use temps_agent::images::{FindError, Images};
use temps_agent::logs::{LogLine, Source, Until};
use temps_api::parts::{self, FindFailed, Found};
use temps_core::model::DeploymentId;
use temps_wire::proto::InstanceLogLine;

/// The images of this node's engine.
pub(super) struct ImageShelf {
    images: Arc<Images>,
}

impl ImageShelf {
    pub(super) fn new(images: Arc<Images>) -> Self {
        Self { images }
    }
}

#[async_trait]
impl parts::Images for ImageShelf {
    async fn find(&self, reference: &str, pull: bool) -> Result<Found, FindFailed> {
        match self.images.find(reference, pull).await {
            Ok((id, warning)) => Ok(Found { id, warning }),
            Err(why @ (FindError::NotFound(_) | FindError::NotAName(_))) => {
                Err(FindFailed::NotFound(why.to_string()))
            }
            Err(why @ FindError::NotNow(_)) => Err(FindFailed::Unavailable(why.to_string())),
        }
    }
}

/// A node that runs local processes has no images.
pub(super) struct NoImages;

#[async_trait]
impl parts::Images for NoImages {
    async fn find(&self, _: &str, _: bool) -> Result<Found, FindFailed> {
        Err(FindFailed::NoContainers)
    }
}

/// The logs of builds on this node.
pub(super) struct BuildShelf {
    logs: BuildLogs,
}

impl BuildShelf {
    pub(super) fn new(logs: BuildLogs) -> Self {
        Self { logs }
    }
}

impl parts::BuildLogs for BuildShelf {
    fn lines(
        &self,
        deployment: DeploymentId,
        follow: bool,
        tail: u32,
    ) -> Option<BoxStream<'static, InstanceLogLine>> {
        if !self.logs.has(deployment) {
            return None;
        }
        let until = if follow { Until::Ended } else { Until::Now };
        let tail = match tail {
            0 => usize::MAX,
            tail => usize::try_from(tail).unwrap_or(usize::MAX),
        };
        let lines = self.logs.lines(deployment, tail, until);
        // A log that cannot be read gives nothing more.
        let lines = lines
            .take_while(|line| std::future::ready(line.is_ok()))
            .filter_map(|line| async { line.ok().map(|line| told(0, line)) });
        Some(lines.boxed())
    }
}

/// A node that builds nothing has no logs of it.
pub(super) struct NoBuilds;

impl parts::BuildLogs for NoBuilds {
    fn lines(&self, _: DeploymentId, _: bool, _: u32) -> Option<BoxStream<'static, InstanceLogLine>> {
        None
    }
}

/// A line as it travels.
pub(super) fn told(instance: u64, line: LogLine) -> InstanceLogLine {
    InstanceLogLine {
        instance,
        wall_ms: line.at,
        stream: match line.source {
            Source::Out => "out".to_owned(),
            Source::Err => "err".to_owned(),
        },
        text: line.bytes,
    }
}
