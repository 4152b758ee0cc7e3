//! Generates the messages and services of `proto/`, without `protoc`.

use std::error::Error;
use std::path::Path;

/// Messages that carry secrets, or bytes of others that do; their `Debug` is written in `src/proto.rs`.
const SECRET: [&str; 16] = [
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
    ".temps.v1.ProposeRequest",
    ".temps.v1.RaftMessage",
    ".temps.v1.SetVariablesRequest",
    ".temps.v1.SlackReceiver",
    ".temps.v1.WebhookReceiver",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let files = ["api", "domains", "metrics", "notifications", "peer"]
        .map(|name| root.join(format!("temps/v1/{name}.proto")));
    for file in &files {
        rerun_if_changed(file)?;
    }
    let descriptors = protox::compile(&files, [&root])?;
    tonic_prost_build::configure()
        .bytes(".temps.v1")
        .btree_map(".temps.v1")
        .skip_debug(SECRET)
        .compile_fds(descriptors)?;
    Ok(())
}

fn rerun_if_changed(file: &Path) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "cargo::rerun-if-changed={}", file.display())
}
