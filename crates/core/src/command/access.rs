//! Commands about who may ask, and for what.

use serde::{Deserialize, Serialize};

use crate::model::{Grant, Index, Millis, Opaque, PersonId, SessionId, TokenId};

/// A new API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// Who or what uses it.
    pub name: String,
    /// SHA-256 of its secret, in hex.
    pub hash: String,
    /// What it allows.
    #[serde(rename = "role")]
    pub grant: Grant,
    /// How long it is valid; always where `None`.
    #[serde(default)]
    pub ttl: Option<Millis>,
}

/// A new code that works once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCode {
    /// SHA-256 of its secret, in hex.
    pub hash: String,
    /// How long it is valid.
    pub ttl: Millis,
}

/// Who may ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// A token is refused from now on.
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// Adds a person, who sets a password with the code.
    AddPerson {
        /// Their name.
        name: String,
        /// What they may do.
        grant: Grant,
        /// The code.
        code: NewCode,
    },
    /// Changes what a person may do; what is `None` stays as it is.
    SetPerson {
        /// Who.
        person: PersonId,
        /// What they may do.
        grant: Option<Grant>,
        /// Whether they may do nothing for now; their sessions end.
        disabled: Option<bool>,
        /// A code to set another password with; the present one is taken, and their sessions end.
        code: Option<NewCode>,
    },
    /// Removes a person, with their sessions.
    RemovePerson {
        /// Who.
        person: PersonId,
    },
    /// Makes the code with which somebody becomes an admin; one that was made before is void.
    SetupCode(NewCode),
    /// Uses a code: sets the password of the person whose code it is, or adds an admin with the setup code.
    Redeem {
        /// SHA-256 of the code's secret, in hex.
        code: String,
        /// The name of the admin who is added, or of the person; for the code of a person it may be left out.
        name: Option<String>,
        /// The password's hash by Argon2, in the form of PHC.
        password: Opaque,
    },
    /// A person is signed in, whose password was checked.
    SignIn {
        /// Who.
        person: PersonId,
        /// [`crate::model::Person::password_at`] of the password that was checked.
        seen: Index,
        /// SHA-256 of the session's secret, in hex.
        hash: String,
    },
    /// A session ends.
    SignOut {
        /// Which.
        session: SessionId,
    },
    /// A session is used, and goes on.
    KeepSession {
        /// Which.
        session: SessionId,
    },
}
