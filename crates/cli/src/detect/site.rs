//! Files that are served as they are.

use super::write::Script;
use super::{Detected, PORT, Unclear, Wanted};
use crate::file::Language;

/// A web server that runs without rights and ends what is in flight when it is asked to stop.
pub(super) const SERVER: &str = "nginxinc/nginx-unprivileged:stable-alpine";
/// From where it serves.
pub(super) const ROOT: &str = "/usr/share/nginx/html";

pub(super) fn detect(wanted: Wanted<'_>) -> Result<Detected, Unclear> {
    if !wanted.tree.has("index.html") {
        return Err(Unclear::new(
            "a static site has an index.html at the top of its directory, and there is none",
        )
        .help("deploy the directory that has it, or leave builder = \"static\" out"));
    }
    let seen = "index.html, static site".to_owned();
    let mut script = Script::new(&seen);
    script.from(SERVER, None).line(format!("COPY . {ROOT}")).expose();
    Ok(Detected {
        language: Language::Static,
        seen,
        dockerfile: script.text(),
        port: PORT,
        port_is_fixed: true,
        // Everything that is packed is public: what is for tools and for the platform stays at home.
        left_out: ["**/.*", "!.well-known", "temps.toml"].map(str::to_owned).into(),
        notes: Vec::new(),
    })
}
