//! How nodes and people talk: generated messages, certificates, TLS, tokens, a server and clients.
//!
//! What the messages mean is known only to what tells people of them (`failure`, `told`), and who may ask for what not
//! at all.

pub mod certificate;
pub mod client;
pub mod codec;
mod connect;
pub mod failure;
pub mod files;
pub mod identity;
pub mod machine;
pub mod peers;
pub mod proto;
pub mod seal;
pub mod serve;
pub mod shown;
mod text;
pub mod tls;
pub mod token;
pub mod told;

/// The largest message between nodes, in bytes: a snapshot chunk or a batch of log entries fits.
pub const MESSAGE_MAX: usize = 16 * 1024 * 1024;
