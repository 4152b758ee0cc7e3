//! A place for one cluster on a real engine, and what its tests look at.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RemoveVolumeOptions,
};
use futures_util::TryStreamExt;
use temps_agent::logs::{LogLine, Until};
use temps_agent::runtime::docker::{DockerOptions, DockerRuntime, Engine, ImageSource};
use temps_agent::runtime::{Condition, Found, Job, Running, Runtime, StartError};
use temps_core::assignment::Work;
use temps_core::model::{
    Artifact, EnvironmentId, Exit, Form, Health, Instance, InstanceId, NodeId, Opaque, ProcessSpec, ReleaseId,
};

pub(crate) const NODE: NodeId = NodeId(1);
pub(crate) const I7: InstanceId = InstanceId(7);
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// Where the engine of this machine listens.
const SOCKET: &str = "/var/run/docker.sock";
/// The port that the test image exposes.
pub(crate) const EXPOSED: u16 = 3000;

/// Images that are there already.
struct Ready(Docker);

#[async_trait]
impl ImageSource for Ready {
    async fn ensure(&self, artifact: &Artifact) -> Result<(), StartError> {
        let Form::Image { id, .. } = &artifact.form else {
            return Err(StartError::Refused("no image".to_owned()));
        };
        self.0.inspect_image(id).await.map(drop).map_err(|error| StartError::NotNow(error.to_string()))
    }

    async fn discard(&self, _digest: &str) -> io::Result<()> {
        Ok(())
    }
}

/// One cluster on one engine.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) docker: Docker,
    pub(crate) engine: Arc<Engine>,
    pub(crate) cluster: String,
    pub(crate) image: String,
    dir: Arc<tempfile::TempDir>,
}

/// Runs a test on the engine of this machine, and removes all its traces.
pub(crate) async fn with_engine<F: Future<Output = ()> + Send + 'static>(
    name: &str,
    test: impl FnOnce(Place) -> F,
) {
    let engine = Arc::new(Engine::new(PathBuf::from(SOCKET)));
    match engine.docker().await {
        Ok(docker) => on(docker, engine, test).await,
        Err(error) => skip(name, &error.to_string()),
    }
}

/// Says on the terminal itself, past what the test runner holds back, that a test could not run.
pub(crate) fn skip(name: &str, why: &str) {
    let _ = writeln!(io::stderr(), "skipped: {name}: {why}");
}

/// Runs a test on an engine, and removes all its traces.
pub(crate) async fn on<F: Future<Output = ()> + Send + 'static>(
    docker: Docker,
    engine: Arc<Engine>,
    test: impl FnOnce(Place) -> F,
) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = u64::from(std::process::id()) << 16 | NEXT.fetch_add(1, Ordering::Relaxed);
    let cluster = format!("{number:012x}");
    let image = image(&docker, &cluster).await;
    let dir = Arc::new(tempfile::tempdir().expect("a directory"));
    let place = Place { docker: docker.clone(), engine: Arc::clone(&engine), cluster, image, dir };
    let outcome = tokio::spawn(test(place.clone())).await;
    // Another one may listen by now, and one that hangs cannot be cleaned.
    let docker = engine.docker().await.unwrap_or(docker);
    let _ = tokio::time::timeout(Duration::from_secs(60), clean(&docker, &place)).await;
    if let Err(error) = outcome {
        resume_unwind(error.into_panic());
    }
}

async fn clean(docker: &Docker, place: &Place) {
    let filters = HashMap::from([("name", vec![format!("temps-{}-", place.cluster)])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let _ = docker.remove_container(&container.id.unwrap_or_default(), Some(options)).await;
    }
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    for network in docker.list_networks(Some(options)).await.unwrap_or_default() {
        let _ = docker.remove_network(&network.id.unwrap_or_default()).await;
    }
    let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
    for volume in docker.list_volumes(Some(options)).await.ok().and_then(|v| v.volumes).unwrap_or_default() {
        let _ = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
    }
    let options = RemoveImageOptionsBuilder::new().force(true).build();
    let _ = docker.remove_image(&place.image, Some(options), None).await;
}

/// The program of `examples/contained.rs`, linked statically.
pub(crate) fn app() -> &'static Path {
    static APP: OnceLock<PathBuf> = OnceLock::new();
    APP.get_or_init(|| {
        if let Some(built) = std::env::var_os("TESTAPP") {
            return built.into();
        }
        let test = std::env::current_exe().expect("this test is a file");
        let target = test.ancestors().nth(3).expect("target/debug/deps/test");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["rustc", "--quiet", "--offline", "--example", "contained", "--target-dir"])
            .arg(target)
            .args(["--", "-C", "target-feature=+crt-static", "-C", "strip=symbols"])
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the application of these tests cannot be built");
        target.join("debug/examples/contained")
    })
}

/// An image of nothing but the application, under the names `/app` and `/bin/sh`.
async fn image(docker: &Docker, cluster: &str) -> String {
    let app = tokio::task::spawn_blocking(app).await.expect("built");
    let bytes = std::fs::read(app).expect("readable");
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["app", "bin/sh"] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append_data(&mut header, name, bytes.as_slice()).expect("appended");
    }
    // Otherwise all tests would share one image.
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(cluster.len() as u64);
    header.set_cksum();
    tar.append_data(&mut header, "cluster", cluster.as_bytes()).expect("appended");
    let changes = ["CMD [\"/app\", \"serve\"]".to_owned(), format!("EXPOSE {EXPOSED}/tcp")];
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(&format!("temps-{cluster}-test"))
        .changes(changes.to_vec())
        .build();
    let body = bollard::body_full(tar.into_inner().expect("finished").into());
    let told: Vec<_> =
        docker.create_image(Some(options), Some(body), None).try_collect().await.expect("imported");
    told.into_iter().filter_map(|info| info.status).find(|s| s.starts_with("sha256:")).expect("an id")
}

impl Place {
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The runtime that a server which starts now would have.
    pub(crate) fn runtime(&self) -> DockerRuntime {
        let options = DockerOptions {
            engine: Arc::clone(&self.engine),
            cluster: self.cluster.clone(),
            node: NODE,
            data: self.data(),
            images: Arc::new(Ready(self.docker.clone())),
        };
        DockerRuntime::open(options).expect("opened")
    }

    pub(crate) fn name(&self, id: InstanceId) -> String {
        format!("temps-{}-{id}", self.cluster)
    }

    /// A job for a command of the test image.
    pub(crate) fn job(&self, id: InstanceId, command: &str) -> Job {
        let instance = Instance::new(id, EnvironmentId(1), ReleaseId(3), "web", NODE);
        let form = Form::Image { id: self.image.clone(), total: 1 };
        let work = Work {
            instance,
            artifact: Artifact { digest: "ab".repeat(32), bytes: 1, form },
            process: ProcessSpec {
                command: command.to_owned(),
                http: true,
                instances: 1,
                ..ProcessSpec::default()
            },
            once: false,
            volumes: BTreeMap::new(),
            variables: BTreeMap::new(),
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            health: Some(Health::default()),
            host: "shop.localhost".to_owned(),
            settle: 300,
            stop_grace: 10_000,
            withdrawn_everywhere: false,
        };
        Job { work, node: NODE, artifact: PathBuf::new() }
    }

    /// Starts instance 7 and waits until it has said that it is ready.
    pub(crate) async fn ready(&self, runtime: &DockerRuntime, command: &str) -> Running {
        let running = runtime.start(&self.job(I7, command)).await.expect("started");
        said(runtime, I7, "ready").await;
        running
    }

    pub(crate) async fn inspect(&self, id: InstanceId) -> bollard::models::ContainerInspectResponse {
        self.docker.inspect_container(&self.name(id), None).await.expect("there is a container")
    }
}

/// A variable.
pub(crate) fn variable(job: &mut Job, name: &str, value: &str) {
    job.work.variables.insert(name.to_owned(), Opaque(value.to_owned()));
}

/// Waits for a condition, and says what was seen last when it does not come.
pub(crate) async fn until<T, S: std::fmt::Debug, F: Future<Output = Result<T, S>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < end, "{what}: still {seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// [`Runtime::wait`], for at most a minute.
pub(crate) async fn ended(runtime: &DockerRuntime, id: InstanceId) -> Exit {
    tokio::time::timeout(Duration::from_secs(60), runtime.wait(id)).await.expect("it ends within a minute")
}

pub(crate) async fn log(runtime: &DockerRuntime, id: InstanceId) -> Vec<LogLine> {
    runtime.lines(id, usize::MAX, Until::Now).try_collect().await.expect("a log")
}

/// The lines of a log as text; parts of a line are put together.
pub(crate) async fn text(runtime: &DockerRuntime, id: InstanceId) -> Vec<String> {
    let mut lines = vec![String::new()];
    for line in log(runtime, id).await {
        let last = lines.last_mut().expect("never empty");
        last.push_str(&String::from_utf8_lossy(&line.bytes));
        if line.whole {
            lines.push(String::new());
        }
    }
    lines.pop();
    lines
}

/// Waits for a line.
pub(crate) async fn said(runtime: &DockerRuntime, id: InstanceId, line: &str) {
    until(line, || async {
        let lines = text(runtime, id).await;
        if lines.iter().any(|l| l == line) { Ok(()) } else { Err(lines) }
    })
    .await;
}

pub(crate) async fn found(runtime: &DockerRuntime, id: InstanceId) -> Option<Found> {
    let list = runtime.list().await.expect("listed");
    list.into_iter().find(|f| f.instance == id)
}

pub(crate) async fn condition(runtime: &DockerRuntime, id: InstanceId) -> Option<Condition> {
    found(runtime, id).await.map(|f| f.condition)
}

pub(crate) async fn exit_found(runtime: &DockerRuntime, id: InstanceId) -> Option<Exit> {
    match condition(runtime, id).await? {
        Condition::Ended(exit) => Some(exit),
        Condition::Running(_) | Condition::Unstarted => None,
    }
}
