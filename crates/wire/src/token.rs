//! Tokens that people carry: what they open, and which cluster they are for.
//!
//! A token names the cluster by the fingerprint of its CA, so that the first connection is already
//! verified. The secret part is known to its holder alone; the cluster keeps its hash.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 of a cluster's CA certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It starts with something else.
    #[error("a token starts with \"{expected}.\"; this one does not")]
    Kind {
        /// The prefix of the kind that was asked for.
        expected: &'static str,
    },
    /// It is the other kind of token.
    #[error("this is {found}; here {wanted} is needed")]
    OtherKind {
        /// What it is.
        found: &'static str,
        /// What is needed.
        wanted: &'static str,
    },
    /// It has not exactly three parts.
    #[error("a token has three parts with a dot between; this one has {0}. Was it cut when copied?")]
    Parts(usize),
    /// A part is not 32 bytes in URL-safe base64.
    #[error("the {0} of the token is damaged. Was it cut when copied?")]
    Damaged(&'static str),
}

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    fingerprint: Fingerprint,
    secret: [u8; 32],
}

impl Parts {
    fn random(fingerprint: Fingerprint) -> Self {
        let mut secret = [0; 32];
        rand::fill(&mut secret).expect("the operating system gives random bytes");
        Self { fingerprint, secret }
    }

    /// The same inputs give the same secret, which nobody without the key can compute.
    fn derived(fingerprint: Fingerprint, key: &[u8], context: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let tag = hmac::sign(&key, context.as_bytes());
        let mut secret = [0; 32];
        secret.copy_from_slice(tag.as_ref());
        Self { fingerprint, secret }
    }

    fn parse(text: &str, kind: &'static str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [prefix, fingerprint, secret] = parts[..] else {
            return Err(if parts[0] == kind {
                TokenError::Parts(parts.len())
            } else {
                TokenError::Kind { expected: kind }
            });
        };
        match (named(prefix), named(kind)) {
            _ if prefix == kind => {}
            (Some(found), Some(wanted)) => return Err(TokenError::OtherKind { found, wanted }),
            _ => return Err(TokenError::Kind { expected: kind }),
        }
        Ok(Self {
            fingerprint: Fingerprint(bytes(fingerprint).ok_or(TokenError::Damaged("fingerprint"))?),
            secret: bytes(secret).ok_or(TokenError::Damaged("secret"))?,
        })
    }

    fn reveal(&self, kind: &str) -> String {
        format!("{kind}.{}.{}", self.fingerprint, URL_SAFE_NO_PAD.encode(self.secret))
    }

    fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.secret))
    }
}

/// What a prefix stands for.
fn named(prefix: &str) -> Option<&'static str> {
    Some(match prefix {
        ApiToken::PREFIX => "an API token",
        JoinToken::PREFIX => "a join token",
        OnceCode::PREFIX => "a code for setting a password",
        SessionSecret::PREFIX => "the secret of a session",
        _ => return None,
    })
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Parts);

        impl $name {
            const PREFIX: &'static str = $prefix;

            /// A new one with a random secret.
            #[must_use]
            pub fn random(cluster: Fingerprint) -> Self {
                Self(Parts::random(cluster))
            }

            /// The one that belongs to `context`: the same on each try, and on each node that has `key`.
            /// Nobody without `key` can compute it.
            #[must_use]
            pub fn derived(cluster: Fingerprint, key: &[u8], context: &str) -> Self {
                Self(Parts::derived(cluster, key, &format!("{} {context}", Self::PREFIX)))
            }

            /// Which cluster it is for.
            #[must_use]
            pub fn fingerprint(&self) -> Fingerprint {
                self.0.fingerprint
            }

            /// SHA-256 of the secret in hex: what the cluster keeps.
            #[must_use]
            pub fn hash(&self) -> String {
                self.0.hash()
            }

            /// The text that is given to a person. Never write it to a log.
            #[must_use]
            pub fn reveal(&self) -> String {
                self.0.reveal(Self::PREFIX)
            }
        }

        impl FromStr for $name {
            type Err = TokenError;

            fn from_str(text: &str) -> Result<Self, TokenError> {
                Parts::parse(text, Self::PREFIX).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("***")
            }
        }
    };
}

token!(
    /// What a person or program shows to use the API.
    ApiToken,
    "temps1"
);
token!(
    /// What a machine shows to become a node.
    JoinToken,
    "tempsjoin1"
);
token!(
    /// What somebody shows once to set a password.
    OnceCode,
    "tempscode1"
);
token!(
    /// What the browser of a person who is signed in shows.
    SessionSecret,
    "tempssession1"
);

/// Whether two hashes are equal, in a time that does not tell where they differ.
#[must_use]
pub fn same_hash(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::{ApiToken, Fingerprint, JoinToken, TokenError, same_hash};

    const CLUSTER: Fingerprint = Fingerprint([7; 32]);

    #[test]
    fn a_token_survives_copying() {
        let token = ApiToken::random(CLUSTER);
        let copied: ApiToken = format!(" {}\n", token.reveal()).parse().unwrap();
        assert_eq!(copied, token);
        assert_eq!(copied.fingerprint(), CLUSTER);
        assert!(same_hash(&copied.hash(), &token.hash()));
        assert!(!same_hash(&copied.hash(), &ApiToken::random(CLUSTER).hash()));
        assert!(token.reveal().starts_with("temps1."));
        assert!(JoinToken::random(CLUSTER).reveal().starts_with("tempsjoin1."));
    }

    #[test]
    fn a_token_never_prints() {
        let token = JoinToken::random(CLUSTER);
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(format!("{:?}", Some(ApiToken::random(CLUSTER))), "Some(***)");
    }

    #[test]
    fn a_derived_token_depends_on_key_context_and_kind() {
        let token = ApiToken::derived(CLUSTER, b"key", "t1/k");
        assert_eq!(token, ApiToken::derived(CLUSTER, b"key", "t1/k"));
        assert_ne!(token, ApiToken::derived(CLUSTER, b"key", "t1/l"));
        assert_ne!(token, ApiToken::derived(CLUSTER, b"other", "t1/k"));
        assert_ne!(token.hash(), JoinToken::derived(CLUSTER, b"key", "t1/k").hash());
    }

    #[test]
    fn what_is_no_token_is_named() {
        let good = ApiToken::random(CLUSTER).reveal();
        let (head, secret) = good.rsplit_once('.').unwrap();
        let cases = [
            (String::new(), TokenError::Kind { expected: "temps1" }),
            ("hello".to_owned(), TokenError::Kind { expected: "temps1" }),
            ("a.b.c".to_owned(), TokenError::Kind { expected: "temps1" }),
            (head.to_owned(), TokenError::Parts(2)),
            (format!("{good}.x"), TokenError::Parts(4)),
            (good[..good.len() - 1].to_owned(), TokenError::Damaged("secret")),
            (format!("{head}.{secret}A"), TokenError::Damaged("secret")),
            (format!("{head}.{}", "é".repeat(20)), TokenError::Damaged("secret")),
            (format!("temps1.AAAA.{secret}"), TokenError::Damaged("fingerprint")),
            (
                JoinToken::random(CLUSTER).reveal(),
                TokenError::OtherKind { found: "a join token", wanted: "an API token" },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<ApiToken>(), Err(expected), "{text:?}");
        }
    }
}
