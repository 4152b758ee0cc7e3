//! Identities. Numbers are given out by the replicated state, so every node agrees on them.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A machine of the cluster; shown as `n2`. Never reused.
    NodeId,
    "n"
);
id!(
    /// A project.
    ProjectId,
    "p"
);
id!(
    /// An environment of a project, such as `production`.
    EnvironmentId,
    "e"
);
id!(
    /// An immutable release; shown as `r3`.
    ReleaseId,
    "r"
);
id!(
    /// The number of a deployment; shown as `#42`, unique in the cluster.
    DeploymentId,
    "#"
);
id!(
    /// One running copy of a process on one node; shown as `i7`. Never reused.
    InstanceId,
    "i"
);
id!(
    /// A certificate for names of applications; shown as `c3`.
    CertificateId,
    "c"
);
id!(
    /// Somebody who signs in; shown as `u3`. Never reused.
    PersonId,
    "u"
);
id!(
    /// A person who is signed in at one place.
    SessionId,
    "s"
);
id!(
    /// Somebody who is told what happens; shown as `ch3`.
    ChannelId,
    "ch"
);
id!(
    /// An API token or a join token.
    TokenId,
    "t"
);

/// Milliseconds: of a duration, or of the cluster clock since the Unix epoch.
pub type Millis = u64;

/// An index of the replicated log; it also orders everything that users see.
pub type Index = u64;
