//! Who asks: a token, by the hash of its secret.

use temps_core::model::{ClusterState, Role, TokenId};
use temps_wire::client::KEY;
use temps_wire::token::{ApiToken, same_hash};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::desk::{Answer, Desk};
use crate::limits;

/// What a request says about its sender, unchecked.
pub(crate) struct Claim {
    token: ApiToken,
    key: Option<String>,
}

impl Claim {
    /// Reads it from the metadata.
    pub(crate) fn of<T>(request: &Request<T>) -> Answer<Self> {
        let metadata = request.metadata();
        Ok(Self { token: bearer(metadata)?, key: key(metadata)? })
    }
}

fn bearer(metadata: &MetadataMap) -> Answer<ApiToken> {
    let value = metadata
        .get("authorization")
        .ok_or_else(|| Status::unauthenticated("a token is needed; log in with `temps login`"))?;
    let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
    let token = token
        .ok_or_else(|| Status::unauthenticated("the authorization must have the form `Bearer TOKEN`"))?;
    token.parse().map_err(|e| Status::unauthenticated(format!("{e}")))
}

fn key(metadata: &MetadataMap) -> Answer<Option<String>> {
    let Some(value) = metadata.get(KEY) else { return Ok(None) };
    let key = value.to_str().map_err(|_| Status::invalid_argument(format!("{KEY} must be visible ASCII")))?;
    limits::key(key)?;
    Ok(Some(key.to_owned()))
}

/// Who asks, checked.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) token: TokenId,
    pub(crate) name: String,
    pub(crate) role: Role,
    key: Option<String>,
}

impl Caller {
    /// The idempotency key for the log. Keys of different tokens never meet.
    pub(crate) fn key(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("{}/{key}", self.token))
    }

    /// Checks the role, where it depends on what is asked.
    pub(crate) fn needs(&self, least: Role, to: &str) -> Answer<()> {
        if self.role >= least {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "token {:?} is {}; {to} needs {}",
            self.name,
            a_role(self.role),
            a_role(least)
        )))
    }
}

fn a_role(role: Role) -> &'static str {
    match role {
        Role::Viewer => "a viewer",
        Role::Deployer => "a deployer",
        Role::Admin => "an admin",
    }
}

/// The word for a role.
pub(crate) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Deployer => "deployer",
        Role::Admin => "admin",
    }
}

/// The role of a word.
pub(crate) fn parse_role(word: &str) -> Answer<Role> {
    [Role::Viewer, Role::Deployer, Role::Admin].into_iter().find(|role| role_word(*role) == word).ok_or_else(
        || Status::invalid_argument(format!("there is no role {word:?}; there are viewer, deployer, admin")),
    )
}

impl Desk {
    /// Lets the sender in where its token is known and its role suffices.
    pub(crate) async fn admit(&self, claim: Claim, least: Role, operation: &str) -> Answer<Caller> {
        let cluster = self.identity.ca_fingerprint().map_err(|e| Status::internal(e.to_string()))?;
        if claim.token.fingerprint() != cluster {
            return Err(Status::unauthenticated("the token is for another cluster"));
        }
        let hash = claim.token.hash();
        let found = match known(&self.ledger.state(), &hash) {
            Some(found) => found,
            // A token that was created a moment ago may not have arrived here.
            None => known(&*self.fresh().await?, &hash)
                .ok_or_else(|| Status::unauthenticated("the token is unknown or was revoked"))?,
        };
        let caller = Caller { key: claim.key, ..found };
        caller.needs(least, operation)?;
        Ok(caller)
    }
}

/// Looks at every token, so that the time tells nothing about the hashes.
fn known(state: &ClusterState, hash: &str) -> Option<Caller> {
    let mut found = None;
    for token in state.tokens.values() {
        if same_hash(&token.hash, hash) {
            found = Some(Caller { token: token.id, name: token.name.clone(), role: token.role, key: None });
        }
    }
    found
}
