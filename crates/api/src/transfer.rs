//! Artifacts as streams of chunks, and the check that what arrives is what was announced.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use temps_wire::proto::{ArtifactChunk, BundleChunk};
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;
use tonic::Status;

use crate::desk::{Answer, Lines};
use crate::limits;
use crate::parts::Stored;

/// How much is read from disk for one chunk.
const CHUNK: usize = 256 * 1024;

/// A chunk of either kind.
pub(crate) trait Chunk: Send + 'static {
    fn into_parts(self) -> (String, u64, Bytes);
}

impl Chunk for BundleChunk {
    fn into_parts(self) -> (String, u64, Bytes) {
        (self.digest, self.bytes, self.data)
    }
}

impl Chunk for ArtifactChunk {
    fn into_parts(self) -> (String, u64, Bytes) {
        (self.digest, self.bytes, self.data)
    }
}

/// What is arriving.
pub(crate) struct Incoming {
    pub(crate) digest: String,
    pub(crate) bytes: u64,
    /// Ends with an error unless it has this size and this digest.
    pub(crate) content: BoxStream<'static, io::Result<Bytes>>,
}

/// Reads the announcement in the first chunk.
pub(crate) async fn receive<C: Chunk>(
    mut chunks: impl Stream<Item = Result<C, Status>> + Send + Unpin + 'static,
) -> Answer<Incoming> {
    let first = chunks.next().await.ok_or_else(|| Status::invalid_argument("nothing was sent"))??;
    let (digest, bytes, data) = first.into_parts();
    limits::bundle(&digest, bytes)?;
    let rest = chunks.map(|chunk| chunk.map(|chunk| chunk.into_parts().2).map_err(io::Error::other));
    Ok(announced(&digest, bytes, stream::once(async { Ok(data) }).chain(rest).boxed()))
}

/// What has been announced with this size and digest.
pub(crate) fn announced(
    digest: &str,
    bytes: u64,
    content: BoxStream<'static, io::Result<Bytes>>,
) -> Incoming {
    Incoming { digest: digest.to_owned(), bytes, content: verified(digest, bytes, content) }
}

/// Reads everything and keeps nothing, so that the sender can finish.
pub(crate) async fn discard(incoming: Incoming) -> Answer<()> {
    let read = incoming.content.try_for_each(|_| async { Ok(()) }).await;
    read.map_err(|e| crate::refusal::unstored(&e))
}

struct Check {
    content: BoxStream<'static, io::Result<Bytes>>,
    digest: String,
    left: u64,
    hasher: Sha256,
}

fn verified(
    digest: &str,
    bytes: u64,
    content: BoxStream<'static, io::Result<Bytes>>,
) -> BoxStream<'static, io::Result<Bytes>> {
    let check = Check { content, digest: digest.to_owned(), left: bytes, hasher: Sha256::new() };
    stream::try_unfold(check, |mut check| async {
        let Some(data) = check.content.try_next().await? else {
            return check.finish().map(|()| None);
        };
        let length = data.len() as u64;
        check.left =
            check.left.checked_sub(length).ok_or_else(|| invalid("the bundle is longer than announced"))?;
        check.hasher.update(&data);
        Ok(Some((data, check)))
    })
    .boxed()
}

impl Check {
    fn finish(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(invalid(&format!("the bundle ended {} bytes early", self.left)));
        }
        let found: String = self.hasher.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect();
        if found == self.digest {
            Ok(())
        } else {
            Err(invalid("the bundle does not have the announced digest"))
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// As [`chunks`], where only so many are read at once: the announcement comes at once, the content in turn.
pub(crate) fn chunks_in_turn(digest: &str, stored: Stored, turns: Arc<Semaphore>) -> Lines<ArtifactChunk> {
    let mut chunks = chunks(digest, stored);
    stream::once(async move {
        let announcement = stream::iter(chunks.next().await);
        let content = stream::once(async move {
            // Nobody closes it; and without a turn nobody would be harmed.
            let turn = turns.acquire_owned().await.ok();
            chunks.map(move |chunk| {
                let _until_the_end = &turn;
                chunk
            })
        });
        announcement.chain(content.flatten())
    })
    .flatten()
    .boxed()
}

/// An artifact for another node: the announcement, then the content.
pub(crate) fn chunks(digest: &str, stored: Stored) -> Lines<ArtifactChunk> {
    let first = ArtifactChunk { digest: digest.to_owned(), bytes: stored.bytes, data: Bytes::new() };
    let content = ReaderStream::with_capacity(stored.content, CHUNK)
        .map_ok(|data| ArtifactChunk { data, ..ArtifactChunk::default() })
        .map_err(|e| crate::refusal::unstored(&e));
    stream::once(async { Ok(first) }).chain(content).boxed()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream::{self, StreamExt, TryStreamExt};
    use sha2::{Digest, Sha256};
    use temps_wire::proto::BundleChunk;

    use super::receive;

    async fn arrives(digest: &str, bytes: u64, pieces: &[&'static str]) -> Result<String, String> {
        let mut chunks: Vec<_> = pieces
            .iter()
            .map(|piece| {
                Ok(BundleChunk { data: Bytes::from_static(piece.as_bytes()), ..BundleChunk::default() })
            })
            .collect();
        if let Some(Ok(first)) = chunks.first_mut() {
            first.digest = digest.to_owned();
            first.bytes = bytes;
        }
        let incoming = receive(stream::iter(chunks).boxed()).await.map_err(|s| s.message().to_owned())?;
        let content: Vec<Bytes> = incoming.content.try_collect().await.map_err(|e| e.to_string())?;
        Ok(String::from_utf8(content.concat()).unwrap())
    }

    #[tokio::test]
    async fn only_what_was_announced_arrives() {
        let digest: String = Sha256::digest("hello").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(arrives(&digest, 5, &["he", "", "llo"]).await.as_deref(), Ok("hello"));
        for (bytes, pieces, why) in [
            (5, &["hell"][..], "the bundle ended 1 bytes early"),
            (5, &["hello", "!"], "the bundle is longer than announced"),
            (4, &["hello"], "the bundle is longer than announced"),
            (5, &["hullo"], "the bundle does not have the announced digest"),
            (0, &["x"], "a bundle of 0 bytes; 1 byte to 4.2GB fit"),
            (5, &[], "nothing was sent"),
        ] {
            assert_eq!(arrives(&digest, bytes, pieces).await, Err(why.to_owned()), "{pieces:?}");
        }
        for digest in ["", "abc", "../../../etc/passwd", &digest.to_uppercase()] {
            assert!(arrives(digest, 5, &["hello"]).await.unwrap_err().contains("64 lower-case"), "{digest}");
        }
    }
}
