//! Calling other nodes, with the own certificate and theirs verified by number.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use temps_core::model::NodeId;
use tonic::transport::Channel;

use crate::MESSAGE_MAX;
use crate::connect::Dialer;
use crate::identity::{NodeIdentity, node_name};
use crate::proto::peer_client::PeerClient;
use crate::tls;

/// Time for TCP and TLS together; nodes are near each other, and a dead one must not hold up the others.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that is silent for two of these is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// What a connection is for: a large transfer must not delay a heartbeat behind it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Talk,
    Bulk,
}

/// The way to all other nodes. Clones share their connections.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    tls: Result<Arc<ClientConfig>, String>,
    channels: Mutex<BTreeMap<(NodeId, Lane), (String, Channel)>>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

impl Peers {
    /// The way to others as this node. With an identity that cannot be used, every call fails and says so.
    #[must_use]
    pub fn new(identity: &NodeIdentity) -> Self {
        let tls = tls::node_client_config(identity).map_err(|e| e.to_string());
        Self { inner: Arc::new(Inner { tls, channels: Mutex::default() }) }
    }

    /// A client for a node at `host:port`; it connects when it is used. For short messages.
    /// Has to be called inside a Tokio runtime.
    #[must_use]
    pub fn client(&self, node: NodeId, address: &str) -> PeerClient<Channel> {
        self.over(Lane::Talk, node, address)
    }

    /// As [`Peers::client`], over a connection of its own for artifacts, logs and snapshots.
    #[must_use]
    pub fn bulk(&self, node: NodeId, address: &str) -> PeerClient<Channel> {
        self.over(Lane::Bulk, node, address)
    }

    fn over(&self, lane: Lane, node: NodeId, address: &str) -> PeerClient<Channel> {
        PeerClient::new(self.channel(lane, node, address))
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX)
    }

    fn channel(&self, lane: Lane, node: NodeId, address: &str) -> Channel {
        let mut channels = self.inner.channels.lock().unwrap_or_else(PoisonError::into_inner);
        match channels.get(&(node, lane)) {
            Some((known, channel)) if known == address => channel.clone(),
            _ => {
                let dialer = Dialer {
                    address: address.to_owned(),
                    name: node_name(node),
                    tls: self.inner.tls.clone(),
                    timeout: CONNECT_TIMEOUT,
                };
                let channel = dialer.channel(KEEP_ALIVE);
                channels.insert((node, lane), (address.to_owned(), channel.clone()));
                channel
            }
        }
    }
}
