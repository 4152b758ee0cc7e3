//! Tokens for programs, and for people at a command line.

use std::time::Duration;

use serde_json::{Value, json};
use temps_wire::client::Api;
use temps_wire::proto::{CreateTokenRequest, ListTokensRequest, RevokeTokenRequest, Token};

use super::Desk;
use super::grant::{self, GrantArgs, days, left};
use crate::exit::{Code, Failure};
use crate::json::time;
use crate::screen::{Table, escape};
use crate::timeline;

/// Words behind `tokens`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Tokens {
    /// Create a token; it is shown once
    #[command(
        after_help = "With --project the token sees and touches that project alone; it may deploy to it before it exists.\n\n\
        Examples:\n  temps tokens create ci --role deployer --project my-app --expires 90d > token.txt\n  temps tokens create grafana --role viewer"
    )]
    Create {
        /// Who or what uses it; shown with everything that is done with it
        name: String,
        #[command(flatten)]
        grant: GrantArgs,
        /// It is refused after this time, such as 90d or 12h; never by default
        #[arg(long, value_name = "DURATION", value_parser = days)]
        expires: Option<Duration>,
    },
    /// List tokens; they themselves are shown to nobody
    #[command(visible_alias = "ls")]
    List,
    /// Have a token refused everywhere from now on
    #[command(
        visible_alias = "rm",
        after_help = "What follows with it ends, too. The last admin is refused: create another first.\n\n\
        Example:\n  temps tokens revoke ci"
    )]
    Revoke {
        /// Its name, or its number such as t3
        #[arg(value_name = "TOKEN")]
        name: String,
    },
}

pub(super) async fn run(desk: &mut Desk, word: Tokens) -> Result<Code, Failure> {
    match word {
        Tokens::Create { name, grant, expires } => create(desk, name, &grant, expires).await,
        Tokens::List => list(desk).await,
        Tokens::Revoke { name } => revoke(desk, name).await,
    }
}

async fn create(
    desk: &mut Desk,
    name: String,
    grant: &GrantArgs,
    expires: Option<Duration>,
) -> Result<Code, Failure> {
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err(Failure::usage("the name of a token is 1 to 64 characters without control characters"));
    }
    if expires.is_some_and(|time| time.is_zero()) {
        return Err(Failure::usage("a token that is valid for no time opens nothing")
            .help("write for example --expires 90d, or leave it out"));
    }
    let grant = grant.needed()?;
    let ttl_ms = expires.map_or(Ok(0), |time| u64::try_from(time.as_millis())).map_err(Failure::usage)?;
    let (role, projects) = (grant.role.clone(), grant.projects.clone());
    let request = CreateTokenRequest { name, role, projects, ttl_ms };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.create_token(request).await }
    };
    let token = desk.client()?.call(call).await?.token;
    if desk.screen.is_json() {
        let (role, projects) = grant::shape(Some(&grant));
        let expires = Some(ttl_ms).filter(|ttl| *ttl > 0);
        let value = json!({
            "name": request.name, "role": role, "projects": projects, "expires_in_ms": expires, "token": token,
        });
        desk.screen.object(&value)?;
    } else {
        let until = if ttl_ms == 0 { String::new() } else { format!(" for {}", left(ttl_ms)) };
        let allows = grant::of(Some(&grant));
        desk.screen
            .note(&format!("Token of {} ({allows}){until}; it is shown only now.", escape(&request.name)));
        desk.screen.say(&escape(&token))?;
    }
    Ok(Code::Live)
}

async fn list(desk: &mut Desk) -> Result<Code, Failure> {
    let call = |mut api: Api| async move { api.list_tokens(ListTokensRequest {}).await };
    let tokens = desk.client()?.call(call).await?.tokens;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "tokens": tokens.iter().map(shape).collect::<Vec<_>>() }))?;
        return Ok(Code::Live);
    }
    let mut table = Table::new(["NAME", "ID", "ALLOWS", "CREATED", "EXPIRES"]);
    for token in &tokens {
        table.row([
            escape(&token.name),
            escape(&token.id),
            grant::of(token.grant.as_ref()),
            Some(token.created_ms)
                .filter(|at| *at > 0)
                .map(|at| timeline::date(at, &desk.screen.look.zone))
                .unwrap_or_default(),
            token.expires_in_ms.map_or_else(|| "never".to_owned(), left),
        ]);
    }
    desk.screen.say(&table.text())?;
    Ok(Code::Live)
}

fn shape(token: &Token) -> Value {
    let (role, projects) = grant::shape(token.grant.as_ref());
    json!({
        "id": token.id,
        "name": token.name,
        "role": role,
        "projects": projects,
        "created_at": time(Some(token.created_ms).filter(|at| *at > 0)),
        "expires_in_ms": token.expires_in_ms,
    })
}

async fn revoke(desk: &mut Desk, name: String) -> Result<Code, Failure> {
    let request = RevokeTokenRequest { token: name };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.revoke_token(request).await }
    };
    desk.client()?.call(call).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "token": request.token, "revoked": true }))?;
    } else {
        desk.screen
            .say(&format!("The token {} is refused everywhere from now on.", escape(&request.token)))?;
    }
    Ok(Code::Live)
}
