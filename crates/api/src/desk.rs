//! The desk itself: what it has at hand, and how fresh what it reads is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use temps_core::model::{ClusterState, Node};
use temps_core::table::EdgeReport;
use temps_ledger::Ledger;
use temps_wire::MESSAGE_MAX;
use temps_wire::identity::NodeIdentity;
use temps_wire::peers::Peers;
use temps_wire::proto::join_server::JoinServer;
use temps_wire::proto::peer_server::PeerServer;
use temps_wire::proto::temps_server::TempsServer;
use tokio::sync::watch;
use tonic::Status;
use tonic::service::Routes;

use crate::door::Door;
use crate::parts::{Artifacts, BuildLogs, Consensus, Images, LogSource, Membership, Past};
use crate::peer::Colleagues;
use crate::refusal::unanswered;
use crate::scrape::scrape;

/// What a request leads to.
pub(crate) type Answer<T> = Result<T, Status>;

/// An answer in many messages.
pub(crate) type Lines<T> = BoxStream<'static, Answer<T>>;

/// How long a read that may be stale waits to be fresh.
const FRESH_WITHIN: Duration = Duration::from_secs(2);

/// Everything that requests are answered from. Clones are one desk.
#[derive(Clone)]
pub struct Desk {
    /// The replicated log.
    pub ledger: Arc<dyn Ledger>,
    /// Who this node is, and the CA with which it admits others.
    pub identity: Arc<NodeIdentity>,
    /// The way to other nodes.
    pub peers: Peers,
    /// Where messages of other nodes about the log go.
    pub consensus: Arc<dyn Consensus>,
    /// Where nodes that join become members of the log.
    pub membership: Arc<dyn Membership>,
    /// Artifacts of this node.
    pub artifacts: Arc<dyn Artifacts>,
    /// Logs of instances of this node.
    pub logs: Arc<dyn LogSource>,
    /// Logs of builds on this node.
    pub builds: Arc<dyn BuildLogs>,
    /// Container images of this node.
    pub images: Arc<dyn Images>,
    /// What this node's edge counted over time.
    pub past: Arc<dyn Past>,
    /// Where people show passwords.
    pub door: Arc<Door>,
    /// What this node's edge counts; the default value until it has reported.
    pub edge: watch::Receiver<EdgeReport>,
    /// Whether there was a quorum when the one request came that this desk answers, see [`Desk::asked`]; `None` for a
    /// desk that answers all.
    pub quorum: Option<bool>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("node", &self.ledger.node()).finish_non_exhaustive()
    }
}

/// Everything that a node serves, for [`temps_wire::serve::serve`].
#[must_use]
pub fn routes(desk: Desk) -> Routes {
    let peer = PeerServer::new(Colleagues::new(desk.clone()))
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let temps = TempsServer::new(desk.clone()).max_encoding_message_size(MESSAGE_MAX);
    let services = Routes::new(temps).add_service(peer).add_service(JoinServer::new(desk.clone()));
    let plain = axum::Router::new()
        .route("/metrics", axum::routing::get(scrape))
        .merge(crate::http::routes())
        .merge(crate::pages::routes(&desk));
    Routes::from(services.into_axum_router().merge(plain.with_state(desk)))
}

/// A state, and whether it reflects every write that was acknowledged before it was asked for.
pub(crate) struct AtHand {
    pub(crate) state: Arc<ClusterState>,
    pub(crate) fresh: bool,
}

impl Desk {
    /// A desk for one request that only reads, which asks the quorum once for all of it. Without one it answers all the
    /// same, by what this node knows: who shows that must say so.
    pub(crate) async fn asked(&self) -> Self {
        let quorum = Some(self.at_hand().await.fresh);
        Self { quorum, ..self.clone() }
    }

    /// A state that reflects every acknowledged write; see [`Desk::asked`] for the exception.
    pub(crate) async fn fresh(&self) -> Answer<Arc<ClusterState>> {
        if self.quorum.is_some() {
            return Ok(self.ledger.state());
        }
        self.ledger.barrier().await.map_err(|e| unanswered(&e))?;
        Ok(self.ledger.state())
    }

    /// A fresh state where there is a quorum; otherwise, and soon, what this node knows.
    pub(crate) async fn at_hand(&self) -> AtHand {
        if let Some(fresh) = self.quorum {
            return AtHand { state: self.ledger.state(), fresh };
        }
        let led = self.ledger.leadership().borrow().leader.is_some();
        let fresh =
            led && tokio::time::timeout(FRESH_WITHIN, self.ledger.barrier()).await.is_ok_and(|b| b.is_ok());
        AtHand { state: self.ledger.state(), fresh }
    }

    /// How this node is called.
    pub(crate) fn name(&self, state: &ClusterState) -> String {
        let id = self.ledger.node();
        state.nodes.get(&id).map_or_else(|| id.to_string(), |node| node.name.clone())
    }

    /// Nodes that count, this one excluded.
    pub(crate) fn others<'a>(&self, state: &'a ClusterState) -> impl Iterator<Item = &'a Node> {
        let own = self.ledger.node();
        state.up().filter(move |node| node.id != own)
    }
}
