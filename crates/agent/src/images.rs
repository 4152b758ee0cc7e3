//! Container images between the engine and the store.
//!
//! An image leaves the engine as an archive, is cut into chunks and stored; it comes back, on any node,
//! from its chunks, and is the same image. What this node keeps in its engine has a tag of its own,
//! `temps-<cluster>:<node>-<digest>`; tags, images and volumes of others are never touched. When an
//! image is needed, and what runs from it, is not known here.

mod attend;
mod export;
mod find;
mod import;
mod tags;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use temps_core::model::{Artifact, NodeId};

pub(crate) use attend::{attended, is_away, meaning, patient};
pub use export::ExportError;
pub use find::FindError;
pub(crate) use tags::{CLUSTER, NODE};

use crate::runtime::StartError;
use crate::runtime::docker::{Engine, ImageSource};
use crate::store::{NoRoom, Store, free_space, room_on};

/// The container images of this node.
#[derive(Debug)]
pub struct Images {
    engine: Arc<Engine>,
    store: Arc<Store>,
    /// The repository of this cluster's tags.
    repository: String,
    cluster: String,
    node: NodeId,
    /// Where the engine keeps its files, once it has said so.
    root: OnceLock<PathBuf>,
    /// One image is brought at a time.
    bringing: tokio::sync::Mutex<()>,
    /// Held by many while images are made that have no tag yet, and by one that removes such images.
    making: tokio::sync::RwLock<()>,
}

impl Images {
    /// The images of an engine that are stored in `store`. `cluster` are the 12 digits that tell this
    /// cluster from others which use the same engine, and `node` tells this node from others that do.
    #[must_use]
    pub fn new(engine: Arc<Engine>, store: Arc<Store>, cluster: &str, node: NodeId) -> Self {
        Self {
            engine,
            store,
            repository: format!("temps-{cluster}"),
            cluster: cluster.to_owned(),
            node,
            root: OnceLock::new(),
            bringing: tokio::sync::Mutex::default(),
            making: tokio::sync::RwLock::default(),
        }
    }

    /// The tag that keeps the image of a stored artifact in this node's engine.
    #[must_use]
    pub fn tag_of(&self, digest: &str) -> String {
        format!("{}:{}", self.repository, self.short_tag(digest))
    }

    /// Free space on the fullest of the disks that images need, in bytes; `None` where it is unknown.
    pub async fn free(&self) -> Option<u64> {
        let store = self.store.free().ok();
        let engine = self.root().await.and_then(|root| free_space(root).ok());
        store.into_iter().chain(engine).min()
    }

    /// Refuses where the engine's disk has no space for that many bytes more.
    pub(crate) async fn engine_room_for(&self, bytes: u64) -> Result<(), NoRoom> {
        match self.root().await {
            Some(root) => room_on(root, bytes),
            None => Ok(()),
        }
    }

    /// Where the engine keeps its files; `None` where that is unknown, or means something else here.
    async fn root(&self) -> Option<&Path> {
        if self.root.get().is_none() {
            let docker = attend::quick(&self.engine).await.ok()?;
            let root = docker.info().await.ok()?.docker_root_dir?;
            self.root.get_or_init(|| PathBuf::from(root));
        }
        self.root.get().map(PathBuf::as_path).filter(|root| root.is_dir())
    }

    /// Until the answer is dropped, images without a tag are not taken for left ones.
    pub(crate) async fn making(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.making.read().await
    }

    fn short_tag(&self, digest: &str) -> String {
        format!("{}-{}", self.node, digest.get(..12).unwrap_or(digest))
    }
}

#[async_trait]
impl ImageSource for Images {
    /// Several calls at a time bring an image once. [`StartError::Damaged`] means that a part of it was
    /// damaged and is taken away: fetched again, it brings that part alone.
    async fn ensure(&self, artifact: &Artifact) -> Result<(), StartError> {
        self.bring(artifact).await
    }

    /// What is in use stays.
    async fn discard(&self, digest: &str) -> std::io::Result<()> {
        Ok(self.untag(&self.tag_of(digest)).await?)
    }
}
