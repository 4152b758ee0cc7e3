//! Who asks: a token, by the hash of its secret, or a person, by that of a session.

use std::fmt;
use std::net::IpAddr;

use temps_core::audit;
use temps_core::model::{ClusterState, Grant, Millis, PersonId, Role, SessionId, TokenId};
use temps_wire::client::KEY;
use temps_wire::serve::PeerAddress;
use temps_wire::token::{ApiToken, SessionSecret, same_hash};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::desk::{Answer, Desk};
use crate::limits;
use crate::permit::Scope;

/// What a request says about its sender, unchecked.
pub(crate) struct Claim {
    token: ApiToken,
    key: Option<String>,
    from: Option<IpAddr>,
}

impl Claim {
    /// Reads it from the metadata.
    pub(crate) fn of<T>(request: &Request<T>) -> Answer<Self> {
        let metadata = request.metadata();
        let from = request.extensions().get::<PeerAddress>().and_then(|address| address.0);
        Ok(Self { token: bearer(metadata)?, key: key(metadata)?, from })
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

/// What somebody was known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Token(TokenId),
    Person(PersonId, SessionId),
}

impl Who {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Person(..) => "person",
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => id.fmt(f),
            Self::Person(id, _) => id.fmt(f),
        }
    }
}

/// Who asks, checked. What they may do is checked by each operation.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) who: Who,
    pub(crate) name: String,
    pub(crate) grant: Grant,
    from: Option<IpAddr>,
    key: Option<String>,
}

impl Caller {
    /// The same, whose changes take effect once under this key.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` where the key is empty or too long.
    pub fn with_key(mut self, key: &str) -> Result<Self, Status> {
        limits::key(key)?;
        self.key = Some(key.to_owned());
        Ok(self)
    }

    /// Their name: that of a token or a person, of which no two share one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, about to ask for one thing: a key that was used for another is another key.
    pub(crate) fn about(mut self, operation: &str, scope: Scope<'_>) -> Self {
        self.key = self.key.map(|key| format!("{operation}/{scope:?}/{key}"));
        self
    }

    /// The idempotency key for the log. Keys of different callers never meet.
    pub(crate) fn key(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("{}/{key}", self.who))
    }

    /// How the log calls them.
    pub(crate) fn by(&self) -> String {
        audit::by(&self.name, self.from.map(|from| from.to_string()).as_deref())
    }

    /// Whether they see anything of a project.
    pub(crate) fn sees(&self, project: &str) -> bool {
        self.grant.within(project).is_some()
    }
}

/// The role of a word.
pub(crate) fn parse_role(word: &str) -> Answer<Role> {
    [Role::Viewer, Role::Deployer, Role::Admin].into_iter().find(|role| role.word() == word).ok_or_else(
        || Status::invalid_argument(format!("there is no role {word:?}; there are viewer, deployer, admin")),
    )
}

impl Desk {
    /// Lets the sender in where its token is known. The state that is asked reflects every revocation that was
    /// acknowledged before, on whichever node; only what reads is answered without a quorum, and then by what
    /// this node knows.
    pub(crate) async fn admit(&self, claim: Claim, least: Role) -> Answer<Caller> {
        let cluster = self.identity.ca_fingerprint().map_err(|e| Status::internal(e.to_string()))?;
        if claim.token.fingerprint() != cluster {
            return Err(Status::unauthenticated("the token is for another cluster"));
        }
        let state = match least {
            Role::Viewer => self.at_hand().await.state,
            Role::Deployer | Role::Admin => self.fresh().await?,
        };
        let hash = claim.token.hash();
        let found = match known(&state, &hash, self.ledger.now()) {
            Some(found) => found?,
            // Without a quorum this node may not have heard of it.
            None => known(&*self.fresh().await?, &hash, self.ledger.now())
                .ok_or_else(|| Status::unauthenticated("the token is unknown or was revoked"))??,
        };
        Ok(Caller { key: claim.key, from: claim.from, ..found })
    }

    /// Whoever a session belongs to, where it is known and has not ended.
    pub(crate) fn signed_in(
        &self,
        state: &ClusterState,
        secret: &SessionSecret,
        from: Option<IpAddr>,
    ) -> Option<Caller> {
        let (hash, now) = (secret.hash(), self.ledger.now().max(state.clock));
        let mut found = None;
        for session in state.people.sessions.values() {
            if same_hash(&session.hash, &hash) {
                found = Some(session);
            }
        }
        let session = found.filter(|session| session.is_valid(now))?;
        let person = state.people.persons.get(&session.person).filter(|person| !person.disabled)?;
        let (who, grant) = (Who::Person(person.id, session.id), person.grant.clone());
        Some(Caller { who, name: person.name.clone(), grant, from, key: None })
    }

    /// Whether they are still known, and may do the same.
    pub(crate) fn still_knows(&self, caller: &Caller) -> bool {
        let state = self.ledger.state();
        let now = self.ledger.now().max(state.clock);
        match caller.who {
            Who::Token(id) => {
                state.tokens.get(&id).is_some_and(|token| token.is_valid(now) && token.grant == caller.grant)
            }
            Who::Person(id, session) => {
                state.people.sessions.get(&session).is_some_and(|session| session.is_valid(now))
                    && state.people.persons.get(&id).is_some_and(|p| !p.disabled && p.grant == caller.grant)
            }
        }
    }
}

/// Looks at every token, so that the time tells nothing about the hashes.
fn known(state: &ClusterState, hash: &str, now: Millis) -> Option<Answer<Caller>> {
    let mut found = None;
    for token in state.tokens.values() {
        if same_hash(&token.hash, hash) {
            found = Some(token);
        }
    }
    let token = found?;
    if !token.is_valid(now.max(state.clock)) {
        return Some(Err(Status::unauthenticated("the token has expired; ask an admin for another one")));
    }
    let (who, grant) = (Who::Token(token.id), token.grant.clone());
    Some(Ok(Caller { who, name: token.name.clone(), grant, from: None, key: None }))
}
