//! The traffic of one node: clients in front, the node's instances and the edges of other nodes behind.
//!
//! An edge serves one [`temps_core::table::Table`] and reports what it sees. It knows nothing of
//! projects, deployments or Raft, and it outlives the server that feeds it: without a server it goes
//! on with its last table, which it also keeps on disk.
//!
//! A request chooses *a release on a node*; only the edge of the node that runs an instance picks the
//! instance. So the count of what is in flight at an instance is exact and local to one process.
//!
//! Each worker is one thread with its own runtime, listeners, connections and current table. Picking
//! an instance and counting the request happen without a pause on that one thread; once a worker
//! has acknowledged a table, none of its requests can choose by an older one.

mod answer;
mod asked;
mod body;
mod call;
mod callers;
mod client;
mod compile;
mod config;
mod control;
mod count;
mod deliver;
mod frame;
mod front;
mod greeting;
mod handover;
mod head;
mod heard;
mod identity;
mod instance;
mod keyring;
mod link;
mod listen;
mod log;
mod maintenance;
mod multiplex;
mod network;
mod owner;
mod peer;
mod pick;
mod pool;
mod proxy;
mod record;
mod report;
mod run;
mod secure;
mod standing;
mod sticky;
mod store;
mod table;
mod ticket;
mod told;
mod tunnel;
mod upload;
mod wait;
mod watched;
mod worker;

pub use config::{EdgeConfig, EdgeError, Limits, Listen};
pub use link::{Link, LinkOptions};
pub use network::{Network, NetworkError};
pub use run::run;
