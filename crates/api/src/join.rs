//! Admitting a machine: its token against the log, its certificate from the cluster's CA, its seat in
//! the log.
//!
//! A join is known by the machine's key. Trying it again, here or at another node, gives the same node
//! another certificate.

use temps_core::command::{Command, Made, NewNode};
use temps_core::model::NodeId;
use temps_ledger::Proposal;
use temps_wire::identity::{IdentityError, csr_fingerprint};
use temps_wire::proto::join_server::Join;
use temps_wire::proto::{JoinRequest, JoinResponse};
use temps_wire::token::{JoinToken, same_hash};
use tonic::{Request, Response, Status};
use tracing::info;

use crate::desk::{Answer, Desk};
use crate::limits;
use crate::refusal::{refused, unanswered};

#[tonic::async_trait]
impl Join for Desk {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let request = request.into_inner();
        let hash = self.join_token(&request.token)?.hash();
        check_sizes(&request)?;
        let fingerprint =
            csr_fingerprint(&request.csr).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let node = self.admit_node(&request, fingerprint, &hash).await?;
        let certificate = self.identity.ca().sign_node(&request.csr, node).map_err(|e| unsigned(&e))?;
        self.membership
            .add_member(node, request.control)
            .await
            .map_err(|why| Status::unavailable(format!("the node could not become a member yet: {why}")))?;
        info!(%node, name = request.name, "a node joined");
        Ok(Response::new(JoinResponse {
            node: node.0,
            certificate,
            ca: self.identity.ca_pem.clone(),
            ca_key: self.identity.ca_key_pem.clone(),
        }))
    }
}

impl Desk {
    fn join_token(&self, text: &str) -> Answer<JoinToken> {
        let token: JoinToken = text.parse().map_err(|e| Status::permission_denied(format!("{e}")))?;
        let cluster = self.identity.ca_fingerprint().map_err(|e| Status::internal(e.to_string()))?;
        if token.fingerprint() == cluster {
            Ok(token)
        } else {
            Err(Status::permission_denied("the join token is for another cluster"))
        }
    }

    async fn admit_node(&self, request: &JoinRequest, fingerprint: String, hash: &str) -> Answer<NodeId> {
        let new = NewNode {
            name: request.name.clone(),
            control: request.control.clone(),
            edge_peer: request.edge_peer.clone(),
            edge_http: request.edge_http.clone(),
            version: request.version.clone(),
            fingerprint,
            token_hash: Some(hash.to_owned()),
        };
        // The fingerprint makes the command take effect once, also when it comes with another name
        // after a refusal, so it needs no key.
        let proposal = Proposal { key: None, by: "join token".to_owned(), command: Command::AddNode(new) };
        let receipt = self.ledger.propose(proposal).await.map_err(|e| unanswered(&e))?;
        let node = match receipt.made() {
            Ok(Made::Node(node)) => node,
            Ok(_) => return Err(Status::internal("the log admitted something that is not a node")),
            Err(why) => return Err(refused(&why)),
        };
        // A machine that is known already is not asked for its token by the log, but it gets the CA's
        // key: it has to show one that this cluster gave out.
        let state = self.ledger.state();
        if state.join_tokens.values().any(|token| same_hash(&token.hash, hash)) {
            Ok(node)
        } else {
            Err(Status::permission_denied("the join token is unknown or was rotated"))
        }
    }
}

fn check_sizes(request: &JoinRequest) -> Answer<()> {
    limits::text("the node name", &request.name)?;
    limits::text("the control address", &request.control)?;
    limits::text("the edge's address for peers", &request.edge_peer)?;
    limits::text("the edge's public address", &request.edge_http)?;
    limits::text("the version", &request.version)?;
    if request.control.is_empty() || request.edge_peer.is_empty() {
        return Err(Status::invalid_argument("a node needs a control address and one for edges"));
    }
    Ok(())
}

fn unsigned(why: &IdentityError) -> Status {
    match why {
        IdentityError::Damaged { what: "the certificate request", .. } => {
            Status::invalid_argument(why.to_string())
        }
        _ => Status::internal(why.to_string()),
    }
}
