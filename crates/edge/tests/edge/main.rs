//! Edges with real sockets, between clients and applications that are no more than bytes.

#[cfg(test)]
mod access;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod counts;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod ejection;
#[cfg(test)]
mod ended;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod ids;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod link;
#[cfg(test)]
mod maintenance;
#[cfg(test)]
mod multiplex;
#[cfg(test)]
mod nearby;
#[cfg(test)]
mod proxied;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod secure;
#[cfg(test)]
mod silent;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod stale;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
#[cfg(test)]
mod swap;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod who;
