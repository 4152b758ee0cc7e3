//! Logging in and out.

use std::path::{Path, PathBuf};

use serde_json::json;
use temps_wire::proto::{WhoAmIRequest, WhoAmIResponse};

use super::{Desk, Typed, grant};
use crate::exit::{Code, Failure};
use crate::json::text;
use crate::reach;
use crate::screen::escape;
use crate::settings::{Context, Credentials, DEFAULT_CONTEXT, Origin};

/// Arguments of `login`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("source").required(true).args(["token", "token_stdin", "token_file"]),
    after_help = "Examples:\n  temps login 10.0.0.1:7000 10.0.0.2:7000 --token-file token.txt\n  pass show temps | temps login node.example.com:7000 --token-stdin --context prod\n\n\
    The token says which cluster it is for: a node of another cluster is refused."
)]
pub struct Login {
    /// Nodes of the cluster; they are tried in this order
    #[arg(required = true, value_name = "HOST:PORT")]
    endpoints: Vec<String>,
    /// The token; other users of this machine may see it while the command runs
    #[arg(long, value_name = "TOKEN")]
    token: Option<Typed>,
    /// Read the token from stdin
    #[arg(long)]
    token_stdin: bool,
    /// Read the token from a file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Arguments of `logout`.
#[derive(Clone, Debug, clap::Args)]
pub struct Logout {
    /// Forget the endpoints as well
    #[arg(long)]
    forget: bool,
}

pub(super) async fn login(desk: &mut Desk, args: Login) -> Result<Code, Failure> {
    let text = token(desk, &args)?;
    let token = reach::parse(&text, &Origin::Flag("the command line"))?;
    let client = reach::connect(args.endpoints.clone(), &token, &desk.settings);
    // Nothing is stored before a node has accepted it.
    let who = client.call(|mut api| async move { api.who_am_i(WhoAmIRequest {}).await }).await?;
    let name = desk.settings.globals.context.clone().or_else(|| desk.settings.variables.get("TEMPS_CONTEXT"));
    let name = name.unwrap_or_else(|| DEFAULT_CONTEXT.to_owned());
    let places = desk.settings.places.clone();
    let mut credentials = Credentials::load(&places.credentials)?;
    credentials.tokens.insert(name.clone(), token.reveal());
    credentials.store(&places.credentials)?;
    let user = &mut desk.settings.user;
    user.contexts.insert(name.clone(), Context { endpoints: args.endpoints });
    user.context = Some(name.clone());
    user.store(&places.config)?;
    show(desk, &who, &name)
}

fn token(desk: &mut Desk, args: &Login) -> Result<String, Failure> {
    if let Some(token) = &args.token {
        return Ok(token.0.clone());
    }
    let bytes = match &args.token_file {
        Some(path) => read(&desk.here.join(path))?,
        None => desk.screen.read_input()?,
    };
    String::from_utf8(bytes).map_err(|_| Failure::usage("the token is not text"))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
}

pub(super) fn logout(desk: &mut Desk, args: Logout) -> Result<Code, Failure> {
    let name = desk.settings.context().value;
    let places = desk.settings.places.clone();
    let mut credentials = Credentials::load(&places.credentials)?;
    let had_token = credentials.tokens.remove(&name).is_some();
    if had_token {
        credentials.store(&places.credentials)?;
    }
    let user = &mut desk.settings.user;
    let forgotten = args.forget && user.contexts.remove(&name).is_some();
    if forgotten {
        user.context = user.context.take().filter(|current| *current != name);
        user.store(&places.config)?;
    }
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "context": name, "logged_out": had_token, "forgotten": forgotten }))?;
    } else if had_token {
        desk.screen.say(&format!("Logged out of {name}. The token stays valid for those who have it."))?;
    } else {
        desk.screen.say(&format!("Not logged in to {name}; nothing was changed."))?;
    }
    Ok(Code::Live)
}

pub(super) async fn whoami(desk: &mut Desk) -> Result<Code, Failure> {
    let client = desk.client()?;
    let who = client.call(|mut api| async move { api.who_am_i(WhoAmIRequest {}).await }).await?;
    let context = desk.settings.context().value;
    show(desk, &who, &context)
}

fn show(desk: &mut Desk, who: &WhoAmIResponse, context: &str) -> Result<Code, Failure> {
    if desk.screen.is_json() {
        desk.screen.object(&json!({
            "name": who.name, "kind": text(&who.kind), "role": text(&who.role), "projects": who.projects,
            "node": who.node, "context": context,
        }))?;
    } else {
        let (name, node) = (escape(&who.name), escape(&who.node));
        let allows = grant::words(&who.role, &who.projects);
        desk.screen.say(&format!("{name} ({allows}) at node {node}, context {context}"))?;
    }
    Ok(Code::Live)
}
