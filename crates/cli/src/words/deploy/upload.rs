//! Sending a bundle in chunks, with a bar at a terminal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use temps_wire::client::{Client, ClientError};
use temps_wire::proto::{BundleChunk, HasBundleRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::bundle::Bundle;
use crate::exit::Failure;
use crate::screen::Screen;

/// Bytes of one chunk.
const CHUNK: usize = 256 * 1024;
/// Chunks that are read ahead.
const AHEAD: usize = 4;

/// Whether the cluster stores a bundle.
pub(super) async fn is_stored(client: &Client, digest: &str) -> Result<bool, ClientError> {
    let answer = client
        .call(|mut api| {
            let request = HasBundleRequest { digest: digest.to_owned() };
            async move { api.has_bundle(request).await }
        })
        .await?;
    Ok(answer.stored)
}

/// Sends a bundle; the answer is the names of the nodes that store it. A try that fails begins again from the start.
pub(super) async fn upload(
    client: &Client,
    bundle: Bundle,
    screen: &mut Screen,
) -> Result<Vec<String>, Failure> {
    let (digest, bytes) = (bundle.digest, bundle.bytes);
    let file = Arc::new(bundle.file);
    let (sent, total) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(bytes));
    let sending = client.call(|mut api| {
        sent.store(0, Ordering::Relaxed);
        let head = BundleChunk { digest: digest.clone(), bytes, data: Default::default() };
        let chunks = chunks(head, Arc::clone(&file), Arc::clone(&sent));
        async move { api.put_bundle(chunks).await }
    });
    let answer = with_bar(screen, "Sending", &sent, &total, sending).await?;
    Ok(answer.nodes)
}

/// The chunks of a file, read by a thread that stops when nobody takes them any more.
fn chunks(head: BundleChunk, file: Arc<File>, sent: Arc<AtomicU64>) -> ReceiverStream<BundleChunk> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut next = head;
        let mut at = 0;
        loop {
            let mut data = vec![0; CHUNK];
            // A file of ours, without a name: it cannot fail but for a broken disk, and then the
            // cluster refuses what arrives, as digest and size do not match.
            let Ok(n) = read_full(&file, &mut data, at) else { return };
            if n == 0 {
                return;
            }
            data.truncate(n);
            next.data = data.into();
            if sender.blocking_send(std::mem::take(&mut next)).is_err() {
                return;
            }
            at += n as u64;
            sent.store(at, Ordering::Relaxed);
        }
    });
    ReceiverStream::new(receiver)
}

fn read_full(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Shows a bar while something is done, where bars can be shown.
pub(super) async fn with_bar<T>(
    screen: &Screen,
    what: &'static str,
    done: &AtomicU64,
    total: &AtomicU64,
    doing: impl Future<Output = T>,
) -> T {
    if !screen.look.redraws {
        return doing.await;
    }
    let bar = ProgressBar::new(0).with_message(what).with_style(style());
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut doing = std::pin::pin!(doing);
    let result = loop {
        tokio::select! {
            result = &mut doing => break result,
            _ = ticks.tick() => {
                bar.set_length(total.load(Ordering::Relaxed));
                bar.set_position(done.load(Ordering::Relaxed));
            }
        }
    };
    bar.finish_and_clear();
    result
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("  {msg}  {bar:30}  {bytes} of {total_bytes}  {bytes_per_sec}")
        .expect("the template is well formed")
}
