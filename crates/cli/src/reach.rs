//! The way to the cluster, and what its refusals mean for whoever typed the command.

use std::time::Duration;

use temps_wire::client::{Client, ClientError};
use temps_wire::token::ApiToken;

use crate::exit::{Code, Failure};
use crate::settings::{Origin, Settings, not_logged_in};

/// A client for the cluster that the settings name. Nothing is connected yet.
pub(crate) fn client(settings: &Settings) -> Result<Client, Failure> {
    let endpoints = settings.endpoints().value;
    let Some(token) = settings.token()? else { return Err(not_logged_in(&settings.context().value)) };
    if endpoints.is_empty() {
        return Err(not_logged_in(&settings.context().value));
    }
    let parsed = parse(&token.value, &token.origin)?;
    Ok(connect(endpoints, &parsed, settings))
}

/// A client for given endpoints and token.
pub(crate) fn connect(endpoints: Vec<String>, token: &ApiToken, settings: &Settings) -> Client {
    let client = Client::new(endpoints, token);
    // Not in the help: only for scripts that must not wait, and for tests.
    match settings.variables.get("TEMPS_PATIENCE").and_then(|text| crate::file::parse_duration(&text).ok()) {
        Some(millis) => client.with_patience(Duration::from_millis(millis)),
        None => client,
    }
}

/// The token of a text.
pub(crate) fn parse(text: &str, origin: &Origin) -> Result<ApiToken, Failure> {
    text.parse().map_err(|why| {
        Failure::new(Code::Forbidden, format!("the token from {origin} cannot be used: {why}"))
    })
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = crate::screen::escape(&error.to_string());
        match error {
            ClientError::Unreachable { .. } => {
                Failure::new(Code::Unreachable, format!("no node can be reached: {message}"))
                    .help("check the network and the endpoints (`temps config show --origin`)")
            }
            ClientError::NoQuorum { .. } => {
                Failure::new(Code::Unreachable, format!("the cluster cannot decide now: {message}"))
                    .help("applications go on being served; a majority of the nodes has to be up for changes")
            }
            ClientError::Unauthenticated { .. } => {
                Failure::new(Code::Forbidden, message).help("log in again with `temps login`")
            }
            ClientError::Forbidden { .. } => Failure::new(Code::Forbidden, message),
            ClientError::Conflict { .. } => Failure::new(Code::Conflict, message),
            ClientError::NotFound { .. } | ClientError::Invalid { .. } | ClientError::Other { .. } => {
                Failure::other(message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use temps_wire::client::ClientError;

    use crate::exit::{Code, Failure};

    #[test]
    fn refusals_map_to_exit_codes() {
        let why = || "because \x1b[2J".to_owned();
        for (error, code) in [
            (ClientError::Unreachable { why: why() }, Code::Unreachable),
            (ClientError::NoQuorum { why: why() }, Code::Unreachable),
            (ClientError::Unauthenticated { why: why() }, Code::Forbidden),
            (ClientError::Forbidden { why: why() }, Code::Forbidden),
            (ClientError::Conflict { why: why() }, Code::Conflict),
            (ClientError::NotFound { why: why() }, Code::Other),
            (ClientError::Invalid { why: why() }, Code::Other),
            (ClientError::Other { why: why() }, Code::Other),
        ] {
            let failure = Failure::from(error);
            assert_eq!(failure.code, code);
            assert!(failure.message.contains("because \\x1b[2J"), "{failure}");
        }
    }
}
