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
    AddNotificationResponse {}
    ArtifactChunk { digest, bytes }
    BundleChunk { digest, bytes }
    CreateJoinTokenResponse {}
    CreateTokenResponse {}
    DeployRequest { project, environment, supersede }
    EmailReceiver { host, port, security, user, from, to }
    JoinRequest { name, control, edge_peer, edge_http, version }
    JoinResponse { node }
    ListVariablesResponse {}
    PersonCode { name, no_change }
    ProposeRequest { key, by }
    RaftMessage { kind }
    SetVariablesRequest { project, environment, remove }
    SlackReceiver { channel }
    WebhookReceiver {}
}

#[cfg(test)]
mod tests {
    use super::add_notification_request::Receiver;
    use super::{
        AddDomainRequest, AddNotificationRequest, AddNotificationResponse, CreateTokenResponse,
        DeployRequest, EmailReceiver, JoinResponse, PersonCode, ProposeRequest, SetVariablesRequest,
        SlackReceiver, WebhookReceiver,
    };

    #[test]
    fn secrets_never_print() {
        let canary = || "CANARY".to_owned();
        let set = [("NAME".to_owned(), canary())].into();
        let webhook = Receiver::Webhook(WebhookReceiver { url: canary(), signing_secret: canary() });
        let printed = [
            format!("{:?}", AddDomainRequest { key: canary(), ..AddDomainRequest::default() }),
            format!("{:?}", SlackReceiver { url: canary(), ..SlackReceiver::default() }),
            format!("{:?}", EmailReceiver { password: canary(), ..EmailReceiver::default() }),
            format!(
                "{:?}",
                AddNotificationRequest { receiver: Some(webhook), ..AddNotificationRequest::default() }
            ),
            format!("{:?}", WebhookReceiver { url: canary(), signing_secret: canary() }),
            format!("{:?}", AddNotificationResponse { signing_secret: canary() }),
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
