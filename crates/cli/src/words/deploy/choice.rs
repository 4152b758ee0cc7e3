//! What is made of the directory: an image where the cluster runs containers, else a bundle.

use std::time::Duration;

use temps_core::model::RuntimeKind;
use temps_wire::client::Client;
use temps_wire::proto::Node;
use tokio::time::{Instant, sleep};

use super::{Job, no_file};
use crate::detect::{self, Detected, Unclear, Wanted};
use crate::exit::Failure;
use crate::file::{Builder, DOCKERFILE, Language};
use crate::words::nodes;

/// How long nodes that have just started are waited for until they tell what they run.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Time between questions.
const PAUSE: Duration = Duration::from_millis(300);

/// What the nodes of the cluster can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    /// Containers on at least one, and bundles on none.
    Containers,
    /// Both.
    Both,
    /// Bundles.
    Processes,
    /// The cluster was not asked.
    Unknown,
}

/// What is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Making {
    Bundle,
    /// An image, with the Dockerfile of this path.
    Image {
        dockerfile: String,
        written: Option<Detected>,
    },
}

/// Asks the cluster what its nodes run.
pub(super) async fn runs(client: &Client) -> Result<Runs, Failure> {
    let until = Instant::now() + TOLD_WITHIN;
    loop {
        let nodes = nodes::all(client).await?;
        let up = || nodes.iter().filter(|node| node.status == "up");
        let silent = up().any(|node| node.runtime.is_empty());
        let runs = runs_of(up());
        if matches!(runs, Runs::Containers | Runs::Both) || !silent || Instant::now() > until {
            return Ok(runs);
        }
        sleep(PAUSE).await;
    }
}

fn runs_of<'a>(up: impl Iterator<Item = &'a Node>) -> Runs {
    let kinds: Vec<&str> = up.map(|node| node.runtime.as_str()).collect();
    let any = |kind: RuntimeKind| kinds.contains(&kind.word());
    match (any(RuntimeKind::Docker), any(RuntimeKind::Process)) {
        (true, true) => Runs::Both,
        (true, false) => Runs::Containers,
        (false, _) => Runs::Processes,
    }
}

/// What is made of the directory of a job.
pub(super) fn choose(job: &Job, runs: Runs) -> Result<Making, Failure> {
    let build = &job.file.build;
    let path = build.dockerfile.as_deref().unwrap_or(DOCKERFILE);
    let is_there = job.directory.join(path).is_file();
    let facts = Facts {
        builder: build.builder,
        dockerfile: match (is_there, &build.dockerfile) {
            (true, _) => Dockerfile::There,
            (false, Some(_)) => Dockerfile::Named,
            (false, None) => Dockerfile::None,
        },
        all_have_commands: job.file.spec.processes.values().all(|p| !p.command.trim().is_empty()),
    };
    match decide(facts, runs)? {
        Kind::Bundle => bundle(job),
        Kind::Dockerfile if is_there => Ok(Making::Image { dockerfile: path.to_owned(), written: None }),
        Kind::Dockerfile => Err(Failure::usage(format!(
            "there is no {} in {}",
            crate::screen::escape(path),
            crate::screen::escape(&job.directory.display().to_string())
        ))
        .help("[build] of temps.toml says that the image is built with it")),
        Kind::Detect(language) => detected(job, language, facts.all_have_commands),
    }
}

fn bundle(job: &Job) -> Result<Making, Failure> {
    if let Some(path) = &job.missing {
        return Err(no_file(path));
    }
    match job.file.fits_bundle() {
        Ok(()) => Ok(Making::Bundle),
        Err(wrong) => {
            let failure =
                Failure::usage("the directory runs as local processes, and temps.toml does not fit that");
            let failure = wrong.into_iter().fold(failure, Failure::help);
            Err(failure
                .help("images are built where a node of the cluster runs containers (`temps nodes list`)"))
        }
    }
}

fn detected(job: &Job, language: Option<Language>, has_commands: bool) -> Result<Making, Failure> {
    let tree = detect::gather(&job.directory);
    let volumes: Vec<String> = job.file.spec.volumes.values().cloned().collect();
    let wanted = Wanted { tree: &tree, language, has_commands, volumes: &volumes };
    let detected = detect::detect(wanted)?;
    let http = job.file.spec.processes.values().find(|process| process.http && process.command.is_empty());
    if let Some(port) = http.and_then(|process| process.port)
        && detected.port_is_fixed
        && port != detected.port
    {
        let message = format!("the web server of this site listens on port {}, not {port}", detected.port);
        return Err(Failure::usage(message).help("leave `port` out of [processes.web]"));
    }
    Ok(Making::Image { dockerfile: detect::PATH.to_owned(), written: Some(detected) })
}

impl From<Unclear> for Failure {
    fn from(unclear: Unclear) -> Self {
        unclear.help.into_iter().fold(Failure::usage(unclear.what), Failure::help)
    }
}

/// What the directory and its file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    builder: Option<Builder>,
    dockerfile: Dockerfile,
    all_have_commands: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dockerfile {
    There,
    /// The file names it, and it is not there.
    Named,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bundle,
    Dockerfile,
    Detect(Option<Language>),
}

fn decide(facts: Facts, runs: Runs) -> Result<Kind, Failure> {
    let image = match facts.dockerfile {
        Dockerfile::There | Dockerfile::Named => Kind::Dockerfile,
        Dockerfile::None => Kind::Detect(None),
    };
    let no_containers = |what: &str| {
        Failure::usage(format!("{what}, and no node of this cluster runs containers"))
            .help("see with  temps nodes list")
            .help("a node runs containers where a Docker engine answers, unless its configuration says runtime = \"process\"")
    };
    match (facts.builder, runs) {
        (Some(Builder::Bundle), Runs::Containers) => {
            Err(Failure::usage("builder = \"bundle\" needs a node that runs local processes, and all nodes of this cluster run containers")
                .help("leave `builder` out of [build] to build an image, or add a node with runtime = \"process\""))
        }
        (Some(Builder::Bundle), Runs::Both | Runs::Processes | Runs::Unknown) => Ok(Kind::Bundle),
        (Some(builder), Runs::Processes) => {
            Err(no_containers(&format!("builder = \"{}\" makes an image", builder.word()))
                .help("to run the directory as it is: builder = \"bundle\" in [build] of temps.toml, and a command for each process"))
        }
        (Some(Builder::Dockerfile), _) => Ok(Kind::Dockerfile),
        (Some(Builder::Detected(language)), _) => Ok(Kind::Detect(Some(language))),
        (None, Runs::Containers | Runs::Both) => Ok(image),
        (None, Runs::Processes) if facts.dockerfile == Dockerfile::There && !facts.all_have_commands => {
            Err(no_containers("the directory has a Dockerfile, from which an image would be built")
                .help("or say how it runs without one: command = \"…\" in [processes.web] of temps.toml"))
        }
        (None, Runs::Processes) => Ok(Kind::Bundle),
        (None, Runs::Unknown) if facts.dockerfile == Dockerfile::None && facts.all_have_commands => {
            Ok(Kind::Bundle)
        }
        (None, Runs::Unknown) => Ok(image),
    }
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::Node;

    use super::{Dockerfile, Facts, Kind, Runs, decide, runs_of};
    use crate::file::{Builder, Language};

    #[test]
    fn any_node_with_an_engine_makes_it_a_cluster_of_containers() {
        let node = |runtime: &str| Node { runtime: runtime.to_owned(), ..Node::default() };
        for (nodes, expected) in [
            (vec!["docker", "docker"], Runs::Containers),
            (vec!["process", "docker"], Runs::Both),
            (vec!["process", ""], Runs::Processes),
            (vec!["", "docker"], Runs::Containers),
            (vec![], Runs::Processes),
        ] {
            let nodes: Vec<Node> = nodes.into_iter().map(node).collect();
            assert_eq!(runs_of(nodes.iter()), expected);
        }
    }

    #[test]
    fn what_is_made_of_a_directory() {
        let go = Builder::Detected(Language::Go);
        for (builder, dockerfile, all_have_commands, runs, expected) in [
            (None, Dockerfile::There, true, Runs::Containers, Ok(Kind::Dockerfile)),
            (None, Dockerfile::None, true, Runs::Containers, Ok(Kind::Detect(None))),
            (None, Dockerfile::Named, true, Runs::Both, Ok(Kind::Dockerfile)),
            (None, Dockerfile::There, true, Runs::Processes, Ok(Kind::Bundle)),
            (None, Dockerfile::None, false, Runs::Processes, Ok(Kind::Bundle)),
            (
                None,
                Dockerfile::There,
                false,
                Runs::Processes,
                Err(
                    "the directory has a Dockerfile, from which an image would be built, and no node of this cluster runs containers",
                ),
            ),
            (Some(Builder::Bundle), Dockerfile::There, false, Runs::Both, Ok(Kind::Bundle)),
            (Some(Builder::Bundle), Dockerfile::There, false, Runs::Processes, Ok(Kind::Bundle)),
            (
                Some(Builder::Bundle),
                Dockerfile::None,
                true,
                Runs::Containers,
                Err(
                    "builder = \"bundle\" needs a node that runs local processes, and all nodes of this cluster run containers",
                ),
            ),
            (Some(go), Dockerfile::There, true, Runs::Containers, Ok(Kind::Detect(Some(Language::Go)))),
            (
                Some(go),
                Dockerfile::None,
                true,
                Runs::Processes,
                Err("builder = \"go\" makes an image, and no node of this cluster runs containers"),
            ),
            (Some(Builder::Dockerfile), Dockerfile::None, true, Runs::Containers, Ok(Kind::Dockerfile)),
            (None, Dockerfile::None, true, Runs::Unknown, Ok(Kind::Bundle)),
            (None, Dockerfile::None, false, Runs::Unknown, Ok(Kind::Detect(None))),
            (None, Dockerfile::There, true, Runs::Unknown, Ok(Kind::Dockerfile)),
        ] {
            let facts = Facts { builder, dockerfile, all_have_commands };
            let decided = decide(facts, runs).map_err(|failure| failure.message);
            assert_eq!(decided, expected.map_err(str::to_owned), "{facts:?} {runs:?}");
        }
    }
}
