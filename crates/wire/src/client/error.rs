//! What went wrong, by what the caller can do about it.

use std::error::Error;

use tonic::{Code, Status};

use crate::connect::DialError;

/// What went wrong, by what the caller can do about it. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.why())]
pub enum ClientError {
    /// No endpoint answers: check the network, the endpoints, the nodes.
    Unreachable {
        /// What was tried.
        why: String,
    },
    /// Nodes answer and cannot decide: bring back a majority, then try again.
    NoQuorum {
        /// What a node said.
        why: String,
    },
    /// The token is missing, unknown, or for another cluster: log in again.
    Unauthenticated {
        /// What a node said.
        why: String,
    },
    /// The token's role is too small, or the secret expired: ask somebody who may.
    Forbidden {
        /// What a node said.
        why: String,
    },
    /// The thing does not exist.
    NotFound {
        /// What a node said.
        why: String,
    },
    /// The request is wrong: change it.
    Invalid {
        /// What a node said.
        why: String,
    },
    /// Something is in the way: wait for it, or choose another name.
    Conflict {
        /// What a node said.
        why: String,
    },
    /// A defect, or something that this version does not know.
    Other {
        /// What a node said.
        why: String,
    },
}

impl ClientError {
    fn why(&self) -> &str {
        match self {
            Self::Unreachable { why }
            | Self::NoQuorum { why }
            | Self::Unauthenticated { why }
            | Self::Forbidden { why }
            | Self::NotFound { why }
            | Self::Invalid { why }
            | Self::Conflict { why }
            | Self::Other { why } => why,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Failure::from(status).into_error()
    }
}

/// Whether asking again can help.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another node, or the same one later, may answer.
    Transient(ClientError),
    /// This endpoint is not of the cluster; another one may be.
    Stranger(ClientError),
    /// Every node would answer the same.
    Final(ClientError),
}

impl Failure {
    pub(super) fn into_error(self) -> ClientError {
        match self {
            Self::Transient(error) | Self::Stranger(error) | Self::Final(error) => error,
        }
    }

    /// Of the failures of several endpoints: what a node said tells more than that one is silent, and
    /// a cluster without a majority is worth waiting for while a stranger is not.
    pub(super) fn more_telling(before: Option<Self>, now: Self) -> Self {
        let rank = |failure: &Self| match failure {
            Self::Stranger(_) => 0,
            Self::Transient(ClientError::Unreachable { .. }) => 1,
            Self::Transient(_) => 2,
            Self::Final(_) => 3,
        };
        match before {
            Some(before) if rank(&before) >= rank(&now) => before,
            _ => now,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if let Some(dial) = cause::<DialError>(&status) {
            let why = dial.to_string();
            return match dial {
                DialError::Stranger { .. } => Self::Stranger(ClientError::Unauthenticated {
                    why: format!("{why}. Is the token for another cluster?"),
                }),
                DialError::Silent { .. } | DialError::Refused { .. } => {
                    Self::Transient(ClientError::Unreachable { why })
                }
                DialError::Unusable(_) => Self::Final(ClientError::Other { why }),
            };
        }
        // A status that a node sent has no source; one made on this side of the connection has.
        if status.source().is_some() {
            let why = format!("the connection was lost: {}", status.message());
            return Self::Transient(ClientError::Unreachable { why });
        }
        let why = status.message().to_owned();
        match status.code() {
            Code::Unavailable => Self::Transient(ClientError::NoQuorum { why }),
            Code::Unauthenticated => Self::Final(ClientError::Unauthenticated { why }),
            Code::PermissionDenied => Self::Final(ClientError::Forbidden { why }),
            Code::NotFound => Self::Final(ClientError::NotFound { why }),
            Code::InvalidArgument | Code::OutOfRange => Self::Final(ClientError::Invalid { why }),
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => {
                Self::Final(ClientError::Conflict { why })
            }
            Code::Unimplemented => Self::Final(ClientError::Other {
                why: "the node does not know this request; it may run another version of temps".to_owned(),
            }),
            code @ (Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Internal
            | Code::DataLoss) => Self::Final(ClientError::Other {
                why: if why.is_empty() { format!("the node answered {code:?}") } else { why },
            }),
        }
    }
}

fn cause<E: Error + 'static>(status: &Status) -> Option<&E> {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}
