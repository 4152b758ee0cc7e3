//! What runs instances on this node: chosen when the node first starts, and remembered.
//!
//! A node never changes its kind by accident, such as because its engine is late: what is remembered wins
//! over what is found. Where its configuration demands another kind, what runs under the old one is ended
//! first, since nobody would look after it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use temps_agent::build::Build;
use temps_agent::builder::DockerBuilder;
use temps_agent::images::Images;
use temps_agent::runtime::docker::{DockerOptions, DockerRuntime, Engine};
use temps_agent::runtime::process::{ProcessOptions, ProcessRuntime};
use temps_agent::runtime::{Condition, Runtime};
use temps_agent::store::Store;
use temps_api::parts;
use temps_core::model::{NodeId, RuntimeKind};
use temps_wire::identity::NodeIdentity;
use tracing::{info, warn};

use super::containers::{BuildShelf, ImageShelf, NoBuilds, NoImages};
use super::{files, supervisor};
use crate::config::{Config, RuntimeChoice};

/// What runs instances on this node, with all that belongs to it.
pub(super) struct Running {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) builder: Option<Arc<dyn Build>>,
    pub(super) images: Arc<dyn parts::Images>,
    pub(super) builds: Arc<dyn parts::BuildLogs>,
    /// Places whose disks deployments fill.
    pub(super) disks: Vec<PathBuf>,
}

/// What this node is to run instances with.
pub(super) struct Choice {
    kind: RuntimeKind,
    /// What it was until now.
    before: Option<RuntimeKind>,
    engine: Arc<Engine>,
}

/// Chooses before the node enters a cluster: one that could run nothing there need not come.
pub(super) async fn choose(config: &Config) -> Result<Choice> {
    let before = remembered(&file(config), &config.data_dir)?;
    let engine = Arc::new(Engine::new(config.docker_socket.clone()));
    let kind = kind(config, before, &engine).await?;
    Ok(Choice { kind, before, engine })
}

/// Opens what was chosen, once nothing runs under another kind any more.
pub(super) async fn open(
    config: &Config,
    identity: &NodeIdentity,
    choice: &Choice,
    store: &Arc<Store>,
) -> Result<Running> {
    let (kind, engine) = (choice.kind, Arc::clone(&choice.engine));
    let opening = Opening { config, engine, cluster: cluster(identity)?, node: identity.node, store };
    if let Some(before) = choice.before.filter(|before| *before != kind) {
        opening.clear(before).await.with_context(|| {
            format!(
                "this node cannot change its runtime from \"{}\" to \"{}\" before what runs here has ended; put that right, or set runtime = \"{}\" again",
                before.word(),
                kind.word(),
                before.word(),
            )
        })?;
    }
    if choice.before != Some(kind) {
        files::replace(&file(config), kind.word().as_bytes())?;
    }
    info!(runtime = kind.word(), "what runs instances here");
    opening.running(kind).await
}

/// Ends and removes everything that runs here, for a node that leaves its cluster.
pub(super) async fn end_all(
    config: &Config,
    identity: &NodeIdentity,
    choice: &Choice,
    store: &Arc<Store>,
) -> Result<()> {
    let (kind, engine) = (choice.kind, Arc::clone(&choice.engine));
    let opening = Opening { config, engine, cluster: cluster(identity)?, node: identity.node, store };
    opening.clear(kind).await
}

/// Where the kind is remembered.
fn file(config: &Config) -> PathBuf {
    config.data_dir.join("runtime")
}

/// The kind that this node had until now; a node of a version that knew only processes is one of these.
fn remembered(file: &Path, data_dir: &Path) -> Result<Option<RuntimeKind>> {
    match fs::read_to_string(file) {
        Ok(text) => {
            match [RuntimeKind::Docker, RuntimeKind::Process].into_iter().find(|k| k.word() == text.trim()) {
                Some(kind) => Ok(Some(kind)),
                None => bail!(
                    "{} says {text:?} instead of docker or process; write the one that this node had",
                    file.display()
                ),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(data_dir.join("instances").exists().then_some(RuntimeKind::Process))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

async fn kind(config: &Config, before: Option<RuntimeKind>, engine: &Engine) -> Result<RuntimeKind> {
    let socket = config.docker_socket.display();
    match (config.runtime, before) {
        (RuntimeChoice::Process, _) => Ok(RuntimeKind::Process),
        (RuntimeChoice::Docker, _) if !config.docker_socket.exists() => bail!(
            "runtime = \"docker\" needs a Docker engine, and there is no socket {socket}; install and start Docker, name its socket with `socket` under [docker], or set runtime = \"process\""
        ),
        (RuntimeChoice::Docker, _) => {
            if let Err(why) = engine.ping().await {
                warn!(%why, "the engine does not answer yet; instances start once it does");
            }
            Ok(RuntimeKind::Docker)
        }
        (RuntimeChoice::Auto, Some(kind)) => {
            match (kind, config.docker_socket.exists() && engine.ping().await.is_ok()) {
                (RuntimeKind::Docker, false) => {
                    warn!(%socket, "the engine does not answer yet; instances start once it does");
                }
                (RuntimeKind::Process, true) => info!(
                    %socket,
                    "an engine answers, and this node runs local processes since its first start; runtime = \"docker\" changes that"
                ),
                (RuntimeKind::Docker, true) | (RuntimeKind::Process, false) => {}
            }
            Ok(kind)
        }
        (RuntimeChoice::Auto, None) => {
            if !config.docker_socket.exists() {
                return Ok(RuntimeKind::Process);
            }
            match engine.ping().await {
                Ok(()) => Ok(RuntimeKind::Docker),
                Err(why) => {
                    warn!(%why, "the engine does not answer, so this node runs local processes from now on; runtime = \"docker\" changes that");
                    Ok(RuntimeKind::Process)
                }
            }
        }
    }
}

/// What tells containers of this cluster from those of others: 12 hexadecimal digits.
fn cluster(identity: &NodeIdentity) -> Result<String> {
    let fingerprint = identity.ca_fingerprint()?;
    Ok(fingerprint.0.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

struct Opening<'a> {
    config: &'a Config,
    engine: Arc<Engine>,
    cluster: String,
    node: NodeId,
    store: &'a Arc<Store>,
}

impl Opening<'_> {
    async fn running(&self, kind: RuntimeKind) -> Result<Running> {
        let data = self.config.data_dir.clone();
        match kind {
            RuntimeKind::Process => Ok(Running {
                runtime: Arc::new(self.processes()?),
                builder: None,
                images: Arc::new(NoImages),
                builds: Arc::new(NoBuilds),
                disks: vec![data],
            }),
            RuntimeKind::Docker => {
                let images = self.images();
                let builder = DockerBuilder::new(
                    Arc::clone(&self.engine),
                    Arc::clone(&images),
                    Arc::clone(self.store),
                    data.join("builds"),
                    &self.cluster,
                    self.node,
                )?;
                let builds = Arc::new(BuildShelf::new(builder.logs()));
                let disks = std::iter::once(data).chain(self.engine_root().await).collect();
                Ok(Running {
                    runtime: Arc::new(self.containers(&images)?),
                    builder: Some(Arc::new(builder)),
                    images: Arc::new(ImageShelf::new(images)),
                    builds,
                    disks,
                })
            }
        }
    }

    fn processes(&self) -> Result<ProcessRuntime> {
        Ok(ProcessRuntime::new(ProcessOptions {
            data: self.config.data_dir.clone(),
            ports: self.config.ports.clone(),
            supervisor: supervisor()?,
        })?)
    }

    fn images(&self) -> Arc<Images> {
        Arc::new(Images::new(Arc::clone(&self.engine), Arc::clone(self.store), &self.cluster, self.node))
    }

    fn containers(&self, images: &Arc<Images>) -> Result<DockerRuntime> {
        Ok(DockerRuntime::open(DockerOptions {
            engine: Arc::clone(&self.engine),
            cluster: self.cluster.clone(),
            node: self.node,
            data: self.config.data_dir.clone(),
            images: Arc::clone(images) as _,
        })?)
    }

    /// Where the engine keeps images, if that is a directory of this machine.
    async fn engine_root(&self) -> Option<PathBuf> {
        let docker = self.engine.docker().await.ok()?;
        let root = PathBuf::from(docker.info().await.ok()?.docker_root_dir?);
        root.is_dir().then_some(root)
    }

    /// Ends and removes everything that runs under a kind that this node has no longer, or none of which it is to
    /// run any more.
    async fn clear(&self, kind: RuntimeKind) -> Result<()> {
        let runtime: Arc<dyn Runtime> = match kind {
            RuntimeKind::Process => Arc::new(self.processes()?),
            RuntimeKind::Docker => Arc::new(self.containers(&self.images())?),
        };
        let found = runtime.list().await?;
        if !found.is_empty() {
            warn!(runtime = kind.word(), instances = found.len(), "ending what runs here");
        }
        let ends = found.into_iter().map(|found| {
            let runtime = Arc::clone(&runtime);
            async move {
                if matches!(found.condition, Condition::Running(_)) {
                    runtime.stop(found.instance, found.stop_grace).await?;
                }
                runtime.remove(found.instance).await
            }
        });
        futures_util::future::try_join_all(ends).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use temps_agent::runtime::docker::Engine;
    use temps_core::model::{NodeId, RuntimeKind};
    use temps_wire::identity::NodeIdentity;

    use super::{cluster, kind, remembered};
    use crate::config::{Config, Raw, resolve};

    fn config(text: &str) -> Config {
        let raw: Raw = toml::from_str(&format!("name = 'a'\nadvertise = 'x:1'\n{text}")).unwrap();
        resolve(raw).unwrap()
    }

    async fn chosen(text: &str, before: Option<RuntimeKind>) -> Result<RuntimeKind, String> {
        let config = config(text);
        let engine = Engine::new(config.docker_socket.clone());
        kind(&config, before, &engine).await.map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn without_an_engine_a_node_runs_processes_unless_it_ran_containers() {
        let nowhere = "[docker]\nsocket = '/nonexistent/docker.sock'";
        assert_eq!(chosen(nowhere, None).await, Ok(RuntimeKind::Process));
        assert_eq!(chosen(nowhere, Some(RuntimeKind::Docker)).await, Ok(RuntimeKind::Docker));
        assert_eq!(chosen(nowhere, Some(RuntimeKind::Process)).await, Ok(RuntimeKind::Process));
        let demanded = format!("runtime = 'docker'\n{nowhere}");
        let why = chosen(&demanded, Some(RuntimeKind::Docker)).await.unwrap_err();
        assert!(why.contains("there is no socket /nonexistent/docker.sock"), "{why}");
        assert!(why.contains("install and start Docker"), "{why}");
    }

    #[tokio::test]
    async fn a_silent_engine_is_waited_for_only_where_it_is_demanded() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        // It accepts and says nothing, as an engine does that hangs.
        let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let silent = format!("[docker]\nsocket = {:?}", socket.display().to_string());
        assert_eq!(chosen(&silent, None).await, Ok(RuntimeKind::Process));
        assert_eq!(chosen(&silent, Some(RuntimeKind::Docker)).await, Ok(RuntimeKind::Docker));
        assert_eq!(chosen(&format!("runtime = 'docker'\n{silent}"), None).await, Ok(RuntimeKind::Docker));
        let process = format!("runtime = 'process'\n{silent}");
        assert_eq!(chosen(&process, Some(RuntimeKind::Docker)).await, Ok(RuntimeKind::Process));
    }

    #[test]
    fn the_kind_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("runtime");
        let read = |file: &Path| remembered(file, dir.path()).map_err(|e| e.to_string());
        assert_eq!(read(&file), Ok(None));
        std::fs::create_dir(dir.path().join("instances")).unwrap();
        assert_eq!(
            read(&file),
            Ok(Some(RuntimeKind::Process)),
            "it ran processes before it knew another kind"
        );
        std::fs::write(&file, "docker\n").unwrap();
        assert_eq!(read(&file), Ok(Some(RuntimeKind::Docker)));
        std::fs::write(&file, "podman").unwrap();
        assert!(read(&file).unwrap_err().contains("instead of docker or process"));
    }

    #[test]
    fn a_cluster_is_known_by_twelve_digits() {
        let identity = NodeIdentity::found("test", NodeId(1)).unwrap();
        let name = cluster(&identity).unwrap();
        assert!(name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        assert_ne!(name, cluster(&NodeIdentity::found("test", NodeId(1)).unwrap()).unwrap());
    }
}
