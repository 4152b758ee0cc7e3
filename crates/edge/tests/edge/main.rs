//! Edges with real sockets, between clients and applications that are no more than bytes.

mod disk;
mod forwarding;
mod hosts;
mod http2;
mod limits;
mod link;
mod retries;
mod smuggling;
mod stale;
mod streams;
mod support;
mod swap;
mod takeover;
mod who;
