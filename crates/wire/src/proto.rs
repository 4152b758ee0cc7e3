//! The generated messages and services of `proto/temps/v1`.

use std::fmt;

pub use generated::*;

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::wildcard_imports,
    reason = "generated from proto/, where the documentation is"
)]
mod generated {
    tonic::include_proto!("temps.v1");
}

/// `Debug` of a message that carries secrets: the named fields and nothing else.
macro_rules! shows {
    ($($message:ident { $($field:ident),* })*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}

shows! {
    AddDomainRequest { project, environment, name, certificate }
    ArtifactChunk { digest, bytes }
    BundleChunk { digest, bytes }
    CreateJoinTokenResponse {}
    CreateTokenResponse {}
    DeployRequest { project, environment, supersede }
    JoinRequest { name, control, edge_peer, edge_http, version }
    JoinResponse { node }
    ListVariablesResponse {}
    PersonCode { name, no_change }
    ProposeRequest { key, by }
    RaftMessage { kind }
    SetVariablesRequest { project, environment, remove }
}

#[cfg(test)]
mod tests {
    use super::{
        AddDomainRequest, CreateTokenResponse, DeployRequest, JoinResponse, PersonCode, ProposeRequest,
        SetVariablesRequest,
    };

    #[test]
    fn secrets_never_print() {
        let canary = || "CANARY".to_owned();
        let set = [("NAME".to_owned(), canary())].into();
        let printed = [
            format!("{:?}", AddDomainRequest { key: canary(), ..AddDomainRequest::default() }),
            format!("{:?}", CreateTokenResponse { token: canary() }),
            format!("{:?}", PersonCode { code: canary(), ..PersonCode::default() }),
            format!("{:?}", JoinResponse { ca_key: canary(), ..JoinResponse::default() }),
            format!("{:?}", SetVariablesRequest { set, ..SetVariablesRequest::default() }),
            format!("{:?}", DeployRequest { spec: canary().into(), ..DeployRequest::default() }),
            format!("{:?}", ProposeRequest { command: canary().into(), ..ProposeRequest::default() }),
        ];
        for text in printed {
            assert!(!text.contains("CANARY"), "{text}");
        }
    }
}
