//! The directory is packed, and the cluster stores it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use temps_core::model::{Artifact, Form, Source};
use temps_core::text;
use temps_wire::client::Client;

use super::choice::Making;
use super::{Desk, Job, upload};
use crate::bundle::{self, Bundle, BundleError, Plan};
use crate::detect::Detected;
use crate::exit::Failure;
use crate::screen::escape;

/// Packs the directory and makes sure that the cluster stores it.
pub(super) async fn send(
    desk: &mut Desk,
    client: &Client,
    job: &Job,
    making: &Making,
) -> Result<Source, Failure> {
    let packed = packed(desk, job, making).await?;
    let source = source_of(&packed, job, making);
    let word = match making {
        Making::Bundle => "bundle",
        Making::Image { .. } => "source",
    };
    let bytes = packed.bytes;
    if upload::is_stored(client, &packed.digest).await? {
        desk.screen.note(&format!("The cluster has this {word} already ({})", text::bytes(bytes)));
    } else {
        let nodes = upload::upload(client, packed, &mut desk.screen).await?;
        let (first, rest) = word.split_at(1);
        let (word, nodes) = (first.to_uppercase() + rest, escape(&nodes.join(", ")));
        desk.screen.note(&format!("{word} sent ({}), stored on {nodes}", text::bytes(bytes)));
    }
    Ok(source)
}

/// What the cluster is told of what was packed.
pub(super) fn source_of(packed: &Bundle, job: &Job, making: &Making) -> Source {
    let file = Artifact { digest: packed.digest.clone(), bytes: packed.bytes, form: Form::Bundle };
    match making {
        Making::Bundle => Source::Bundle { bundle: file },
        Making::Image { dockerfile, .. } => {
            Source::Build { context: file, dockerfile: dockerfile.clone(), timeout: job.file.build.timeout }
        }
    }
}

/// Stops packing when it is dropped, as its thread cannot be.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The directory, packed for what is made of it.
pub(super) async fn packed(desk: &mut Desk, job: &Job, making: &Making) -> Result<Bundle, Failure> {
    let directory = job.directory.clone();
    let plan = plan(desk, job, making)?;
    let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop.0);
    let (done, total) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, of) = (Arc::clone(&done), Arc::clone(&total));
    let packing = tokio::task::spawn_blocking(move || {
        bundle::pack(&directory, &plan, |done, total| {
            counted.store(done, Ordering::Relaxed);
            of.store(total, Ordering::Relaxed);
            if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    });
    let bundle =
        upload::with_bar(&desk.screen, "Packing", &done, &total, packing).await.map_err(Failure::other)?;
    drop(stop);
    let bundle = bundle.map_err(refused)?;
    let files = if bundle.files == 1 { "1 file".to_owned() } else { format!("{} files", bundle.files) };
    desk.screen.note(&format!("Packed {files} ({})", text::bytes(bundle.bytes)));
    Ok(bundle)
}

fn plan(desk: &mut Desk, job: &Job, making: &Making) -> Result<Plan, Failure> {
    match making {
        Making::Bundle => Ok(Plan::bundle()),
        Making::Image { dockerfile, written: None } => Ok(Plan::source(dockerfile)),
        Making::Image {
            dockerfile,
            written: Some(Detected { seen, dockerfile: text, left_out, notes, .. }),
        } => {
            desk.screen.note(&format!("There is no Dockerfile; one was written ({})", escape(seen)));
            for note in notes {
                desk.screen.warn(&escape(note));
            }
            Plan::written(&job.directory, dockerfile, text, left_out).map_err(refused)
        }
    }
}

/// Names of files may be anything.
fn refused(error: BundleError) -> Failure {
    let message = escape(&error.to_string());
    match error {
        BundleError::Write { .. } => Failure::other(message),
        _ => Failure::usage(message),
    }
}
