//! Starting one process: bundle, port, directory, supervisor.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::dir::{InstanceDir, Look, Record};
use super::{ProcessRuntime, STARTING_WAIT};
use crate::runtime::{Job, Running, StartError};
use crate::supervise::Launch;

/// Where programs are looked for unless the release says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn launch(
    runtime: &ProcessRuntime,
    job: &Job,
    dir: &InstanceDir,
) -> Result<Running, StartError> {
    let work = &job.work;
    let bundle = runtime.bundles.unpacked(&work.artifact.digest, &job.artifact).await?;
    let record = prepare(runtime, job, dir).await?;
    let launch = Launch {
        command: work.command.clone(),
        directory: bundle,
        environment: environment(job, dir, record.port),
    };
    let mut supervisor = spawn(runtime, dir)?;
    let told = tell(&mut supervisor, &launch).await;
    if told.is_err() {
        // It must not start what counts as failed.
        let _ = supervisor.start_kill();
    }
    // Its end is told by its files; but it must not stay as a zombie of this process.
    let reaped = tokio::spawn(async move { supervisor.wait().await });
    if told.is_err() {
        let _ = reaped.await;
        // What it started meanwhile ends with it.
        runtime.look(dir).await?;
        return Err(StartError::Failed("its supervisor does not answer".to_owned()));
    }
    match dir.look()? {
        Look::Running(started) => Ok(dir.running(&started, record.port)),
        Look::Ended(ended) => match dir.started()? {
            // It ran, if only for a moment.
            Some(started) => Ok(dir.running(&started, record.port)),
            None => Err(StartError::Failed(ended.error.unwrap_or_else(|| "unknown".to_owned()))),
        },
        Look::Orphaned(started) => Ok(dir.running(&started, record.port)),
        Look::Nothing | Look::Unstarted | Look::Starting => {
            Err(StartError::Failed("its supervisor ended before it started it".to_owned()))
        }
    }
}

/// Reserves a port by writing it down.
async fn prepare(runtime: &ProcessRuntime, job: &Job, dir: &InstanceDir) -> Result<Record, StartError> {
    let work = &job.work;
    let mut ports = runtime.ports.lock().await;
    let port = match &work.health {
        Some(_) => {
            let free = ports.next(&runtime.held_ports()?);
            Some(free.ok_or_else(|| StartError::NoPort(ports.shown()))?)
        }
        None => None,
    };
    let record = Record {
        instance: work.instance.id,
        digest: work.artifact.digest.clone(),
        port,
        stop_grace: work.stop_grace,
    };
    dir.create(&record)?;
    Ok(record)
}

/// The whole environment; the application sees nothing of the server's own.
fn environment(job: &Job, dir: &InstanceDir, port: Option<u16>) -> Vec<(String, String)> {
    let work = &job.work;
    let basics = [
        ("PATH", PATH.to_owned()),
        ("HOME", dir.home().to_string_lossy().into_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    let ours = [
        ("TEMPS_PROJECT", work.project.clone()),
        ("TEMPS_ENVIRONMENT", work.environment.clone()),
        ("TEMPS_RELEASE", work.instance.release.to_string()),
        ("TEMPS_INSTANCE", work.instance.id.to_string()),
        ("TEMPS_NODE", job.node.to_string()),
    ];
    let own = |(name, value): (&str, String)| (name.to_owned(), value);
    basics
        .into_iter()
        .map(own)
        .chain(work.variables.iter().map(|(name, value)| (name.clone(), value.0.clone())))
        .chain(port.map(|port| ("PORT".to_owned(), port.to_string())))
        .chain(ours.into_iter().map(own))
        .collect()
}

fn spawn(runtime: &ProcessRuntime, dir: &InstanceDir) -> Result<Child, StartError> {
    let (program, arguments) = &runtime.supervisor;
    Command::new(program)
        .args(arguments)
        .arg(&dir.path)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| StartError::Failed(format!("{} cannot be run: {error}", program.display())))
}

/// Hands over what to start, and returns when the supervisor has written down what became of it, or ended.
async fn tell(supervisor: &mut Child, launch: &Launch) -> io::Result<()> {
    let text = serde_json::to_vec(launch)?;
    let telling = async {
        if let Some(mut stdin) = supervisor.stdin.take() {
            // Where it cannot be written, the supervisor has ended, and its files tell.
            let _ = stdin.write_all(&text).await;
        }
        if let Some(stdout) = supervisor.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut String::new()).await;
        }
    };
    let limit = STARTING_WAIT + Duration::from_secs(10);
    Ok(tokio::time::timeout(limit, telling).await?)
}
