//! What a user gave to be deployed, read from the request: nothing of it is trusted until it is checked here.
//!
//! What settings mean, and which of them exclude each other, the log decides.

use std::path::{Component, Path};

use temps_core::model::{Artifact, ClusterState, Form, Millis, Source, Spec};
use tonic::Status;

use crate::desk::{Answer, Desk};
use crate::limits::{self, names, text};

/// The largest encoded spec, in bytes: the log allows variables of 1 MiB.
const SPEC_MAX: usize = 2 << 20;
/// The largest encoded source, in bytes.
const SOURCE_MAX: usize = 16 << 10;
/// The largest command line, in bytes.
const COMMAND_MAX: usize = 64 << 10;
/// The longest name of an image, in bytes.
const REFERENCE_MAX: usize = 512;
/// The longest time that a build may be given.
const BUILD_MAX: Millis = 24 * 60 * 60 * 1_000;

pub(crate) fn spec(encoded: &[u8]) -> Answer<Spec> {
    if encoded.len() > SPEC_MAX {
        return Err(invalid(format!("the settings take {} bytes, at most {SPEC_MAX} fit", encoded.len())));
    }
    let spec: Spec = temps_wire::codec::decode(encoded).map_err(|e| {
        invalid(format!("the settings cannot be read: {e}; use a `temps` of the cluster's version"))
    })?;
    names("process name", spec.processes.keys())?;
    names("variable name", spec.variables.keys())?;
    names("domain", spec.routes.domains.iter())?;
    names("volume name", spec.volumes.keys())?;
    names("volume path", spec.volumes.values())?;
    names("label name", spec.placement.require.keys())?;
    names("label value", spec.placement.require.values())?;
    text("placement.spread", &spec.placement.spread)?;
    text("routes.path_prefix", &spec.routes.path_prefix)?;
    text("health.path", &spec.health.path)?;
    text("health.host", spec.health.host.as_deref().unwrap_or_default())?;
    for process in spec.processes.values() {
        command(&process.command)?;
        command(process.check.as_deref().unwrap_or_default())?;
        text("the stop signal", process.stop_signal.as_deref().unwrap_or_default())?;
    }
    if let Some(release) = &spec.release {
        command(&release.command)?;
    }
    Ok(spec)
}

fn command(line: &str) -> Answer<()> {
    if line.len() <= COMMAND_MAX {
        return Ok(());
    }
    Err(invalid(format!("a command has at most {COMMAND_MAX} bytes; put the rest into a script")))
}

/// What is to run, in a form that can be trusted; whether it is there is not checked.
pub(crate) fn source(encoded: &[u8]) -> Answer<Source> {
    if encoded.len() > SOURCE_MAX {
        return Err(invalid(format!(
            "what is to run takes {} bytes to name, at most {SOURCE_MAX} fit",
            encoded.len()
        )));
    }
    let source: Source = temps_wire::codec::decode(encoded).map_err(|e| {
        invalid(format!("what is to run cannot be read: {e}; use a `temps` of the cluster's version"))
    })?;
    match &source {
        Source::Bundle { bundle } => packed(bundle)?,
        Source::Build { context, dockerfile, timeout } => {
            packed(context)?;
            inside(dockerfile)?;
            if !(1..=BUILD_MAX).contains(timeout) {
                return Err(invalid(format!(
                    "a build may take {timeout} ms; give it more than nothing and at most 24 h"
                )));
            }
        }
        Source::Image { reference: name, id, node: _ } => {
            reference(name)?;
            image_id(id)?;
        }
    }
    Ok(source)
}

/// A file that came with `PutBundle`.
fn packed(file: &Artifact) -> Answer<()> {
    limits::bundle(&file.digest, file.bytes)?;
    match file.form {
        Form::Bundle => Ok(()),
        Form::Image { .. } => Err(invalid(
            "an image cannot be given as a packed directory; name it with --image instead".to_owned(),
        )),
    }
}

/// The Dockerfile's path goes to the engine, which must find it in the directory and nowhere else.
fn inside(path: &str) -> Answer<()> {
    text("the path of the Dockerfile", path)?;
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.is_empty() && !path.contains(char::is_control) && Path::new(path).components().all(plain) {
        return Ok(());
    }
    Err(invalid(format!(
        "the Dockerfile {path:?} is not a path inside the directory; name one relative to it, without `..`, such as \"Dockerfile\""
    )))
}

/// A name that an engine and a registry can be asked for.
pub(crate) fn reference(name: &str) -> Answer<()> {
    if !name.is_empty() && name.len() <= REFERENCE_MAX && name.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    Err(invalid(format!(
        "{shown:?} is not the name of an image; it has 1 to {REFERENCE_MAX} visible characters, such as \"registry.example.com/app:1.2\""
    )))
}

fn image_id(id: &str) -> Answer<()> {
    if id.strip_prefix("sha256:").is_some_and(|digest| limits::digest_form(digest).is_ok()) {
        return Ok(());
    }
    Err(invalid(
        "an image's identity is `sha256:` and 64 lower-case hexadecimal digits; ask for it with ResolveImage"
            .to_owned(),
    ))
}

/// The node that has a named image must be one of the cluster.
pub(crate) async fn known_node(desk: &Desk, source: &Source) -> Answer<()> {
    let Source::Image { reference, node, .. } = source else { return Ok(()) };
    let known = |state: &ClusterState| state.nodes.contains_key(node);
    // A node that joined a moment ago may not have arrived here.
    if known(&desk.ledger.state()) || known(&*desk.fresh().await?) {
        return Ok(());
    }
    Err(invalid(format!(
        "the image {reference} is said to be on {node}, which is no node of this cluster; ask again what the name means, and deploy that"
    )))
}

fn invalid(why: String) -> Status {
    Status::invalid_argument(why)
}

#[cfg(test)]
mod tests {
    use temps_core::model::{Artifact, Form, NodeId, Source};
    use temps_wire::codec;

    use super::source;

    fn file(bytes: u64) -> Artifact {
        Artifact { digest: "a".repeat(64), bytes, form: Form::Bundle }
    }

    fn build(dockerfile: &str, timeout: u64) -> Source {
        Source::Build { context: file(10), dockerfile: dockerfile.to_owned(), timeout }
    }

    fn image(reference: &str, id: &str) -> Source {
        Source::Image { reference: reference.to_owned(), id: id.to_owned(), node: NodeId(1) }
    }

    fn refused(given: &Source) -> String {
        let status = source(&codec::encode(given)).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        status.message().to_owned()
    }

    #[test]
    fn what_is_right_passes_unchanged() {
        let id = format!("sha256:{}", "b".repeat(64));
        for given in [
            Source::Bundle { bundle: file(1) },
            build("Dockerfile", 1),
            build("./deploy/Dockerfile.prod", 24 * 3_600_000),
            build("..hidden/Dockerfile", 600_000),
            image("registry.example.com:5000/team/app:1.2@sha256:0", &id),
            image(&"x".repeat(512), &id),
        ] {
            assert_eq!(source(&codec::encode(&given)).unwrap(), given);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let id = format!("sha256:{}", "b".repeat(64));
        let wrong = Artifact { digest: "../../etc/passwd".to_owned(), ..file(1) };
        let stored = Artifact { form: Form::Image { id: id.clone(), total: 7 }, ..file(1) };
        for (given, expected) in [
            (Source::Bundle { bundle: wrong }, "64 lower-case hexadecimal digits"),
            (Source::Bundle { bundle: file(0) }, "1 byte to"),
            (Source::Bundle { bundle: file(u64::MAX) }, "1 byte to"),
            (Source::Bundle { bundle: stored }, "--image"),
            (build("", 1), "not a path inside"),
            (build("/etc/passwd", 1), "not a path inside"),
            (build("a/../../Dockerfile", 1), "without `..`"),
            (build("Docker\nfile", 1), "not a path inside"),
            (build(&"d".repeat(257), 1), "at most 256 fit"),
            (build("Dockerfile", 0), "more than nothing"),
            (build("Dockerfile", 24 * 3_600_000 + 1), "at most 24 h"),
            (image("", &id), "1 to 512 visible characters"),
            (image("app 1.2", &id), "1 to 512 visible characters"),
            (image("app\u{1b}[31m", &id), "1 to 512 visible characters"),
            (image(&"x".repeat(513), &id), "1 to 512 visible characters"),
            (image("app", &"b".repeat(64)), "`sha256:` and 64"),
            (image("app", &id.to_uppercase()), "`sha256:` and 64"),
            (image("app", ""), "`sha256:` and 64"),
        ] {
            let why = refused(&given);
            assert!(why.contains(expected), "{why:?} should say {expected:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_source_are_refused() {
        for bytes in [&b""[..], b"\xc0", &[0x91; 10_000], &[0; 20_000]] {
            let status = source(bytes).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{}", status.message());
        }
    }
}
