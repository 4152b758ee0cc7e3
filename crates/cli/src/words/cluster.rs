//! The cluster itself.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use temps_wire::client::Api;
use temps_wire::machine;
use temps_wire::proto::{
    ClusterStatusRequest, ClusterStatusResponse, CreateJoinTokenRequest, ListDomainsRequest, SetAcmeRequest,
};

use super::{Desk, duration, nodes, people};
use crate::exit::{Code, Failure};
use crate::json;
use crate::screen::escape;

/// Words behind `cluster`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Cluster {
    /// Show leader, log and machines as the answering node sees them
    Status,
    /// Create a token with which machines can join
    #[command(after_help = "Example, on the new machine:\n  temps server --join HOST:PORT --token TOKEN")]
    Token {
        /// How long it can be used
        #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = duration)]
        ttl: Duration,
        /// How many machines can use it
        #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        uses: u32,
    },
    /// Create the code with which somebody becomes the first admin, and sets a password
    #[command(after_help = "One that was made before is void. The first start of a cluster prints one, too.")]
    SetupCode {
        /// How long it can be used
        #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = duration)]
        ttl: Duration,
    },
    /// Order certificates for all domains, from Let's Encrypt or another server of ACME
    #[command(after_help = "Without options it shows where certificates are ordered.\n\n\
        Examples:\n  temps cluster acme --email ops@example.com --agree-to-terms\n  temps cluster acme --off")]
    Acme(Acme),
}

/// Where certificates are ordered.
#[derive(Clone, Debug, clap::Args)]
pub struct Acme {
    /// The address that it may write to
    #[arg(long, value_name = "ADDRESS", requires = "agree_to_terms")]
    email: Option<String>,
    /// The URL of its directory; that of Let's Encrypt by default
    #[arg(long, value_name = "URL", requires = "agree_to_terms")]
    directory: Option<String>,
    /// A file with the root certificate of its web server, where that is no public one
    #[arg(long, value_name = "FILE", requires = "agree_to_terms")]
    root: Option<PathBuf>,
    /// You agree to the terms of the server
    #[arg(long)]
    agree_to_terms: bool,
    /// Order none from now on; those that are there stay until they end
    #[arg(long, conflicts_with = "agree_to_terms")]
    off: bool,
}

pub(super) async fn run(desk: &mut Desk, word: Cluster) -> Result<Code, Failure> {
    match word {
        Cluster::Status => status(desk).await,
        Cluster::Token { ttl, uses } => token(desk, ttl, uses).await,
        Cluster::SetupCode { ttl } => people::setup_code(desk, ttl).await,
        Cluster::Acme(acme) => self::acme(desk, acme).await,
    }
}

async fn status(desk: &mut Desk) -> Result<Code, Failure> {
    let request = ClusterStatusRequest {};
    let status = desk.client()?.call(|mut api| async move { api.cluster_status(request).await }).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({
            "node": status.node,
            "leader": status.leader,
            "term": status.term,
            "index": status.index,
            "state_hash": status.state_hash,
            "quorum": status.quorum,
            "nodes": status.nodes.iter().map(json::node).collect::<Vec<_>>(),
        }))?;
    } else {
        desk.screen.say(&text(&status))?;
    }
    Ok(Code::Live)
}

fn text(status: &ClusterStatusResponse) -> String {
    let leader = status.leader.map_or("none".to_owned(), |id| {
        status.nodes.iter().find(|n| n.id == id).map_or(format!("n{id}"), |n| escape(&n.name))
    });
    let quorum =
        if status.quorum { "yes" } else { "no: changes are refused, applications go on being served" };
    let hash = escape(status.state_hash.get(..16).unwrap_or(&status.state_hash));
    format!(
        "answered by  {}\nleader       {leader} (term {})\nquorum       {quorum}\nlog index    {}\nstate hash   {hash}\n\n{}",
        escape(&status.node),
        status.term,
        status.index,
        nodes::table(&status.nodes),
    )
}

async fn token(desk: &mut Desk, ttl: Duration, uses: u32) -> Result<Code, Failure> {
    if ttl.is_zero() {
        return Err(Failure::usage("a token that is valid for no time lets nobody join")
            .help("write for example --ttl 1h"));
    }
    let ttl_ms = u64::try_from(ttl.as_millis()).map_err(Failure::usage)?;
    let request = CreateJoinTokenRequest { ttl_ms, uses };
    let token =
        desk.client()?.call(|mut api| async move { api.create_join_token(request).await }).await?.token;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "token": token, "ttl_ms": ttl_ms, "uses": uses }))?;
    } else {
        desk.screen.note(&format!("{}; it is shown only now.", machine::admits(ttl_ms, uses)));
        desk.screen.say(&escape(&token))?;
    }
    Ok(Code::Live)
}

/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

async fn acme(desk: &mut Desk, acme: Acme) -> Result<Code, Failure> {
    let Acme { email, directory, root, agree_to_terms, off } = acme;
    if agree_to_terms || off {
        let root = match root {
            Some(path) => super::domains::pem(desk, &path)?,
            None => String::new(),
        };
        let directory = directory.unwrap_or_else(|| LETS_ENCRYPT.to_owned());
        let request = SetAcmeRequest {
            directory: if off { String::new() } else { directory },
            email: email.unwrap_or_default(),
            terms_agreed: agree_to_terms,
            root,
        };
        let call = |mut api: Api| {
            let request = request.clone();
            async move { api.set_acme(request).await }
        };
        desk.client()?.call(call).await?;
    }
    let request = ListDomainsRequest::default();
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.list_domains(request).await }
    };
    let acme = desk.client()?.call(call).await?.acme;
    if desk.screen.is_json() {
        let acme =
            acme.map(|acme| json!({ "directory": acme.directory, "contact": json::text(&acme.contact) }));
        desk.screen.object(&json!({ "acme": acme }))?;
    } else {
        desk.screen.say(&match acme {
            Some(acme) => format!("Certificates are ordered from {}.", escape(&acme.directory)),
            None => "No certificates are ordered.".to_owned(),
        })?;
    }
    Ok(Code::Live)
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::{ClusterStatusResponse, Node};

    use super::text;

    #[test]
    fn a_cluster_without_a_leader_says_what_that_means() {
        let node = Node { id: 1, name: "n1".to_owned(), status: "up".to_owned(), ..Node::default() };
        let status = ClusterStatusResponse {
            node: "n1".to_owned(),
            term: 4,
            index: 99,
            nodes: vec![node],
            state_hash: "ab".repeat(32),
            ..ClusterStatusResponse::default()
        };
        let shown = text(&status);
        assert!(shown.contains("leader       none (term 4)"), "{shown}");
        assert!(
            shown.contains("quorum       no: changes are refused, applications go on being served"),
            "{shown}"
        );
        assert!(shown.contains("state hash   abababababababab\n"), "{shown}");
        let led = ClusterStatusResponse { leader: Some(1), quorum: true, ..status };
        assert!(text(&led).contains("leader       n1 (term 4)\nquorum       yes\n"));
    }
}
