//! Generates the messages and services of `proto/`, without `protoc`.

use std::error::Error;
use std::path::Path;

/// What messages of the HTTP API have, too. `default`: what is not sent has no value, as in gRPC.
const JSON: &str = "#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]\n\
                    #[serde(default, deny_unknown_fields)]";

/// What a choice between messages has.
const CHOICE: &str = "#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]\n\
                      #[serde(rename_all = \"snake_case\", deny_unknown_fields)]";

/// Messages with bytes that are not for people; the HTTP API has other ways to send what they carry.
const BINARY: [&str; 2] = ["BundleChunk", "DeployRequest"];

/// Messages that carry secrets, or bytes of others that do; their `Debug` is written in `src/proto.rs`.
const SECRET: [&str; 17] = [
    ".temps.v1.AddDomainRequest",
    ".temps.v1.AddNotificationResponse",
    ".temps.v1.ArtifactChunk",
    ".temps.v1.BundleChunk",
    ".temps.v1.CreateJoinTokenResponse",
    ".temps.v1.CreateTokenResponse",
    ".temps.v1.DeployRequest",
    ".temps.v1.EmailReceiver",
    ".temps.v1.JoinRequest",
    ".temps.v1.JoinResponse",
    ".temps.v1.ListVariablesResponse",
    ".temps.v1.PersonCode",
    ".temps.v1.ProposeRequest",
    ".temps.v1.RaftMessage",
    ".temps.v1.SetVariablesRequest",
    ".temps.v1.SlackReceiver",
    ".temps.v1.WebhookReceiver",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let files = ["api", "domains", "history", "metrics", "notifications", "peer", "people", "settings"]
        .map(|name| root.join(format!("temps/v1/{name}.proto")));
    for file in &files {
        rerun_if_changed(file)?;
    }
    let descriptors = protox::compile(&files, [&root])?;
    let mut generated = tonic_prost_build::configure()
        .bytes(".temps.v1")
        .btree_map(".temps.v1")
        .skip_debug(SECRET)
        .type_attribute(".temps.v1.AddNotificationRequest.receiver", CHOICE)
        .field_attribute(
            ".temps.v1.LogLine.text",
            "#[serde(with = \"crate::text\")] #[schema(value_type = String, default = \"\")]",
        );
    for file in descriptors.file.iter().filter(|file| !file.name().ends_with("/peer.proto")) {
        for message in file.message_type.iter().filter(|message| !BINARY.contains(&message.name())) {
            generated = generated.message_attribute(format!(".temps.v1.{}", message.name()), JSON);
        }
    }
    generated.compile_fds(descriptors)?;
    Ok(())
}

fn rerun_if_changed(file: &Path) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "cargo::rerun-if-changed={}", file.display())
}
