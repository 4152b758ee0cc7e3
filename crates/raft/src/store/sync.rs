//! One thread that makes writes durable and then reports them, many at once where many wait.
//!
//! It keeps a slow disk from holding up the task that answers heartbeats.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::disk::Disk;
use crate::types::TypeConfig;

/// Who waits for a write to be durable.
pub(super) enum Waiter {
    /// An append.
    Append(IOFlushed<TypeConfig>),
    /// A vote or a truncation.
    Write(oneshot::Sender<io::Result<()>>),
}

impl Waiter {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            // Nobody waits any more where the receiver is gone.
            Self::Write(sender) => drop(sender.send(result)),
        }
    }
}

/// The thread and the way to it.
pub(super) struct Syncer {
    waiters: Option<mpsc::Sender<Waiter>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread.
    pub(super) fn start(disk: Arc<Disk>) -> io::Result<Self> {
        let (waiters, receiver) = mpsc::channel();
        let thread =
            std::thread::Builder::new().name("raft-sync".to_owned()).spawn(move || run(&disk, &receiver))?;
        Ok(Self { waiters: Some(waiters), thread: Some(thread) })
    }

    /// Tells `waiter` once everything written before this call is durable.
    pub(super) fn after_sync(&self, waiter: Waiter) {
        let waiters = self.waiters.as_ref().expect("the sender is taken on drop alone");
        if let Err(mpsc::SendError(waiter)) = waiters.send(waiter) {
            waiter.tell(Err(io::Error::other("the thread that syncs the log has ended")));
        }
    }

    /// Waits until everything written before this call is durable.
    pub(super) async fn sync(&self) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.after_sync(Waiter::Write(sender));
        receiver.await.map_err(|_| io::Error::other("the thread that syncs the log has ended"))?
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.waiters.take());
        if let Some(thread) = self.thread.take() {
            // It only ends by itself; a panic in it was reported to every waiter.
            drop(thread.join());
        }
    }
}

fn run(disk: &Disk, waiters: &mpsc::Receiver<Waiter>) {
    // After a failed sync the kernel may have dropped the pages, so a later success proves nothing.
    let mut failed: Option<String> = None;
    while let Ok(first) = waiters.recv() {
        let waiting: Vec<Waiter> = std::iter::once(first).chain(waiters.try_iter()).collect();
        if failed.is_none()
            && let Err(error) = disk.sync()
        {
            tracing::error!(path = %disk.path().display(), %error, "the log cannot be made durable");
            failed = Some(error.to_string());
        }
        for waiter in waiting {
            waiter.tell(failed.as_ref().map_or(Ok(()), |why| Err(io::Error::other(why.clone()))));
        }
    }
}
