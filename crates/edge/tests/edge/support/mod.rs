//! What the tests are made of.

mod app;
mod client;
mod edges;
pub(crate) mod frames;
pub(crate) mod http2;
mod identity;
mod load;
mod tls;

use std::time::Duration;

pub(crate) use app::{App, Head};
pub(crate) use client::{Client, get};
pub(crate) use edges::{Edge, HOST, Plan, choice, config_in, table, target};
pub(crate) use identity::Authority;
pub(crate) use load::Load;
pub(crate) use tls::{Secure, shake, shake_for_proof, shown};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Bounds a step, so that what hangs fails with a name.
pub(crate) async fn within<T>(what: &str, step: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(value) => value,
        Err(_) => panic!("took too long: {what}"),
    }
}
