//! The stored source of a build as the archive that the engine reads.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use crate::store::hash_of;

/// The first bytes of a zstd frame; anything else is taken for a plain tar archive.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A larger content is refused, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// How much is read at once, in bytes.
const PART: usize = 256 * 1024;
/// How many parts may wait for the engine.
const WAITING: usize = 4;

/// The archive, on its way.
pub(super) struct Context {
    pub(super) parts: BoxStream<'static, io::Result<Bytes>>,
    pub(super) trouble: Trouble,
}

/// What was wrong with the archive itself, once that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

/// Why there is no archive.
pub(super) enum Unusable {
    /// It is not what its digest says.
    Damaged,
    /// It cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Begins to read the file at `path`. Its content is verified first: the engine must not build from
/// anything else.
pub(super) async fn open(path: PathBuf, digest: &str) -> Result<Context, Unusable> {
    if hash_of(path.clone()).await? != digest {
        return Err(Unusable::Damaged);
    }
    let (to, from) = mpsc::channel(WAITING);
    let trouble = Trouble::default();
    let told = trouble.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = unpack(path, &to) {
            *told.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(format!("the source is not an archive that can be built from: {error}"));
            // The engine must not take a part for the whole.
            let _ = to.blocking_send(Err(error));
        }
    });
    let parts = futures_util::stream::unfold(from, |mut from: mpsc::Receiver<io::Result<Bytes>>| async {
        from.recv().await.map(|part| (part, from))
    });
    Ok(Context { parts: parts.boxed(), trouble })
}

impl Trouble {
    pub(super) fn said(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn unpack(path: PathBuf, to: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut magic = [0; 4];
    let is_zstd = File::open(&path)?.read_exact(&mut magic).is_ok() && magic == ZSTD;
    let file = BufReader::new(File::open(path)?);
    let mut plain: Box<dyn Read> = if is_zstd { Box::new(zstd::Decoder::new(file)?) } else { Box::new(file) };
    let mut sent: u64 = 0;
    loop {
        let mut part = Vec::with_capacity(PART);
        plain.by_ref().take(PART as u64).read_to_end(&mut part)?;
        sent = sent.saturating_add(part.len() as u64);
        if sent > MAX_BYTES {
            return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
        }
        // Where nobody listens any more the build is over.
        if part.is_empty() || to.blocking_send(Ok(part.into())).is_err() {
            return Ok(());
        }
    }
}
