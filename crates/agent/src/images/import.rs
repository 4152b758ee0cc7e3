//! From the store into the engine.

use std::io;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::query_parameters::ImportImageOptions;
use bytes::Bytes;
use futures_util::StreamExt;
use tar::{Builder, EntryType, Header};
use temps_core::model::{Artifact, Form};
use tokio::sync::mpsc;

use super::{Images, attended, is_away, meaning, patient};
use crate::runtime::StartError;
use crate::runtime::docker::EngineError;
use crate::store::{Entry, Hold, Kind, Manifest, PIECE};

/// How many parts of the archive may wait for the engine.
const WAITING: usize = 2;
/// Where others use the engine as well, an image may be taken for a left one before it has its tag.
const ATTEMPTS: u32 = 2;
/// The unit of an archive, in bytes.
const BLOCK: usize = 512;

impl Images {
    /// Makes the engine have an image, with this node's tag.
    pub(super) async fn bring(&self, artifact: &Artifact) -> Result<(), StartError> {
        let Form::Image { id, .. } = &artifact.form else {
            return Err(StartError::Refused("it is no container image".to_owned()));
        };
        if self.keeps(artifact, id).await? {
            return Ok(());
        }
        let _one = self.bringing.lock().await;
        if self.keeps(artifact, id).await? {
            return Ok(());
        }
        // What is not needed any more makes room first.
        if let Err(error) = self.sweep(&self.store.known()).await {
            tracing::warn!(%error, "old images are not removed");
        }
        let _making = self.making.read().await;
        for _ in 0..ATTEMPTS {
            tracing::info!(image = id, digest = artifact.digest, "bringing an image into the engine");
            self.load(artifact, id).await?;
            if self.keeps(artifact, id).await? {
                return Ok(());
            }
        }
        Err(StartError::Refused(format!("the engine took it and does not have the image {id}")))
    }

    async fn held(&self, artifact: &Artifact, id: &str) -> Result<(Hold, Manifest), StartError> {
        let (store, digest) = (Arc::clone(&self.store), artifact.digest.clone());
        let held = tokio::task::spawn_blocking(move || Hold::of_image(store, &digest)).await;
        let Some((hold, manifest)) = held.map_err(io::Error::other)?? else {
            // It was removed, or found damaged, after the caller had looked.
            return Err(StartError::NotNow("the image is not stored on this node any more".to_owned()));
        };
        if manifest.image != *id {
            return Err(StartError::Refused(format!("it is the image {} instead of {id}", manifest.image)));
        }
        Ok((hold, manifest))
    }

    /// Whether the engine has an image; it has this node's tag then.
    async fn keeps(&self, artifact: &Artifact, id: &str) -> Result<bool, StartError> {
        let Some(found) = self.inspect(id).await.map_err(not_started)? else { return Ok(false) };
        let tag = self.tag_of(&artifact.digest);
        if !found.repo_tags.unwrap_or_default().contains(&tag) {
            match self.tag(id, &artifact.digest).await {
                Err(error) if is_away(&error) => return Err(not_started(error)),
                // It went in between.
                Err(_) => return Ok(false),
                Ok(()) => {}
            }
        }
        Ok(true)
    }

    async fn load(&self, artifact: &Artifact, id: &str) -> Result<(), StartError> {
        let (hold, manifest) = self.held(artifact, id).await?;
        let full = |error: crate::store::NoRoom| StartError::NotNow(error.to_string());
        self.engine_room_for(manifest.plain()).await.map_err(full)?;
        let docker = patient(&self.engine).await.map_err(not_started)?;
        let (to, from) = mpsc::channel(WAITING);
        let store = Arc::clone(&self.store);
        let rebuilding = tokio::task::spawn_blocking(move || {
            let outcome = rebuild(&hold, &manifest, &to);
            if let Err(broken) = &outcome {
                // Without an error the engine would take what has come for the whole.
                let _ = to.blocking_send(Err(io::Error::other("broken off")));
                if let Broken::Damaged(digest) = broken {
                    tracing::warn!(digest, "a stored chunk is damaged");
                    store.spoil(digest);
                }
            }
            outcome
        });
        let body = futures_util::stream::unfold(from, |mut from: mpsc::Receiver<io::Result<Bytes>>| async {
            from.recv().await.map(|part| (part, from))
        });
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let mut answers = docker.import_image_stream(options, body, None);
        let loading = async {
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok::<(), Error>(())
        };
        let loaded = attended(&self.engine, loading).await;
        drop(answers);
        match rebuilding.await.map_err(io::Error::other)? {
            Err(Broken::Damaged(_)) => return Err(StartError::Damaged),
            Err(Broken::Io(error)) => return Err(error.into()),
            Ok(()) | Err(Broken::Stopped) => {}
        }
        loaded.and_then(|loaded| loaded.map_err(|error| meaning(&self.engine, error))).map_err(not_started)
    }
}

fn not_started(error: EngineError) -> StartError {
    let why = error.to_string();
    match error {
        EngineError::Away { .. } => StartError::NotNow(why),
        _ if why.contains("no space left on device") => {
            StartError::NotNow(format!("no space on this node: {why}"))
        }
        EngineError::Missing(_) | EngineError::Conflict(_) | EngineError::Refused(_) => {
            StartError::Failed(format!("the engine did not take the image: {why}"))
        }
    }
}

/// Why an archive was not rebuilt.
enum Broken {
    /// This chunk is not what its name says, or is gone.
    Damaged(String),
    /// The disk failed.
    Io(io::Error),
    /// The engine does not want more.
    Stopped,
}

/// Sends the archive that a manifest describes, part by part.
fn rebuild(hold: &Hold, manifest: &Manifest, to: &mpsc::Sender<io::Result<Bytes>>) -> Result<(), Broken> {
    let send = |part: Vec<u8>| to.blocking_send(Ok(part.into())).map_err(|_| Broken::Stopped);
    let mut decompressor = zstd::bulk::Decompressor::new().map_err(Broken::Io)?;
    for entry in &manifest.entries {
        send(head(entry).map_err(Broken::Io)?)?;
        for piece in &entry.chunks {
            let damaged = || Broken::Damaged(piece.digest.clone());
            let stored = hold.get(piece).map_err(Broken::Io)?.ok_or_else(damaged)?;
            let plain = decompressor.decompress(&stored, PIECE).map_err(|_| damaged())?;
            if plain.len() as u64 != piece.size {
                return Err(damaged());
            }
            send(plain)?;
        }
        let over = usize::try_from(entry.size % BLOCK as u64).unwrap_or_default();
        if over > 0 {
            send(vec![0; BLOCK - over])?;
        }
    }
    // Two empty blocks are the end.
    send(vec![0; 2 * BLOCK])
}

/// The header of an entry, with what precedes it where its name is long.
fn head(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_mtime(entry.mtime);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(entry.size);
    header.set_entry_type(match entry.kind {
        Kind::File => EntryType::Regular,
        Kind::Directory => EntryType::Directory,
        Kind::Symlink => EntryType::Symlink,
        Kind::Hardlink => EntryType::Link,
    });
    let mut archive = Builder::new(Vec::new());
    match &entry.link {
        Some(link) => archive.append_link(&mut header, &entry.name, link)?,
        None => archive.append_data(&mut header, &entry.name, io::empty())?,
    }
    Ok(archive.get_ref().clone())
}
