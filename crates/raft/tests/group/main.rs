//! Whole groups of nodes in one process, over a transport that can be cut, slowed down and made to lose
//! messages; each node has a store on disk and a runtime of its own, which is dropped to kill it.

mod cluster;
mod crash;
mod failover;
mod faults;
mod grpc;
mod members;
mod net;
mod recovery;
mod writes;
