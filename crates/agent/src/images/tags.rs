//! The tags by which a node keeps images, and letting images go.

use std::collections::{BTreeSet, HashMap};

use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions};

use super::Images;
use super::attend::{meaning, quick};
use crate::runtime::docker::EngineError;

/// Labels of images that were built for a cluster.
pub(crate) const CLUSTER: &str = "dev.temps.cluster";
/// The node that built it.
pub(crate) const NODE: &str = "dev.temps.node";

impl Images {
    /// What the engine knows of an image; `None` where it does not have it.
    pub(super) async fn inspect(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        match self.meant(quick(&self.engine).await?.inspect_image(name).await) {
            Ok(found) => Ok(Some(found)),
            Err(EngineError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives an image the tag of a stored artifact.
    pub(super) async fn tag(&self, id: &str, digest: &str) -> Result<(), EngineError> {
        let options =
            TagImageOptions { repo: Some(self.repository.clone()), tag: Some(self.short_tag(digest)) };
        self.meant(quick(&self.engine).await?.tag_image(id, Some(options)).await)
    }

    /// Takes a tag away, and with the last one the image, unless a container uses it. Layers below it stay:
    /// they may be somebody's.
    pub(super) async fn untag(&self, tag: &str) -> Result<(), EngineError> {
        match self.remove(tag).await {
            Ok(()) | Err(EngineError::Missing(_) | EngineError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes away this node's tags of artifacts that are not in `keep`, and what its builds have left
    /// without a tag. Images in use stay, as does everything that is not this node's.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn sweep(&self, keep: &BTreeSet<String>) -> Result<(), EngineError> {
        let keep: BTreeSet<_> = keep.iter().map(|digest| self.tag_of(digest)).collect();
        let ours = format!("{}:{}-", self.repository, self.node);
        let found = self.list([("reference", vec![format!("{ours}*")])]).await?;
        for tag in found.iter().flat_map(|image| &image.repo_tags) {
            if tag.starts_with(&ours) && !keep.contains(tag) {
                tracing::info!(tag, "an image is not needed any more");
                self.untag(tag).await?;
            }
        }
        // What is being made has no tag yet.
        let Ok(_alone) = self.making.try_write() else { return Ok(()) };
        let labels = vec![format!("{CLUSTER}={}", self.cluster), format!("{NODE}={}", self.node)];
        let filters = || [("dangling", vec!["true".to_owned()]), ("label", labels.clone())];
        // Below one that goes, the one before it comes to light.
        let mut before = Vec::new();
        loop {
            let left: Vec<_> = self.list(filters()).await?.into_iter().map(|image| image.id).collect();
            if left == before {
                return Ok(());
            }
            self.remove_untagged(&left, 0).await?;
            before = left;
        }
    }

    /// Removes images that have no tag and were made at `since`, in Unix seconds, or later; gives those that
    /// are still in use.
    ///
    /// # Errors
    /// The engine does not answer.
    pub(crate) async fn remove_untagged(
        &self,
        ids: &[String],
        since: i64,
    ) -> Result<Vec<String>, EngineError> {
        let mut left = Vec::new();
        for id in ids {
            // An identity that is only the beginning of one could mean another image by now.
            let made = match self.meant(quick(&self.engine).await?.image_history(id).await) {
                Ok(history) => history.into_iter().next(),
                Err(EngineError::Missing(_)) => continue,
                Err(error) => return Err(error),
            };
            let Some(image) = made.filter(|made| made.created >= since) else { continue };
            if !image.tags.is_empty() {
                // Somebody has made it theirs.
                continue;
            }
            match self.remove(&image.id).await {
                Ok(()) | Err(EngineError::Missing(_)) => {}
                Err(EngineError::Conflict(_)) => left.push(image.id),
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }

    async fn list<const N: usize>(
        &self,
        filters: [(&str, Vec<String>); N],
    ) -> Result<Vec<ImageSummary>, EngineError> {
        let filters: HashMap<_, _> =
            filters.into_iter().map(|(key, values)| (key.to_owned(), values)).collect();
        let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
        self.meant(quick(&self.engine).await?.list_images(Some(options)).await)
    }

    /// Removes one tag or one image, and nothing below it.
    async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptions { force: false, noprune: true, ..RemoveImageOptions::default() };
        self.meant(quick(&self.engine).await?.remove_image(name, Some(options), None).await).map(drop)
    }

    fn meant<T>(&self, answer: Result<T, bollard::errors::Error>) -> Result<T, EngineError> {
        answer.map_err(|error| meaning(&self.engine, error))
    }
}
