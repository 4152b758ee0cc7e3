//! The replicated log: openraft over RocksDB, as a [`temps_ledger::Ledger`].
//!
//! An entry is acknowledged after a majority has it on disk. What a command means is not known here:
//! committed entries go to `temps_core::apply`, and nothing else looks into them.

mod grpc;
mod ledger;
mod machine;
mod message;
mod network;
mod options;
mod receive;
mod store;
mod transport;
mod types;

pub use grpc::GrpcTransport;
pub use ledger::{MemberError, MemberStatus, RaftLedger, Status};
pub use options::{OpenError, OpenOptions, SnapshotRules, Timings};
pub use receive::MessageError;
pub use transport::{Peer, Transport, TransportError};
