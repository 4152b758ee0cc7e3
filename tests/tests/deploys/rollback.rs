//! The ways back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::Cluster;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

use crate::judged::IN_TIME;

/// Instance and process id of everyone who answers.
fn who_answers(cluster: &Cluster) -> Result<BTreeSet<(String, String)>> {
    let mut seen = BTreeSet::new();
    for target in cluster.edges() {
        for _ in 0..12 {
            let page = browser::get(target.address, "hello.localhost", "/")?;
            seen.insert((page.header("x-instance").to_owned(), page.header("x-pid").to_owned()));
        }
    }
    Ok(seen)
}

/// A release that never serves costs the old instances nothing.
pub(crate) fn untouched(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let before = who_answers(cluster)?;
    check_eq!(before.len(), 3, "instances that answer");
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let (ran, deployment) = cluster.deploy(&App::quick("v2")?.env("EXIT_AT_ONCE", "7")?)?;
    let report = load.stop()?;
    check_eq!(ran.code, 3, "exit code");
    check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
    check!(deployment.reason.contains("exit code 7"), "{}", deployment.reason);
    check!(deployment.seconds < IN_TIME.as_secs_f64(), "{} s\n{}", deployment.seconds, deployment.story());
    check!(report.is_clean(), "{}", report.table());
    check_eq!(who_answers(cluster)?, before, "instances after the rollback");
    Ok(())
}

/// Where one node fails, only what was replaced before is started again.
pub(crate) fn partly(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let before = who_answers(cluster)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let (_, deployment) = cluster.deploy(&App::quick("v2")?.env("FAIL_ON_NODE", "n2")?)?;
    let report = load.stop()?;
    check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
    check!(report.is_clean(), "{}\n{}", report.table(), deployment.story());
    let after = who_answers(cluster)?;
    check_eq!(after.len(), 3, "instances that answer");
    let old_ids: BTreeSet<&String> = before.iter().map(|(id, _)| id).collect();
    let drained = deployment.events.iter().filter(|e| e.kind == "draining" && old_ids.contains(&e.instance));
    check_eq!(
        before.intersection(&after).count(),
        3 - drained.count(),
        "old ones left\n{}",
        deployment.story()
    );
    for target in cluster.edges() {
        check_eq!(browser::get(target.address, "hello.localhost", "/")?.version(), "v1", "{}", target.name);
    }
    Ok(())
}

/// Nothing is built or copied for a rollback: the old release serves again within seconds.
pub(crate) fn by_hand(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    cluster.deploy_well(&App::quick("v2")?)?;
    let edge = cluster.nodes[1].shape.edge;
    let begun = Instant::now();
    let mut command =
        cluster.cli().start(&["deployments", "rollback", "-p", "hello", "-e", "production", "-y"])?;
    let first = wait::find("the old version", Duration::from_secs(20), || {
        let page = browser::get(edge, "hello.localhost", "/").ok()?;
        (page.version() == "v1").then(|| begun.elapsed())
    })?;
    let status = command.wait()?;
    check_eq!(status.code(), Some(0), "exit code of the rollback");
    check!(first < Duration::from_secs(5), "the first answer of v1 came after {first:?}");
    check_eq!(browser::get(edge, "hello.localhost", "/")?.version(), "v1", "after the rollback");
    Ok(())
}
