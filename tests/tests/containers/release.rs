//! The release command: before anything else, and once.

use std::collections::BTreeSet;
use std::time::Duration;

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::load::{Load, Mix};
use temps_tests::notes::Notes;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

fn app(version: &str, notes: &Notes) -> Result<App> {
    App::named("migrated", version)?
        .set("release.command", "/hello migrate")?
        .env("LOG_TO", &notes.address())?
        .env("MIGRATE_MS", "2500")
}

/// The leader dies while it runs: the next one waits for it and does not run it again. No new instance starts
/// before it has ended.
pub(crate) fn once(cluster: &mut Cluster) -> Result {
    let notes = Notes::open(cluster.outside())?;
    cluster.deploy_well(&App::named("migrated", "v1")?)?;
    let number = cluster.deploy_detached(&app("v2", &notes)?)?;
    wait::until("the migration to begin", Duration::from_secs(60), || notes.count("migration begun") == 1)?;
    let leader = cluster.leader()?;
    cluster.nodes[leader].kill()?;
    wait::nap(Duration::from_secs(1))?;
    cluster.nodes[leader].restart()?;
    let deployment = cluster.await_end(number, DEPLOYMENT)?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    let lines = notes.lines();
    check_eq!(notes.count("migration begun"), 1, "{lines:?}");
    check_eq!(notes.count("migration ended with code 0"), 1, "{lines:?}");
    let ended = lines.iter().position(|line| line.contains("migration ended"));
    let listening = lines.iter().position(|line| line.contains("listening"));
    check!(ended < listening, "an instance came first: {lines:?}");
    cluster.heal()?;
    cluster.settled("migrated", 3, "v2")?;
    cluster.nothing_left_over("migrated", 3, Duration::from_secs(30))
}

/// Where it fails, nothing has changed.
pub(crate) fn failed(cluster: &mut Cluster) -> Result {
    let notes = Notes::open(cluster.outside())?;
    cluster.deploy_well(&App::named("migrated", "v1")?)?;
    let ids = |cluster: &Cluster| -> Result<BTreeSet<String>> {
        Ok(cluster.containers_of("migrated")?.into_iter().map(|placed| placed.container.id).collect())
    };
    let before = ids(cluster)?;
    let load = Load::start(cluster.edges(), Mix::short("migrated.localhost"));
    let (ran, deployment) =
        cluster.deploy(&app("v3", &notes)?.env("MIGRATE_EXIT", "5")?.env("MIGRATE_MS", "100")?)?;
    let report = load.stop()?;
    check!(matches!(ran.code, 3 | 4), "exit code {}\n{}", ran.code, deployment.story());
    check!(deployment.reason.contains("exit code 5"), "the reason: {}", deployment.reason);
    check!(deployment.log_tail.join("\n").contains("with code 5"), "{:?}", deployment.log_tail);
    check_eq!(deployment.count("starting"), 0, "{}", deployment.story());
    check_eq!(notes.count("migration begun"), 1, "{:?}", notes.lines());
    check!(report.is_clean(), "{}", report.table());
    cluster.nothing_left_over("migrated", 3, Duration::from_secs(30))?;
    check_eq!(ids(cluster)?, before, "containers");
    Ok(())
}
