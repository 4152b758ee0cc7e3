//! Tokens for people and programs.

use serde_json::json;
use temps_wire::proto::CreateTokenRequest;

use super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::escape;

/// Words behind `tokens`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Tokens {
    /// Create a token; it is shown once
    #[command(after_help = "Example:\n  temps tokens create ci --role deployer > token.txt")]
    Create {
        /// Who or what uses it; shown with everything that is done with it
        name: String,
        /// What it allows
        #[arg(long, value_enum)]
        role: Role,
    },
}

/// What a token allows.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Role {
    /// Look at everything but the values of variables
    Viewer,
    /// Also deploy, roll back, scale, set variables
    Deployer,
    /// Everything
    Admin,
}

pub(super) async fn run(desk: &mut Desk, word: Tokens) -> Result<Code, Failure> {
    let Tokens::Create { name, role } = word;
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err(Failure::usage("the name of a token is 1 to 64 characters without control characters"));
    }
    let role = match role {
        Role::Viewer => "viewer",
        Role::Deployer => "deployer",
        Role::Admin => "admin",
    };
    let request = CreateTokenRequest { name: name.clone(), role: role.to_owned() };
    let answer = desk
        .client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.create_token(request).await }
        })
        .await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "name": name, "role": role, "token": answer.token }))?;
    } else {
        desk.screen.note(&format!("Token of {name} ({role}); it is shown only now."));
        desk.screen.say(&escape(&answer.token))?;
    }
    Ok(Code::Live)
}
