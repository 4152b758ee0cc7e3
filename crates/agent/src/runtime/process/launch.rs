//! Starting one process: bundle, port, directory, supervisor.

use std::fs::File;
use std::io;
use std::process::Stdio;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use temps_core::assignment::Work;
use temps_core::model::RuntimeKind;

use super::dir::{self, InstanceDir, Look, Record};
use super::{ProcessRuntime, STARTING_WAIT};
use crate::runtime::{Job, Running, StartError};
use crate::supervise::{Launch, try_lock};

/// How often the lock is tried.
const LOCK_TRIES: u32 = 50;
/// Where programs are looked for unless the release says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn launch(
    runtime: &ProcessRuntime,
    job: &Job,
    dir: &InstanceDir,
) -> Result<Running, StartError> {
    let work = &job.work;
    refuse(work)?;
    let bundle = runtime.bundles.unpacked(&work.artifact.digest, &job.artifact).await?;
    let record = prepare(runtime, job, dir).await?;
    let launch = Launch {
        command: work.process.command.clone(),
        directory: bundle,
        environment: environment(job, dir, record.port),
    };
    let keep = || runtime.surroundings.lock().unwrap_or_else(PoisonError::into_inner);
    keep().insert(dir.id, launch.environment.clone());
    let mut supervisor = spawn(runtime, dir, lock(dir).await?)?;
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

/// What a local process cannot be given or held to is refused, rather than left out silently.
fn refuse(work: &Work) -> Result<(), StartError> {
    let process = &work.process;
    let refused = |what: &str| Err(StartError::Refused(what.to_owned()));
    if work.artifact.runtime() != RuntimeKind::Process {
        return refused("this node runs local processes, and a container image needs a node with Docker");
    }
    if process.memory.is_some() {
        return refused(
            "local processes cannot be held to `memory`: leave it out, or use a node with Docker",
        );
    }
    if process.cpus.is_some() {
        return refused("local processes cannot be held to `cpus`: leave it out, or use a node with Docker");
    }
    if !work.volumes.is_empty() {
        return refused("local processes cannot have volumes: leave them out, or use a node with Docker");
    }
    if process.command.trim().is_empty() {
        return refused("there is no command to run");
    }
    match &process.stop_signal {
        Some(name) if dir::signal(name).is_none() => {
            Err(StartError::Refused(format!("{name:?} is no signal; write for example `SIGTERM`")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Reserves a port by writing it down.
async fn prepare(runtime: &ProcessRuntime, job: &Job, dir: &InstanceDir) -> Result<Record, StartError> {
    let work = &job.work;
    let mut ports = runtime.ports.lock().await;
    let port = if work.process.http {
        let free = ports.next(&runtime.held_ports()?);
        Some(free.ok_or_else(|| StartError::NoPort(ports.shown()))?)
    } else {
        None
    };
    let record = Record {
        instance: work.instance.id,
        digest: work.artifact.digest.clone(),
        port,
        stop_grace: work.stop_grace,
        stop_signal: work.process.stop_signal.clone(),
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

/// Held from before the supervisor starts until after its end.
async fn lock(dir: &InstanceDir) -> Result<File, StartError> {
    for _ in 0..LOCK_TRIES {
        if let Some(lock) = try_lock(&dir.path)? {
            return Ok(lock);
        }
        // Somebody looks whether it is free.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(StartError::Failed("it has a supervisor".to_owned()))
}

fn spawn(runtime: &ProcessRuntime, dir: &InstanceDir, lock: File) -> Result<Child, StartError> {
    let (program, arguments) = &runtime.supervisor;
    Command::new(program)
        .args(arguments)
        .arg(&dir.path)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(lock)
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
