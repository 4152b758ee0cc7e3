//! A place for one node, and what its tests look at.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use temps_agent::runtime::process::{ProcessOptions, ProcessRuntime};
use temps_agent::runtime::{Condition, Found, Job, Runtime};
use temps_core::assignment::Work;
use temps_core::model::{
    Artifact, EnvironmentId, Health, Instance, InstanceId, NodeId, Opaque, ProcessSpec, ReleaseId, Spec,
};

pub(crate) const NODE: NodeId = NodeId(1);

/// The program of `examples/testapp.rs`, which `cargo test` builds beside the tests.
pub(crate) fn testapp() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    let built = test.parent().and_then(Path::parent).expect("target/debug").join("examples/testapp");
    assert!(built.exists(), "{} is missing; `cargo test -p temps-agent` builds it", built.display());
    built
}

pub(crate) fn supervisor() -> (PathBuf, Vec<OsString>) {
    (testapp(), vec!["supervise".into()])
}

/// Ports that no other test of this run gets, below those that the system gives out.
fn ports() -> RangeInclusive<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + u16::try_from(std::process::id() % 20).expect("small") * 1_000;
    let from = base + NEXT.fetch_add(20, Ordering::Relaxed) % 980;
    from..=from + 19
}

/// Waits for a condition, and says what was seen last when it does not come.
pub(crate) async fn until<T, S: std::fmt::Debug, F: Future<Output = Result<T, S>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < end, "{what}: still {seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// [`until`] for a plain condition.
pub(crate) async fn until_true(what: &str, mut is: impl FnMut() -> bool) {
    until(what, || std::future::ready(if is() { Ok(()) } else { Err("not so") })).await;
}

/// A bundle with one file.
pub(crate) fn bundle(content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    builder.append_data(&mut header, "content", content.as_bytes()).expect("appended");
    zstd::encode_all(&builder.into_inner().expect("finished")[..], 1).expect("packed")
}

pub(crate) fn artifact(bytes: &[u8]) -> Artifact {
    Artifact { digest: hex::encode(Sha256::digest(bytes)), bytes: bytes.len() as u64, ..Artifact::default() }
}

/// A data directory. What still runs in it when a test ends is killed.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ports: RangeInclusive<u16>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), ports: ports() }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn instance_dir(&self, id: InstanceId) -> PathBuf {
        self.data().join("instances").join(id.to_string())
    }

    pub(crate) fn runtime(&self) -> ProcessRuntime {
        let options =
            ProcessOptions { data: self.data(), ports: self.ports.clone(), supervisor: supervisor() };
        ProcessRuntime::new(options).expect("opened")
    }

    /// A job for a command that needs only `$APP`.
    pub(crate) fn job(&self, id: u64, command: &str) -> Job {
        let bytes = bundle("hello");
        let what = artifact(&bytes);
        let file = self.dir.path().join(&what.digest);
        std::fs::write(&file, &bytes).expect("written");
        let instance = Instance::new(InstanceId(id), EnvironmentId(1), ReleaseId(3), "web", NODE);
        let work = Work {
            instance,
            artifact: what,
            process: ProcessSpec {
                command: command.to_owned(),
                http: true,
                instances: 1,
                ..ProcessSpec::default()
            },
            once: false,
            volumes: BTreeMap::new(),
            variables: app_variable(),
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            health: Some(Health::default()),
            host: "shop.localhost".to_owned(),
            settle: 300,
            stop_grace: 1_000,
            withdrawn_everywhere: false,
        };
        Job { work, node: NODE, artifact: file }
    }

    /// Process and supervisor of an instance, as written down.
    pub(crate) fn pids(&self, id: InstanceId) -> (i32, i32) {
        let text = std::fs::read(self.instance_dir(id).join("running.json")).expect("it was started");
        let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let pid = |name: &str| i32::try_from(json[name]["pid"].as_i64().expect("a number")).expect("small");
        (pid("app"), pid("supervisor"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.data().join("instances")) else { return };
        for entry in entries.flatten() {
            let file = |name: &str| entry.path().join(name);
            if file("running.json").exists() && !file("exit.json").exists() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let (app, supervisor) = self.pids(InstanceId(name[1..].parse().unwrap_or_default()));
                kill(app, nix::sys::signal::Signal::SIGKILL);
                // It writes into the directory that is about to be removed.
                let end = Instant::now() + Duration::from_secs(5);
                while lives(supervisor) && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}

pub(crate) fn app_variable() -> BTreeMap<String, Opaque> {
    BTreeMap::from([("APP".to_owned(), Opaque(testapp().to_string_lossy().into_owned()))])
}

pub(crate) fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Runs, and is no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|line| !line.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

pub(crate) async fn found(runtime: &impl Runtime, id: InstanceId) -> Option<Found> {
    let list = runtime.list().await.expect("listed");
    list.into_iter().find(|f| f.instance == id)
}

pub(crate) async fn incarnation(runtime: &impl Runtime, id: InstanceId) -> Option<String> {
    match found(runtime, id).await?.condition {
        Condition::Running(running) => Some(running.incarnation),
        Condition::Ended(_) | Condition::Unstarted => None,
    }
}

/// A specification with times for tests. `variables` are beside `$APP`.
pub(crate) fn spec(command: &str, instances: u32, variables: &[(&str, &str)]) -> Spec {
    let mut spec = Spec::default();
    let process =
        ProcessSpec { command: command.to_owned(), http: true, instances, ..ProcessSpec::default() };
    spec.processes.insert("web".to_owned(), process);
    spec.health = Health { interval: 100, timeout: 1_000, start_period: 2_000, ..Health::default() };
    spec.deploy.drain_timeout = 5_000;
    spec.deploy.stop_grace = 1_000;
    spec.deploy.deadline = 30_000;
    spec.rollback.watch = 200;
    spec.variables = app_variable();
    spec.variables.extend(variables.iter().map(|(k, v)| ((*k).to_owned(), Opaque((*v).to_owned()))));
    spec
}

pub(crate) const SERVE: &str = "exec \"$APP\" serve";
