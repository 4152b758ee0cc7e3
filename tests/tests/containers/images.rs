//! Images: built, kept, cleaned up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::Cluster;
use temps_tests::deployment::list;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, check_eq};

fn ids(cluster: &Cluster, project: &str) -> Result<BTreeSet<String>> {
    Ok(cluster.containers_of(project)?.into_iter().map(|placed| placed.container.id).collect())
}

/// Nothing is touched by a build that fails, and its last lines say why.
pub(crate) fn build_fails(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("built", "v1")?)?;
    let before = ids(cluster, "built")?;
    let load = Load::start(cluster.edges(), Mix::short("built.localhost"));
    let (ran, deployment) =
        cluster.deploy(&App::named("built", "v2")?.build_step("RUN [\"/no-such-program\"]"))?;
    let report = load.stop()?;
    check!(matches!(ran.code, 3 | 4), "exit code {}\n{}", ran.code, deployment.story());
    check!(deployment.ended && deployment.phase != "succeeded", "{}", deployment.story());
    check!(deployment.reason.contains("build"), "the reason: {}", deployment.reason);
    check!(ran.stderr.contains("no-such-program"), "the command shows no build log: {}", ran.stderr);
    let tail = deployment.log_tail.join("\n");
    check!(tail.contains("no-such-program"), "no log is kept: {tail}");
    check_eq!(deployment.count("starting"), 0, "{}", deployment.story());
    check_eq!(ids(cluster, "built")?, before, "containers");
    check!(report.is_clean(), "{}", report.table());
    check_eq!(report.versions_since(0).into_iter().collect::<Vec<_>>(), ["v1"], "versions that users saw");
    cluster.deploy_well(&App::named("built", "v3")?)?;
    Ok(())
}

/// The image that a project runs now.
fn image_of(cluster: &Cluster, project: &str) -> Result<String> {
    let all = cluster.containers_of(project)?;
    let image = all.into_iter().find(|placed| placed.container.runs()).map(|placed| placed.container.image);
    image.ok_or_else(|| Trouble::new(format!("{project} does not run")))
}

/// As many images stay as the file says, whatever others do; what is not ours is not touched.
pub(crate) fn kept(cluster: &mut Cluster) -> Result {
    let app = |version: &str| {
        App::named("kept", version)?.set("rollback.keep", 2)?.set("processes.web.instances", 1)
    };
    let foreign = App::named("foreign", "v1")?;
    let foreign = cluster.engine(0)?.build("somebodys/image:1", cluster.write(&foreign)?.as_ref())?;
    let mut numbers = Vec::new();
    let mut images = Vec::new();
    for version in ["v1", "v2", "v3", "v4", "v5"] {
        numbers.push(cluster.deploy_well(&app(version)?)?.number);
        images.push(image_of(cluster, "kept")?);
    }
    for version in ["b1", "b2", "b3"] {
        cluster.deploy_well(&App::named("beside", version)?.set("processes.web.instances", 1)?)?;
    }
    check_eq!(images.iter().collect::<BTreeSet<_>>().len(), 5, "each version has an image of its own");
    // Clean-up takes its time; what it may not take is there whenever it comes.
    let nodes: Vec<usize> = (0..cluster.nodes.len()).collect();
    let somewhere = |image: &str| {
        nodes.iter().any(|node| {
            cluster.engine(*node).and_then(|engine| engine.image(image)).is_ok_and(|found| found.is_some())
        })
    };
    check!(somewhere(&foreign), "somebody's image was cleaned up");
    check!(somewhere(&images[3]), "the image to go back to was cleaned up");

    let shown = cluster.cli().json(&["deployments", "list", "-p", "kept"])?;
    let targets: BTreeSet<u64> = list(&shown, "deployments")
        .iter()
        .filter(|one| one.get("rollback_target") == Some(&true.into()))
        .filter_map(|one| one.get("deployment")?.as_u64())
        .collect();
    check!(targets.contains(&numbers[3]), "{targets:?} of {numbers:?}");
    let edge = cluster.nodes[1].shape.edge;
    check_eq!(browser::get(edge, "kept.localhost", "/")?.version(), "v5", "before the rollback");
    let begun = Instant::now();
    let number = numbers[3].to_string();
    let ran = cluster.cli().run(&["deployments", "rollback", "-p", "kept", "--to", &number, "-y"])?;
    check_eq!(ran.code, 0, "what is kept: {ran:#?}");
    check!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    check_eq!(browser::get(edge, "kept.localhost", "/")?.version(), "v4", "after the rollback");
    check_eq!(image_of(cluster, "kept")?, images[3], "the image of the rollback");
    Ok(())
}
