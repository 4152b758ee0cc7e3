//! The hands of one node: what runs here is made to match what is assigned here, and what happens here is
//! reported.
//!
//! An [`Agent`] follows the replicated state through its [`temps_core::assignment::Assignment`] and writes
//! only reports. Instances are the children of supervisors, not of the server: they outlive it, and the
//! next server finds them again. Strategies, leadership, routing and the wire are not known here.

mod agent;
pub mod build;
pub mod builder;
mod condition;
mod diff;
mod drain;
mod facts;
mod files;
mod gate;
mod hands;
mod health;
pub mod images;
mod lease;
mod local;
pub mod logs;
mod memory;
mod outbox;
mod probe;
mod proc;
pub mod runtime;
pub mod store;
mod supervise;
#[cfg(test)]
mod testing;
mod view;

pub use agent::{Agent, AgentOptions, Logs};
pub use supervise::supervise;
pub use view::LocalView;
