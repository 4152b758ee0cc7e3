//! From the engine into the store.

use std::io::{self, Read};
use std::sync::Arc;

use bollard::errors::Error;
use bytes::Bytes;
use futures_util::StreamExt;
use tar::{Archive, EntryType};
use temps_core::model::Artifact;
use temps_core::text;
use tokio::sync::mpsc;

use super::{Images, attended, meaning, patient};
use crate::runtime::docker::EngineError;
use crate::store::{Entry, Hold, Kind, Manifest, NoRoom, PIECE, Piece};

/// A fixed level: another one would give other chunks.
const LEVEL: i32 = 3;
/// How many parts of the archive may wait to be cut.
const WAITING: usize = 16;

/// Why an image was not stored.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The engine does not have it.
    #[error("the engine of this node does not have the image {0}")]
    NotHere(String),
    /// The engine does not answer: try again.
    #[error("{0}")]
    NotNow(String),
    /// The disk is too full.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// It cannot be exported.
    #[error("the image cannot be exported: {0}")]
    Failed(String),
}

impl ExportError {
    fn from_engine(id: &str, error: EngineError) -> Self {
        match error {
            EngineError::Away { .. } => Self::NotNow(error.to_string()),
            EngineError::Missing(_) => Self::NotHere(id.to_owned()),
            EngineError::Conflict(why) | EngineError::Refused(why) => Self::Failed(why),
        }
    }
}

impl Images {
    /// Stores an image of the engine. The engine keeps it.
    ///
    /// # Errors
    /// [`ExportError`]; nothing of it is left in the store then.
    pub async fn export(&self, id: &str) -> Result<Artifact, ExportError> {
        self.export_told(id, |_| {}).await
    }

    /// [`Self::export`], which tells what it has done, for a person.
    pub(crate) async fn export_told(
        &self,
        id: &str,
        tell: impl FnOnce(&str) + Send,
    ) -> Result<Artifact, ExportError> {
        let failed = |error| ExportError::from_engine(id, error);
        let found = self.inspect(id).await.map_err(failed)?;
        let found = found.ok_or_else(|| ExportError::NotHere(id.to_owned()))?;
        let size = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        self.store.room_for(size)?;
        // The engine prepares the archive on its own disk.
        self.engine_room_for(size).await?;
        let (to, from) = mpsc::channel(WAITING);
        let (hold, image) = (Hold::new(Arc::clone(&self.store)), id.to_owned());
        let cutting = tokio::task::spawn_blocking(move || {
            let mut cutter = Cutter::new(hold)?;
            let entries = cutter.cut(Parts { from, now: Bytes::new(), is_whole: false })?;
            cutter.finish(Manifest::new(image, entries))
        });
        let docker = patient(&self.engine).await.map_err(failed)?;
        let mut archive = docker.export_image(id);
        let feeding = async {
            while let Some(part) = archive.next().await {
                // Whoever cuts has failed, and says why.
                if to.send(Part::Bytes(part?)).await.is_err() {
                    return Ok(());
                }
            }
            let _ = to.send(Part::End).await;
            Ok(())
        };
        let fed = attended(&self.engine, feeding).await;
        drop(to);
        fed.and_then(|fed| fed.map_err(|error: Error| meaning(&self.engine, error))).map_err(failed)?;
        let cut = cutting.await.map_err(io::Error::other).and_then(|cut| cut);
        let (artifact, stored) = cut.map_err(|error| ExportError::Failed(error.to_string()))?;
        // Without a tag the engine could throw it away before it is started here.
        if let Err(error) = self.tag(id, &artifact.digest).await {
            tracing::warn!(image = id, %error, "an exported image has no tag");
        }
        tell(&stored);
        Ok(artifact)
    }
}

/// What comes of the archive.
#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    /// That was all; without it the archive was broken off.
    End,
}

/// The archive for a thread that waits.
struct Parts {
    from: mpsc::Receiver<Part>,
    now: Bytes,
    is_whole: bool,
}

impl Read for Parts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() && !self.is_whole {
            match self.from.blocking_recv() {
                Some(Part::Bytes(bytes)) => self.now = bytes,
                Some(Part::End) => self.is_whole = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was broken off")),
            }
        }
        let n = self.now.len().min(into.len());
        into[..n].copy_from_slice(&self.now.split_to(n));
        Ok(n)
    }
}

/// Cuts an archive into stored chunks.
struct Cutter {
    hold: Hold,
    compressor: zstd::bulk::Compressor<'static>,
    piece: Vec<u8>,
    /// How many chunks were not stored before, and their size.
    new: (usize, u64),
}

impl Cutter {
    fn new(hold: Hold) -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { hold, compressor, piece: Vec::with_capacity(PIECE), new: (0, 0) })
    }

    fn cut(&mut self, mut parts: impl Read) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut archive = Archive::new(&mut parts);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let header = entry.header();
            let (kind, mode, mtime) = (header.entry_type(), header.mode()? & 0o7777, header.mtime()?);
            let kind = match kind {
                EntryType::Regular | EntryType::Continuous => Kind::File,
                EntryType::Directory => Kind::Directory,
                EntryType::Symlink => Kind::Symlink,
                EntryType::Link => Kind::Hardlink,
                EntryType::XGlobalHeader => continue,
                other => return Err(unknown(&format!("an entry of the kind {other:?}"))),
            };
            let name = text_of(&entry.path_bytes())?;
            let link = entry.link_name_bytes().map(|link| text_of(&link)).transpose()?;
            let link = link.filter(|_| matches!(kind, Kind::Symlink | Kind::Hardlink));
            let (chunks, size) = match kind {
                Kind::File => self.pieces(&mut entry)?,
                Kind::Directory | Kind::Symlink | Kind::Hardlink => (Vec::new(), 0),
            };
            entries.push(Entry { name, kind, mode, mtime, size, link, chunks });
        }
        // The archive is whole only if its end came.
        io::copy(&mut parts, &mut io::sink())?;
        Ok(entries)
    }

    fn pieces(&mut self, entry: &mut impl Read) -> io::Result<(Vec<Piece>, u64)> {
        let (mut pieces, mut size) = (Vec::new(), 0);
        loop {
            self.piece.clear();
            entry.take(PIECE as u64).read_to_end(&mut self.piece)?;
            if self.piece.is_empty() {
                return Ok((pieces, size));
            }
            let stored = self.compressor.compress(&self.piece)?;
            let (digest, is_new) = self.hold.put(&stored)?;
            if is_new {
                self.new = (self.new.0 + 1, self.new.1 + stored.len() as u64);
            }
            size += self.piece.len() as u64;
            pieces.push(Piece { digest, bytes: stored.len() as u64, size: self.piece.len() as u64 });
        }
    }

    fn finish(self, manifest: Manifest) -> io::Result<(Artifact, String)> {
        let told = format!(
            "the image is stored: {} in {} chunks, {} in {} of them new",
            text::bytes(manifest.total()),
            manifest.chunks().len(),
            text::bytes(self.new.1),
            self.new.0,
        );
        Ok((self.hold.publish(&manifest)?, told))
    }
}

fn text_of(bytes: &[u8]) -> io::Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| unknown("a name that is not UTF-8"))
}

fn unknown(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the engine's archive has {what}"))
}
