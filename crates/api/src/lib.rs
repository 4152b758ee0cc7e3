//! The front desk of a node: what people, programs and other nodes may ask, and who may ask it.
//!
//! How the log is replicated, where artifacts lie and where logs come from is not known here; see
//! [`parts`]. Which deployment step comes next is not known here either.

mod audit;
mod build_log;
mod bundles;
mod caller;
mod changes;
mod desk;
mod domains;
mod door;
mod given;
mod history;
mod http;
mod images;
mod join;
mod limits;
mod logs;
mod metrics;
mod nodes;
mod notifications;
mod operations;
mod pages;
pub mod parts;
mod peer;
mod people;
mod permit;
mod reach;
mod reads;
mod refusal;
mod scrape;
pub mod sessions;
mod settings;
mod story;
mod transfer;
mod views;
mod watch;

pub use caller::Caller;
pub use desk::{Desk, routes};

#[cfg(test)]
mod tests;
