//! Questions to an engine, one at a time, waited for.

use std::path::Path;

use bollard::query_parameters::{
    BuildImageOptionsBuilder, InspectContainerOptionsBuilder, InspectNetworkOptionsBuilder,
    ListImagesOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder, StopContainerOptionsBuilder, TagImageOptionsBuilder,
};
use bollard::{ClientVersion, Docker};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;

use super::Engine;
use crate::trouble::{Context, Result, Trouble};

/// What Debian's engine speaks.
const VERSION: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// Seconds that one answer may take.
const PATIENCE: u64 = 60;

impl Engine {
    /// Asks, on a connection of its own.
    pub(super) fn ask<T>(
        &self,
        what: &str,
        question: impl AsyncFnOnce(Docker) -> std::result::Result<T, bollard::errors::Error>,
    ) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = self.socket();
        runtime.block_on(async {
            let docker =
                Docker::connect_with_unix(&socket.to_string_lossy(), PATIENCE, &VERSION).context(what)?;
            question(docker).await.context(what)
        })
    }

    /// Removes all containers with force.
    pub(super) fn remove_all(&self) -> Result {
        self.containers()?.iter().try_for_each(|container| self.remove(&container.id))
    }

    /// Removes a container as `docker rm -f` does. One that is gone, or on its way, is fine.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, container: &str) -> Result {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        self.ask("rm -f", async |docker| match docker.remove_container(container, Some(options)).await {
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            removed => removed,
        })
    }

    /// Stops a container as `docker stop` does, by hand.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub fn stop_container(&self, container: &str) -> Result {
        let options = StopContainerOptionsBuilder::new().t(1).build();
        self.ask("stop", async |docker| docker.stop_container(container, Some(options)).await)
    }

    /// Starts a container that exists.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_container(&self, container: &str) -> Result {
        self.ask("start", async |docker| docker.start_container(container, None).await)
    }

    /// Everything that the engine tells of a container, with its names.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn inspect(&self, container: &str) -> Result<Value> {
        let options = InspectContainerOptionsBuilder::new().build();
        let told =
            self.ask("inspect", async |docker| docker.inspect_container(container, Some(options)).await)?;
        Ok(serde_json::to_value(told)?)
    }

    /// Everything that the engine tells of a network, with its names.
    ///
    /// # Errors
    /// When there is no such network.
    pub fn network(&self, network: &str) -> Result<Value> {
        let options = InspectNetworkOptionsBuilder::new().build();
        let told =
            self.ask("inspect", async |docker| docker.inspect_network(network, Some(options)).await)?;
        Ok(serde_json::to_value(told)?)
    }

    /// Builds an image of a directory with a Dockerfile and returns its id.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn build(&self, name: &str, dir: &Path) -> Result<String> {
        let mut archive = tar::Builder::new(Vec::new());
        // Engines do not read the entries that this writes for files with holes.
        archive.sparse(false);
        archive.append_dir_all(".", dir)?;
        let archive = Bytes::from(archive.into_inner()?);
        let options = BuildImageOptionsBuilder::new().t(name).rm(true).forcerm(true).build();
        self.ask("build", async |docker| {
            let mut told = docker.build_image(options, None, Some(bollard::body_full(archive)));
            while let Some(line) = told.next().await {
                line?;
            }
            Ok(())
        })?;
        self.image(name)?.ok_or_else(|| Trouble::new(format!("the build made no {name}")))
    }

    /// The id of an image, if the engine has it.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn image(&self, name: &str) -> Result<Option<String>> {
        self.ask("image", async |docker| match docker.inspect_image(name).await {
            Ok(image) => Ok(image.id),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn tag(&self, image: &str, repository: &str, tag: &str) -> Result {
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        self.ask("tag", async |docker| docker.tag_image(image, Some(options)).await)
    }

    /// Removes an image, or only this name of it.
    ///
    /// # Errors
    /// When it is in use.
    pub fn remove_image(&self, image: &str) -> Result {
        let options = RemoveImageOptionsBuilder::new().build();
        self.ask("rmi", async |docker| docker.remove_image(image, Some(options), None).await).map(drop)
    }

    /// Ids of all images.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn images(&self) -> Result<Vec<String>> {
        let options = ListImagesOptionsBuilder::new().build();
        let images = self.ask("images", async |docker| docker.list_images(Some(options)).await)?;
        Ok(images.into_iter().map(|image| image.id).collect())
    }

    /// Names of all volumes.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn volumes(&self) -> Result<Vec<String>> {
        let options = ListVolumesOptionsBuilder::new().build();
        let told = self.ask("volumes", async |docker| docker.list_volumes(Some(options)).await)?;
        Ok(told.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }
}
