//! `temps deploy`: a directory becomes a bundle, the bundle becomes a deployment.

mod target;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use temps_core::text;
use temps_wire::client::Client;
use temps_wire::codec;
use temps_wire::proto::DeployRequest;

use super::deployments::{Waiting, no_change, wait};
use super::{Desk, no_project};
use crate::bundle::{self, Bundle, BundleError};
use crate::exit::{Code, Failure};
use crate::file::{self, FileError, ProjectFile, Shown};
use crate::settings::{Consent, PRODUCTION, Target};
use crate::watch::interrupted;

/// Arguments of `deploy`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Deploy {
    /// The project, or the directory: what contains `/` or `.` or is a directory here, is the directory
    #[arg(value_name = "PROJECT")]
    first: Option<String>,
    /// The directory with the temps.toml [default: .]
    #[arg(value_name = "PATH")]
    second: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    waiting: Waiting,
    /// Cancel a deployment that is under way instead of waiting for it
    #[arg(long)]
    supersede: bool,
    /// Show what would be deployed, with all defaults, and change nothing
    #[arg(long)]
    dry_run: bool,
}

const HELP: &str = "Examples:
  temps deploy my-app -e production -y
  temps deploy my-app ./build
  temps deploy . --dry-run

The directory is packed without .git and without what .tempsignore names. That file has one
pattern on a line: `name` anywhere, `name/` for directories, `/name` at the top; `*` stands for
any characters. There is no `!`, `**` or `?`, and .gitignore is not read.

Ctrl-C stops watching, not the deployment. Exit codes are those of `temps deployments watch`.";

/// What is to be deployed, before anything was packed.
struct Job {
    directory: PathBuf,
    project: String,
    environment: String,
    file: ProjectFile,
}

pub(super) async fn run(desk: &mut Desk, args: Deploy) -> Result<Code, Failure> {
    let job = job(desk, &args)?;
    if args.dry_run {
        return dry_run(desk, &job).await;
    }
    // Everything that can be refused is refused before anything takes time.
    let agreed = desk.settings.agreed(args.consent);
    let client = desk.client()?;
    if job.environment == PRODUCTION {
        let question = format!("Deploy {} to {} (production)?", job.directory.display(), job.project);
        desk.screen.confirm(&question, agreed)?;
    }
    let sent = tokio::select! {
        biased;
        () = interrupted() => return Err(Failure::new(Code::Interrupted, "interrupted; nothing was deployed")),
        sent = send(desk, &client, &job) => sent?,
    };
    let request = DeployRequest {
        project: job.project.clone(),
        environment: job.environment.clone(),
        digest: sent.digest,
        bytes: sent.bytes,
        spec: codec::encode(&job.file.spec).into(),
        supersede: args.supersede,
    };
    let accepted = tokio::select! {
        biased;
        () = interrupted() => return Err(undecided()),
        accepted = client.call(|mut api| {
            let request = request.clone();
            async move { api.deploy(request).await }
        }) => accepted?,
    };
    if accepted.no_change {
        return no_change(desk, &accepted, &job.project, &job.environment);
    }
    wait(desk, accepted.deployment, args.waiting).await
}

/// The request was sent and not answered.
fn undecided() -> Failure {
    Failure::new(
        Code::Interrupted,
        "interrupted before the cluster answered; the deployment may have been accepted",
    )
    .help("see with  temps deployments list")
}

fn job(desk: &Desk, args: &Deploy) -> Result<Job, Failure> {
    let is_directory = |text: &str| desk.here.join(text).is_dir();
    let named = target::split(
        args.first.as_deref(),
        args.second.as_deref(),
        args.target.project.as_deref(),
        is_directory,
    )
    .map_err(Failure::usage)?;
    let environment = desk.environment(&args.target)?;
    let path = file::location(&desk.here.join(&named.path));
    let file = file::load(&path, &environment).map_err(explain)?;
    let from_file = file.project.clone().map(|name| (name, path.clone()));
    let project = desk.settings.project(named.project.as_deref(), from_file).ok_or_else(no_project)?.value;
    crate::names::check("project", &project).map_err(Failure::usage)?;
    let directory =
        path.parent().filter(|p| !p.as_os_str().is_empty()).map_or(PathBuf::from("."), PathBuf::from);
    Ok(Job { directory, project, environment, file })
}

fn explain(error: FileError) -> Failure {
    let failure = Failure::usage(&error);
    if !matches!(error, FileError::Missing { .. }) {
        return failure;
    }
    let example = file::EXAMPLE.lines().map(|line| format!("  {line}"));
    example.fold(failure.help("it says what to run; the smallest useful one is:").help(""), Failure::help)
}

/// What the cluster was given.
struct Sent {
    digest: String,
    bytes: u64,
}

/// Packs the directory and makes sure that the cluster stores it.
async fn send(desk: &mut Desk, client: &Client, job: &Job) -> Result<Sent, Failure> {
    let bundle = packed(desk, job).await?;
    let sent = Sent { digest: bundle.digest.clone(), bytes: bundle.bytes };
    if upload::is_stored(client, &bundle.digest).await? {
        desk.screen.note(&format!("The cluster has this bundle already ({})", text::bytes(bundle.bytes)));
        return Ok(sent);
    }
    let nodes = upload::upload(client, bundle, &mut desk.screen).await?;
    let nodes = crate::screen::escape(&nodes.join(", "));
    desk.screen.note(&format!("Bundle sent ({}), stored on {nodes}", text::bytes(sent.bytes)));
    Ok(sent)
}

/// Stops packing when it is dropped, as its thread cannot be.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn packed(desk: &mut Desk, job: &Job) -> Result<Bundle, Failure> {
    let directory = job.directory.clone();
    let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop.0);
    let (done, total) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, of) = (Arc::clone(&done), Arc::clone(&total));
    let packing = tokio::task::spawn_blocking(move || {
        bundle::pack(&directory, |done, total| {
            counted.store(done, Ordering::Relaxed);
            of.store(total, Ordering::Relaxed);
            if stopped.load(Ordering::Relaxed) {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            }
        })
    });
    let bundle =
        upload::with_bar(&desk.screen, "Packing", &done, &total, packing).await.map_err(Failure::other)?;
    drop(stop);
    let bundle = bundle.map_err(|error| match error {
        BundleError::Write { .. } => Failure::other(error),
        _ => Failure::usage(error),
    })?;
    let files = if bundle.files == 1 { "1 file".to_owned() } else { format!("{} files", bundle.files) };
    desk.screen.note(&format!("Packed {files} ({})", text::bytes(bundle.bytes)));
    Ok(bundle)
}

async fn dry_run(desk: &mut Desk, job: &Job) -> Result<Code, Failure> {
    let bundle = packed(desk, job).await?;
    let shown = Shown::of(&job.project, &job.file.spec);
    if desk.screen.is_json() {
        desk.screen.object(&json!({
            "environment": job.environment,
            "bundle": { "digest": bundle.digest, "bytes": bundle.bytes, "files": bundle.files },
            "spec": shown,
        }))?;
    } else {
        let spec = toml::to_string(&shown).map_err(Failure::other)?;
        desk.screen.say(&format!(
            "# environment: {}\n# bundle: sha256 {} ({} bytes, {} files)\n\n{}",
            job.environment,
            bundle.digest,
            bundle.bytes,
            bundle.files,
            spec.trim_end(),
        ))?;
    }
    desk.screen.note("This is what would be deployed; nothing was changed.");
    Ok(Code::Live)
}
