//! Who may ask, and for what.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cluster::{ClusterState, Role, Token};
use super::id::{Index, Millis, PersonId, SessionId};
use super::spec::Opaque;

/// A session that is not used for so long ends: half a day, so that one is not signed out over lunch, and is by
/// the next morning.
pub const SESSION_IDLE: Millis = 12 * 60 * 60 * 1_000;
/// A session ends after so long, however much it is used.
pub const SESSION_LONGEST: Millis = 7 * 24 * 60 * 60 * 1_000;

/// What a token or a person may do.
///
/// The cookie of a session of the dashboard. `__Host-`: browsers take it over TLS alone, for this host, from this host;
/// but for any port, so edges keep it from applications at the same host.
pub const SESSION_COOKIE: &str = "__Host-temps";

/// Written as a role alone, or as roles by project; tokens of before had a role alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Grant {
    /// That role for everything.
    Everything(Role),
    /// A role by name of project, and nothing else. A project that does not exist yet may be named.
    Projects(BTreeMap<String, Role>),
}

impl Grant {
    /// The role for the cluster itself, and for everything in it.
    #[must_use]
    pub fn everywhere(&self) -> Option<Role> {
        match self {
            Self::Everything(role) => Some(*role),
            Self::Projects(_) => None,
        }
    }

    /// The role within a project.
    #[must_use]
    pub fn within(&self, project: &str) -> Option<Role> {
        match self {
            Self::Everything(role) => Some(*role),
            Self::Projects(projects) => projects.get(project).copied(),
        }
    }

    /// The greatest role that it has anywhere.
    #[must_use]
    pub fn greatest(&self) -> Option<Role> {
        match self {
            Self::Everything(role) => Some(*role),
            Self::Projects(projects) => projects.values().max().copied(),
        }
    }
}

impl From<Role> for Grant {
    fn from(role: Role) -> Self {
        Self::Everything(role)
    }
}

impl Role {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }
}

/// `admin`, or `deployer in my-app, viewer in shop`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything(role) => f.write_str(role.word()),
            Self::Projects(projects) => {
                for (place, (project, role)) in projects.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(f, "{comma}{} in {project}", role.word())?;
                }
                Ok(())
            }
        }
    }
}

/// A code that works once; only its hash is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// SHA-256 of its secret, in hex.
    pub hash: String,
    /// When it expires, on the cluster clock.
    pub expires_at: Millis,
}

/// Somebody who signs in with a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their number. Never reused.
    pub id: PersonId,
    /// Their name, unique among people and tokens: a login, or an address for mail.
    pub name: String,
    /// The password's hash by Argon2, in the form of PHC; none until it was set with a code.
    pub password: Option<Opaque>,
    /// The log index at which the password was set; what was checked against another one is refused.
    pub password_at: Index,
    /// What they may do.
    pub grant: Grant,
    /// They may do nothing for now.
    pub disabled: bool,
    /// With which they set a password, where one was made and not used.
    pub code: Option<Code>,
    /// When they were added, Unix milliseconds. Only for display.
    pub created: Millis,
}

/// A person who is signed in at one place; only the hash of the secret is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// Who.
    pub person: PersonId,
    /// SHA-256 of its secret, in hex.
    pub hash: String,
    /// When it ends at the latest, on the cluster clock.
    pub expires_at: Millis,
    /// When it was used last, on the cluster clock, to the hour.
    pub used_at: Millis,
}

impl Session {
    /// Whether it has not ended by `now` on the cluster clock.
    #[must_use]
    pub fn is_valid(&self, now: Millis) -> bool {
        now < self.expires_at && now < self.used_at.saturating_add(SESSION_IDLE)
    }
}

/// People, and where they are signed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// Everybody.
    pub persons: BTreeMap<PersonId, Person>,
    /// Where they are signed in. Ended ones are forgotten when somebody signs in.
    pub sessions: BTreeMap<SessionId, Session>,
    /// With which somebody becomes an admin, where one was made and not used.
    pub setup: Option<Code>,
    /// The last number given to a person, and to a session.
    pub last: (u64, u64),
}

impl People {
    /// The person of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Person> {
        self.persons.values().find(|person| person.name == name)
    }
}

impl Token {
    /// Whether it has not expired by `now` on the cluster clock.
    #[must_use]
    pub fn is_valid(&self, now: Millis) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

impl ClusterState {
    /// What whoever has this name may do: a token or a person, of which no two share a name.
    #[must_use]
    pub fn grant_of(&self, name: &str) -> Option<&Grant> {
        let token = self.tokens.values().find(|token| token.name == name).map(|token| &token.grant);
        token.or_else(|| self.people.named(name).map(|person| &person.grant))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Grant;
    use crate::model::{Millis, Role, Token, TokenId};

    #[test]
    fn tokens_of_before_are_read_as_they_were() {
        #[derive(serde::Serialize)]
        struct Before {
            id: TokenId,
            name: &'static str,
            hash: &'static str,
            role: Role,
        }
        let before = Before { id: TokenId(3), name: "ci", hash: "00", role: Role::Deployer };
        let token: Token = rmp_serde::from_slice(&rmp_serde::to_vec_named(&before).unwrap()).unwrap();
        assert_eq!(token.grant, Grant::Everything(Role::Deployer));
        assert!(token.is_valid(Millis::MAX));
        let projects = BTreeMap::from([("shop".to_owned(), Role::Viewer)]);
        let token = Token { grant: Grant::Projects(projects), ..token };
        let again: Token = rmp_serde::from_slice(&rmp_serde::to_vec_named(&token).unwrap()).unwrap();
        assert_eq!(again, token);
    }

    #[test]
    fn a_grant_by_project_is_for_these_projects_alone() {
        let projects =
            [("shop", Role::Deployer), ("blog", Role::Viewer)].map(|(p, role)| (p.to_owned(), role));
        let grant = Grant::Projects(projects.into());
        assert_eq!(grant.to_string(), "viewer in blog, deployer in shop");
        assert_eq!((grant.everywhere(), grant.greatest()), (None, Some(Role::Deployer)));
        assert_eq!((grant.within("blog"), grant.within("other")), (Some(Role::Viewer), None));
        let grant = Grant::from(Role::Viewer);
        assert_eq!((grant.everywhere(), grant.within("other")), (Some(Role::Viewer), Some(Role::Viewer)));
    }
}
