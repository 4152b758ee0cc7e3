//! `temps deploy`: a directory or the name of an image becomes a deployment.

mod choice;
mod dry;
mod image;
mod preview;
mod send;
mod target;
mod upload;

use std::path::PathBuf;

use temps_core::model::Source;
use temps_wire::client::Client;
use temps_wire::codec;
use temps_wire::proto::DeployRequest;

use super::deployments::{Waiting, no_change, wait};
use super::{Desk, no_project};
use crate::exit::{Code, Failure};
use crate::file::{self, FileError, ProjectFile};
use crate::screen::escape;
use crate::settings::{Consent, PRODUCTION, Target};
use crate::watch::interrupted;

/// Arguments of `deploy`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Deploy {
    /// The project, or the directory: what contains `/` or `.` or is a directory here, is the directory
    #[arg(value_name = "PROJECT")]
    first: Option<String>,
    /// The directory, with a temps.toml where it needs one [default: .]
    #[arg(value_name = "PATH")]
    second: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Deploy an image that is built already instead of the directory
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    waiting: Waiting,
    /// Cancel a deployment that is under way instead of waiting for it
    #[arg(long)]
    supersede: bool,
    /// Show what would be deployed and how, with all defaults, and change nothing
    #[arg(long)]
    dry_run: bool,
}

const HELP: &str = "Examples:
  temps deploy my-app -e production -y
  temps deploy my-app ./app
  temps deploy my-app --image registry.example.com/my-app:1.2
  temps deploy . --dry-run

Where the cluster runs containers, one of its nodes builds an image from the directory with its
Dockerfile. Without one, a Dockerfile is written for static sites and for Node, Python, Go, Rust and
Ruby projects; --dry-run shows it. Elsewhere, and with builder = \"bundle\" in [build] of temps.toml,
the directory runs as it is.

The directory is packed without .git and without what .tempsignore names, and for an image without
what .dockerignore names. In .tempsignore, a line is a pattern: `name` anywhere, `name/` for
directories, `/name` at the top; `*` stands for any characters. There is no `!`, `**` or `?` in it,
and .gitignore is not read.

Ctrl-C stops watching, not the deployment. Exit codes are those of `temps deployments watch`.";

/// What is to be deployed, before anything was packed.
#[derive(Debug)]
struct Job {
    directory: PathBuf,
    project: String,
    environment: String,
    file: ProjectFile,
    /// Where the file was looked for, if there is none.
    missing: Option<PathBuf>,
    image: Option<String>,
}

impl Job {
    /// What the cluster is asked.
    fn request(&self, source: &Source) -> DeployRequest {
        DeployRequest {
            project: self.project.clone(),
            environment: self.environment.clone(),
            source: codec::encode(source).into(),
            spec: codec::encode(&self.file.spec).into(),
            supersede: false,
        }
    }
}

pub(super) async fn run(desk: &mut Desk, args: Deploy) -> Result<Code, Failure> {
    let job = job(desk, &args)?;
    if args.dry_run {
        return dry::run(desk, &job).await;
    }
    // Everything that can be refused is refused before anything takes time.
    let agreed = desk.settings.agreed(args.consent);
    let client = desk.client()?;
    if job.environment == PRODUCTION {
        let what = job.image.clone().unwrap_or_else(|| job.directory.display().to_string());
        let question = format!("Deploy {} to {} (production)?", escape(&what), job.project);
        desk.screen.confirm(&question, agreed)?;
    }
    let source = tokio::select! {
        biased;
        () = interrupted() => return Err(Failure::new(Code::Interrupted, "interrupted; nothing was deployed")),
        source = source(desk, &client, &job) => source?,
    };
    let request = DeployRequest { supersede: args.supersede, ..job.request(&source) };
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
    wait(desk, &accepted, args.waiting).await
}

/// What the cluster is told to run, once it has everything for it.
async fn source(desk: &mut Desk, client: &Client, job: &Job) -> Result<Source, Failure> {
    if let Some(reference) = &job.image {
        return image::resolve(desk, client, reference).await;
    }
    let runs = choice::runs(client).await?;
    let making = choice::choose(job, runs)?;
    send::send(desk, client, job, &making).await
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
    let directory =
        path.parent().filter(|p| !p.as_os_str().is_empty()).map_or(PathBuf::from("."), PathBuf::from);
    let (file, missing) = match file::load(&path, &environment) {
        Ok(file) => (file, None),
        Err(FileError::Missing { path }) => (ProjectFile::default(), Some(path)),
        Err(error) => return Err(Failure::usage(error)),
    };
    let from_file = file.project.clone().map(|name| (name, path.clone()));
    let project = match (desk.settings.project(named.project.as_deref(), from_file), &missing) {
        (Some(project), _) => project.value,
        (None, Some(path)) => return Err(no_file(path)),
        (None, None) => return Err(no_project()),
    };
    crate::names::check("project", &project).map_err(Failure::usage)?;
    if missing.is_some() && !directory.is_dir() && !directory.as_os_str().is_empty() {
        let path = escape(&directory.display().to_string());
        return Err(Failure::usage(format!("there is no directory {path}")));
    }
    Ok(Job { directory, project, environment, file, missing, image: args.image.clone() })
}

/// There is no `temps.toml` where one is needed.
fn no_file(path: &std::path::Path) -> Failure {
    let missing = FileError::Missing { path: path.to_owned() };
    let failure = Failure::usage(&missing);
    ProjectFile::example()
        .fold(failure.help("it says what to run; the smallest useful one is:").help(""), Failure::help)
}
