//! Asking to become a node.

use std::time::{Duration, Instant};

use super::error::Failure;
use super::{CONNECT_TIMEOUT, ClientError, KEEP_ALIVE, PATIENCE, address};
use crate::connect::Dialer;
use crate::identity::{CLUSTER_NAME, ca_fingerprint};
use crate::proto::join_client::JoinClient;
use crate::proto::{JoinRequest, JoinResponse};
use crate::tls;
use crate::token::JoinToken;

/// Sends a join request, with the token put in, to a node of the token's cluster and no other. Tries
/// for up to 30 s; with one key pair it is one join however often it is tried.
///
/// # Errors
/// [`ClientError`] where the node does not answer, is of another cluster, or refuses.
pub async fn join(
    endpoint: &str,
    token: &JoinToken,
    mut request: JoinRequest,
) -> Result<JoinResponse, ClientError> {
    request.token = token.reveal();
    let dialer = Dialer {
        address: address(endpoint).to_owned(),
        name: CLUSTER_NAME.to_owned(),
        tls: tls::pinned_client_config(token.fingerprint()).map_err(|e| e.to_string()),
        timeout: CONNECT_TIMEOUT,
    };
    let mut client = JoinClient::new(dialer.channel(KEEP_ALIVE));
    let began = Instant::now();
    loop {
        let failure = match client.join(request.clone()).await {
            Ok(response) => return check(response.into_inner(), token),
            Err(status) => Failure::from(status),
        };
        match failure {
            Failure::Transient(_) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            failure => return Err(failure.into_error()),
        }
    }
}

/// The CA that was handed over is the one that was verified.
fn check(response: JoinResponse, token: &JoinToken) -> Result<JoinResponse, ClientError> {
    match ca_fingerprint(&response.ca) {
        Ok(fingerprint) if fingerprint == token.fingerprint() => Ok(response),
        _ => Err(ClientError::Other { why: "the node answered with the CA of another cluster".to_owned() }),
    }
}
