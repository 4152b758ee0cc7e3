//! A node's images on the machine's engine, under a cluster of their own.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions};
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use temps_agent::build::{Build, BuildError};
use temps_agent::builder::DockerBuilder;
use temps_agent::images::Images;
use temps_agent::runtime::docker::Engine;
use temps_agent::store::Store;
use temps_core::assignment::BuildWork;
use temps_core::model::{Artifact, DeploymentId, Form, NodeId, ReleaseId, Source};

const SOCKET: &str = "/var/run/docker.sock";

/// A program for images that have nothing else.
const TOOL: &str = r#"
fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("exit") => {
            println!("about to fail");
            std::process::exit(args.next().and_then(|code| code.parse().ok()).unwrap_or(1));
        }
        Some("sleep") => std::thread::sleep(std::time::Duration::from_secs(600)),
        _ => {}
    }
}
"#;

/// The program, compiled once, so that it needs no libraries.
fn tool() -> Option<&'static [u8]> {
    static BUILT: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().ok()?;
        let (source, program) = (dir.path().join("tool.rs"), dir.path().join("tool"));
        std::fs::write(&source, TOOL).ok()?;
        let mut rustc = Command::new("rustc");
        rustc.args([
            "--edition",
            "2024",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "strip=symbols",
            "-O",
            "-o",
        ]);
        let built = rustc.arg(&program).arg(&source).output().ok()?;
        built.status.success().then(|| std::fs::read(program).ok())?
    });
    built.as_deref()
}

/// A node.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    pub(crate) docker: Docker,
    pub(crate) cluster: String,
    pub(crate) store: Arc<Store>,
    pub(crate) images: Arc<Images>,
    pub(crate) builder: Arc<DockerBuilder>,
    /// Images of other people, to be removed at the end.
    pub(crate) strangers: Vec<String>,
}

impl Place {
    /// `None` where no engine answers, which is said.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let engine = Arc::new(Engine::new(PathBuf::from(SOCKET)));
        let skipped = match (engine.ping().await, tool()) {
            (Ok(()), Some(_)) => None,
            (Err(error), _) => Some(error.to_string()),
            (Ok(()), None) => Some("no program without libraries can be compiled".to_owned()),
        };
        if let Some(why) = skipped {
            writeln!(std::io::stderr(), "skipped: {test}: {why}").expect("written");
            return None;
        }
        let place = Self::on(engine.clone(), engine.docker().await.expect("it answers"));
        Some(place)
    }

    /// A node whose engine is not there.
    pub(crate) fn without_engine() -> Self {
        Self::on_socket(Path::new("/nonexistent/engine.sock"))
    }

    /// A node whose engine, if there is one, listens at a socket.
    pub(crate) fn on_socket(socket: &Path) -> Self {
        let engine = Arc::new(Engine::new(socket.to_owned()));
        let docker =
            Docker::connect_with_http("127.0.0.1:9", 1, bollard::API_DEFAULT_VERSION).expect("not asked");
        Self::on(engine, docker)
    }

    fn on(engine: Arc<Engine>, docker: Docker) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = u64::from(std::process::id()) << 16 | NEXT.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("{:012x}", number | 0xa300_0000_0000);
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(dir.path().join("artifacts")).expect("opened"));
        let node = NodeId(1);
        let images = Arc::new(Images::new(engine.clone(), store.clone(), &cluster, node));
        let logs = dir.path().join("builds");
        let builder =
            DockerBuilder::new(engine, images.clone(), store.clone(), logs, &cluster, node).expect("opened");
        Self { dir, docker, cluster, store, images, builder: Arc::new(builder), strangers: Vec::new() }
    }

    /// The builder of the next server.
    pub(crate) fn reopened(&self) -> DockerBuilder {
        let engine = Arc::new(Engine::new(PathBuf::from(SOCKET)));
        let (images, store, logs) = (self.images.clone(), self.store.clone(), self.dir.path().join("builds"));
        DockerBuilder::new(engine, images, store, logs, &self.cluster, NodeId(1)).expect("opened")
    }

    /// The images that an image was made from, itself included.
    pub(crate) async fn layers(&self, id: &str) -> Vec<String> {
        let history = self.docker.image_history(id).await.expect("known");
        history.into_iter().map(|layer| layer.id).filter(|id| id.starts_with("sha256:")).collect()
    }

    /// Stores a directory of these files and the program `tool`.
    pub(crate) async fn context(&self, files: &[(&str, &[u8])]) -> Artifact {
        let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 3).expect("an encoder"));
        // No layer is another test's, which would keep it from being removed.
        let tool = [tool().expect("compiled"), self.cluster.as_bytes()].concat();
        for (name, content) in files.iter().chain(&[("tool", &*tool)]) {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, *content).expect("appended");
        }
        let packed = archive.into_inner().and_then(zstd::Encoder::finish).expect("packed");
        let digest = hex::encode(Sha256::digest(&packed));
        let artifact = Artifact { digest, bytes: packed.len() as u64, form: Form::Bundle };
        let content = stream::iter([Ok(bytes::Bytes::from(packed))]);
        self.store.store(&artifact, content).await.expect("stored");
        artifact
    }

    /// A build of these files.
    pub(crate) async fn work(&self, files: &[(&str, &[u8])]) -> BuildWork {
        let context = self.context(files).await;
        let dockerfile = "Dockerfile".to_owned();
        self.making(Source::Build { context, dockerfile, timeout: 60_000 })
    }

    pub(crate) fn making(&self, source: Source) -> BuildWork {
        BuildWork {
            release: ReleaseId(3),
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            source,
        }
    }

    pub(crate) async fn build(
        &self,
        deployment: u64,
        files: &[(&str, &[u8])],
    ) -> Result<Artifact, BuildError> {
        self.builder.build(DeploymentId(deployment), &self.work(files).await).await
    }

    /// The whole build log.
    pub(crate) async fn log(&self, deployment: u64) -> Vec<String> {
        let logs = self.builder.logs();
        let lines = logs.lines(DeploymentId(deployment), usize::MAX, temps_agent::logs::Until::Ended);
        let lines: Vec<_> = lines.try_collect().await.expect("readable");
        lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }

    /// Whether the engine has an image.
    pub(crate) async fn has(&self, name: &str) -> bool {
        self.docker.inspect_image(name).await.is_ok()
    }

    /// Makes the engine forget an image.
    pub(crate) async fn wipe(&self, id: &str) {
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        self.docker.remove_image(id, Some(options), None).await.expect("removed");
        assert!(!self.has(id).await, "{id} is still there");
    }

    /// Containers whose command has this text.
    pub(crate) async fn containers(&self, command: &str) -> usize {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let all = self.docker.list_containers(Some(options)).await.expect("listed");
        all.iter().filter(|c| c.command.as_ref().is_some_and(|c| c.contains(command))).count()
    }

    /// Images, those without a tag included, that have this label.
    pub(crate) async fn labelled(&self, label: &str, value: &str) -> Vec<String> {
        labelled(&self.docker, label, value).await
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.dir.path().join("artifacts")
    }

    /// The digests of an image's chunks, as its manifest lists them.
    pub(crate) async fn chunks(&self, image: &Artifact) -> Vec<String> {
        let read = self.store.read(&image.digest, 0).await.expect("stored");
        let bytes = read.map(|part| part.expect("readable").to_vec()).concat().await;
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let entries = manifest["entries"].as_array().expect("entries");
        let pieces = entries.iter().filter_map(|entry| entry["chunks"].as_array()).flatten();
        pieces.map(|piece| piece["digest"].as_str().expect("a digest").to_owned()).collect()
    }
}

async fn labelled(docker: &Docker, label: &str, value: &str) -> Vec<String> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]);
    let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
    let found = docker.list_images(Some(options)).await.expect("listed");
    found.into_iter().map(|image| image.id).collect()
}

impl Drop for Place {
    fn drop(&mut self) {
        let (docker, cluster, strangers) =
            (self.docker.clone(), self.cluster.clone(), self.strangers.clone());
        let builder = self.reopened();
        let cleaning = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let Ok(docker) = Docker::negotiate_version(docker).await else { return };
                let ours = labelled(&docker, "dev.temps.cluster", &cluster).await;
                for id in ours.into_iter().chain(strangers) {
                    let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
                    let _ = docker.remove_image(&id, Some(options), None).await;
                }
                builder.forget(&BTreeSet::new()).await;
            });
        });
        let _ = cleaning.join();
    }
}

/// Waits for a condition.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(60);
    while !look().await {
        assert!(Instant::now() < end, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The image's identity for the engine.
pub(crate) fn id_of(image: &Artifact) -> &str {
    match &image.form {
        Form::Image { id, .. } => id,
        Form::Bundle => unreachable!("{image:?} is no image"),
    }
}

/// Bytes that cannot be compressed, and are the same each time.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 32);
    for block in 0_u64.. {
        if out.len() >= bytes {
            break;
        }
        out.extend_from_slice(&Sha256::digest([seed.to_le_bytes(), block.to_le_bytes()].concat()));
    }
    out.truncate(bytes);
    out
}
