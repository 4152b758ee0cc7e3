//! The front desk of a node: what people, programs and other nodes may ask, and who may ask it.
//!
//! How the log is replicated, where artifacts lie and where logs come from is not known here; see
//! [`parts`]. Which deployment step comes next is not known here either.

mod build_log;
mod bundles;
mod caller;
mod changes;
mod desk;
mod domains;
mod given;
mod images;
mod join;
mod limits;
mod logs;
mod metrics;
mod nodes;
mod notifications;
mod operations;
pub mod parts;
mod peer;
mod reach;
mod reads;
mod refusal;
mod scrape;
mod story;
mod transfer;
mod views;
mod watch;

pub use desk::{Desk, routes};

#[cfg(test)]
mod tests;
