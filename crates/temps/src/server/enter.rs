//! How a node comes to a cluster: it founds one, joins one, or belongs to one already.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use temps_core::command::{Access, Command, NewCode, NewNode};
use temps_core::model::NodeId;
use temps_ledger::{Ledger, Proposal};
use temps_raft::RaftLedger;
use temps_wire::client;
use temps_wire::identity::{NodeIdentity, pending_csr};
use temps_wire::proto::{JoinRequest, JoinResponse};
use temps_wire::token::{ApiToken, JoinToken, OnceCode};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Entrance, Node, files};
use crate::config::Config;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The number of the node that founds a cluster.
const FOUNDER: NodeId = NodeId(1);
/// How long the code for the first admin is valid, in milliseconds: a day, as nobody may look at once.
const SETUP_TTL: u64 = 24 * 60 * 60 * 1_000;
/// The pause between two tries to become a full member.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a node keeps what it is known by.
pub(crate) fn identity_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("identity")
}

/// Where the first token of a cluster lies on the node that founded it.
pub(crate) fn admin_token_file(data_dir: &Path) -> PathBuf {
    data_dir.join("admin-token")
}

/// The node's identity: the one it has, or the one it gets by founding or joining.
pub(super) async fn identity(config: &Config, entrance: &Entrance) -> Result<NodeIdentity> {
    let dir = identity_dir(&config.data_dir);
    if NodeIdentity::exists(&dir) {
        return Ok(NodeIdentity::load(&dir)?);
    }
    let identity = match entrance {
        Entrance::Bootstrap => NodeIdentity::found(&config.domain, FOUNDER)?,
        Entrance::Join { endpoint, token } => join(config, &dir, endpoint, token).await?,
        Entrance::None => bail!(
            "this node belongs to no cluster; start it with --bootstrap to found one, or with --join ENDPOINT --token TOKEN (from `temps cluster token` on a cluster)"
        ),
    };
    identity.save(&dir)?;
    Ok(identity)
}

async fn join(config: &Config, dir: &Path, endpoint: &str, token: &str) -> Result<NodeIdentity> {
    let (answer, key_pem) = ask(config, dir, endpoint, token).await?;
    Ok(NodeIdentity::joined(answer.certificate, key_pem, answer.ca, answer.ca_key)?)
}

/// Asks a node of the cluster to let this one in. With the key that lies in `dir`, asking again is one join.
async fn ask(config: &Config, dir: &Path, endpoint: &str, token: &str) -> Result<(JoinResponse, String)> {
    let token: JoinToken = token.parse().context("the join token")?;
    let (csr, key_pem) = pending_csr(dir)?;
    let answer = client::join(endpoint, &token, request(config, csr))
        .await
        .with_context(|| format!("cannot join at {endpoint}"))?;
    Ok((answer, key_pem))
}

fn request(config: &Config, csr: Vec<u8>) -> JoinRequest {
    JoinRequest {
        token: String::new(),
        name: config.name.clone(),
        control: config.advertise.clone(),
        edge_peer: config.edge_advertise.clone(),
        edge_http: config.edge_http.to_string(),
        version: VERSION.to_owned(),
        csr: csr.into(),
    }
}

/// Writes the first entries of a new cluster. Interrupted, it is completed by the next start.
pub(super) async fn found(node: &Node, entrance: &Entrance) -> Result<()> {
    if !matches!(entrance, Entrance::Bootstrap) || node.id() != FOUNDER {
        return Ok(());
    }
    let state = node.ledger.state();
    if node.ledger.is_founded().await? && state.nodes.contains_key(&FOUNDER) {
        return Ok(());
    }
    let path = admin_token_file(&node.config.data_dir);
    let token: ApiToken = match fs::read_to_string(&path) {
        Ok(text) => text.parse().with_context(|| format!("{} is damaged", path.display()))?,
        Err(_) => {
            let token = ApiToken::random(node.identity.ca_fingerprint()?);
            files::replace(&path, token.reveal().as_bytes())?;
            token
        }
    };
    let found = Command::Found { domain: node.config.domain.clone(), token_hash: token.hash() };
    node.ledger.found("founder", found).await?.made()?;
    let setup = setup_code(node).await?;
    let config = &node.config;
    let add = Command::AddNode(NewNode {
        name: config.name.clone(),
        control: config.advertise.clone(),
        edge_peer: config.edge_advertise.clone(),
        edge_http: config.edge_http.to_string(),
        version: VERSION.to_owned(),
        fingerprint: node.identity.fingerprint()?,
        token_hash: None,
    });
    let proposal = Proposal { key: Some("founder".to_owned()), by: "founder".to_owned(), command: add };
    node.ledger.propose(proposal).await?.made()?;
    info!(token_file = %path.display(), "founded a cluster; the first token is in the file");
    // Nowhere else, and never again: it lets one admin in and is void after its time.
    info!(
        code = setup.reveal(),
        valid_for = temps_core::text::duration(SETUP_TTL),
        "with this code somebody becomes the first admin and sets a password; `temps cluster setup-code` makes another one"
    );
    Ok(())
}

/// The code with which the first admin sets a password. Made from the key of the CA, so that it is the same where
/// the founding was interrupted, and lies nowhere.
async fn setup_code(node: &Node) -> Result<OnceCode> {
    let cluster = node.identity.ca_fingerprint()?;
    let code = OnceCode::derived(cluster, node.identity.ca_key_pem.as_bytes(), "founder");
    let command = Command::Access(Access::SetupCode(NewCode { hash: code.hash(), ttl: SETUP_TTL }));
    let proposal = Proposal { key: Some("founder/setup-code".to_owned()), by: "founder".to_owned(), command };
    node.ledger.propose(proposal).await?.made()?;
    Ok(code)
}

/// Until this node is a full member it asks again; then it tells the cluster its addresses and version.
pub(super) fn stay_member(
    node: &Node,
    entrance: &Entrance,
    shutdown: CancellationToken,
) -> impl Future<Output = Result<()>> + Send + 'static {
    let (config, ledger, id) = (node.config.clone(), node.ledger.clone(), node.id());
    let join = match entrance {
        Entrance::Join { endpoint, token } => Some((endpoint.clone(), token.clone())),
        Entrance::Bootstrap | Entrance::None => None,
    };
    async move {
        let settle = settle(&config, &ledger, id, join);
        tokio::select! {
            () = settle => shutdown.cancelled().await,
            () = shutdown.cancelled() => {}
        }
        Ok(())
    }
}

async fn settle(config: &Config, ledger: &RaftLedger, id: NodeId, join: Option<(String, String)>) {
    let dir = identity_dir(&config.data_dir);
    while !is_voter(ledger, id) {
        if let Some((endpoint, token)) = &join
            && let Err(why) = ask(config, &dir, endpoint, token).await
        {
            debug!(why = format!("{why:#}"), "not a full member yet");
        }
        tokio::time::sleep(PAUSE).await;
    }
    let mut warned = false;
    loop {
        match tell(config, ledger, id).await {
            Ok(()) => return,
            Err(why) if !warned => {
                warned = true;
                warn!(%why, "the cluster does not know this start yet; trying on");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_voter(ledger: &RaftLedger, id: NodeId) -> bool {
    ledger.status().members.get(&id).is_some_and(|member| member.voter)
}

async fn tell(config: &Config, ledger: &RaftLedger, id: NodeId) -> Result<()> {
    let update = Command::UpdateNode {
        node: id,
        control: config.advertise.clone(),
        edge_peer: config.edge_advertise.clone(),
        edge_http: config.edge_http.to_string(),
        version: VERSION.to_owned(),
    };
    let proposal = Proposal { key: None, by: format!("node {id}"), command: update };
    ledger.propose(proposal).await?.made()?;
    ledger.update_address(id, &config.advertise).await?;
    Ok(())
}
