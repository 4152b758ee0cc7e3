//! Clusters that the user logged in to.

use serde_json::json;

use super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::Table;
use crate::settings::Credentials;

/// Words behind `context`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Context {
    /// Choose the cluster that commands are for
    Use {
        /// Its name
        name: String,
    },
    /// List the clusters
    #[command(visible_alias = "ls")]
    List,
}

pub(super) fn run(desk: &mut Desk, word: Context) -> Result<Code, Failure> {
    match word {
        Context::Use { name } => choose(desk, name),
        Context::List => list(desk),
    }
}

fn choose(desk: &mut Desk, name: String) -> Result<Code, Failure> {
    let user = &mut desk.settings.user;
    if !user.contexts.contains_key(&name) {
        let known: Vec<&str> = user.contexts.keys().map(String::as_str).collect();
        let help = match known.is_empty() {
            true => "there is none yet; run `temps login`".to_owned(),
            false => format!("known: {}", known.join(", ")),
        };
        return Err(Failure::usage(format!("there is no context \"{name}\"")).help(help));
    }
    user.context = Some(name.clone());
    user.store(&desk.settings.places.config)?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "context": name }))?;
    } else {
        desk.screen.say(&format!("Commands are for {name} now."))?;
    }
    Ok(Code::Live)
}

fn list(desk: &mut Desk) -> Result<Code, Failure> {
    let current = desk.settings.context().value;
    let tokens = Credentials::load(&desk.settings.places.credentials)?.tokens;
    let contexts = &desk.settings.user.contexts;
    if desk.screen.is_json() {
        let all: Vec<_> = contexts
            .iter()
            .map(|(name, context)| {
                json!({
                    "name": name,
                    "current": *name == current,
                    "logged_in": tokens.contains_key(name),
                    "endpoints": context.endpoints,
                })
            })
            .collect();
        desk.screen.object(&json!({ "contexts": all }))?;
        return Ok(Code::Live);
    }
    let mut table = Table::new(["CONTEXT", "CURRENT", "LOGGED IN", "ENDPOINTS"]);
    for (name, context) in contexts {
        let current = if *name == current { "yes" } else { "" };
        let logged_in = if tokens.contains_key(name) { "yes" } else { "no" };
        table.row([name.clone(), current.to_owned(), logged_in.to_owned(), context.endpoints.join(", ")]);
    }
    desk.screen.say(&table.text())?;
    Ok(Code::Live)
}
