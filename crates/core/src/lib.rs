//! What is true in a cluster, and what to do next: pure and deterministic.
//!
//! `apply` turns the log into state on every node, `plan` decides on the leader, `assignment` and
//! `routes` say what one node has to make true and serve. There is no clock, socket, disk, thread
//! or chance here; time enters as data.

pub mod access;
pub mod apply;
pub mod assignment;
pub mod audit;
pub mod command;
pub mod domains;
pub mod drain;
pub mod history;
pub mod host;
pub mod invariants;
mod judging;
pub mod metrics;
pub mod model;
pub mod notices;
pub mod plan;
pub mod preview;
pub mod removal;
pub mod routes;
pub mod schema;
pub mod strategy;
pub mod table;
pub mod text;
pub mod verdict;
pub mod why;
pub mod written;
