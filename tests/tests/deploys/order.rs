//! One order for everybody, and the cluster as the owner of a deployment.

use std::time::Duration;

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::{list, number_in};
use temps_tests::ground::Ground;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::{Context, Result};
use temps_tests::{check, check_eq, together, wait};

fn numbers(cluster: &Cluster) -> Result<Vec<u64>> {
    let shown = cluster.cli().json(&["deployments", "list", "-p", "hello"])?;
    Ok(list(&shown, "deployments").iter().filter_map(|d| number_in(d).ok()).collect())
}

/// Projects, and rounds for each of them: a hundred pairs in all where nothing has to be built.
fn rounds(ground: Ground) -> (usize, usize) {
    if ground == Ground::Docker { (2, 3) } else { (9, 12) }
}

/// Two commands at once, sent to two nodes, again and again: what was accepted later is live at the end.
pub(crate) fn later_wins(cluster: &mut Cluster) -> Result {
    let (projects, rounds) = rounds(cluster.ground());
    let cluster = &*cluster;
    together::all(projects, |n| pairs(cluster, &format!("pair{n}"), rounds))
}

/// A deployment together with another one, with a rollback, and with a change of the number of instances, in turns.
fn pairs(cluster: &Cluster, project: &str, rounds: usize) -> Result {
    let app = |version: &str| {
        App::named(project, version)?.set("processes.web.instances", 1)?.set("rollback.watch", "0s")
    };
    cluster.deploy_well(&app("first")?)?;
    cluster.deploy_well(&app("start")?)?;
    let (mut live, mut wanted) = ("start".to_owned(), 1);
    for round in 0..rounds {
        let what = format!("{project}, round {round}");
        // The one that is sent first takes longer.
        let slow = format!("slow{round}");
        let slow_bundle = cluster.write(&app(&slow)?.env("START_DELAY_MS", "400")?)?;
        let fast = format!("fast{round}");
        let fast_bundle = cluster.write(&app(&fast)?)?;
        let scaled = if wanted == 1 { 2 } else { 1 };
        let scale = format!("web={scaled}");
        let (second, then): (&[&str], _) = match round % 3 {
            0 => (&["deploy", "-p", project, &fast_bundle, "-y", "--json"], fast.as_str()),
            1 => (&["deployments", "rollback", "-p", project, "-y", "--json"], live.as_str()),
            _ => (&["scale", "-p", project, &scale, "--json"], slow.as_str()),
        };
        let first = ["deploy", "-p", project, &slow_bundle, "-y", "--json"];
        // Both commands follow what they began to its end.
        let (first, second) = together::both(
            || cluster.cli_at(&[round % 3]).run(&first)?.json(),
            || cluster.cli_at(&[(round + 1) % 3]).run(second)?.json(),
        )?;
        let mut numbers = vec![(number_in(&first)?, slow.as_str())];
        if round % 3 == 2 {
            wanted = scaled;
        } else {
            numbers.push((number_in(&second)?, then));
        }
        numbers.sort_unstable();
        for (place, (number, _)) in numbers.iter().enumerate() {
            let deployment = cluster.deployment(*number)?;
            let phase = deployment.phase.as_str();
            let superseded = place + 1 < numbers.len() && phase == "superseded";
            check!(superseded || phase == "succeeded", "{what}\n{}", deployment.story());
        }
        let version = numbers.last().map(|(_, version)| (*version).to_owned()).unwrap_or_default();
        cluster.settled(project, wanted, &version).context(&what)?;
        live = version;
    }
    Ok(())
}

/// What runs already is not started again.
pub(crate) fn no_change(cluster: &mut Cluster) -> Result {
    let app = App::quick("v1")?;
    cluster.deploy_well(&app)?;
    let before = cluster.instances("hello")?;
    let (ran, _) = cluster.deploy(&app)?;
    check_eq!(ran.code, 0, "exit code");
    check_eq!(cluster.instances("hello")?, before, "instances");
    Ok(())
}

/// Cancelled in its middle: the release before it is live, alone.
pub(crate) fn cancel(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let number = cluster.deploy_detached(&App::quick("v2")?.env("START_DELAY_MS", "500")?)?;
    cluster.await_deployment(number, "to be in its middle", DEPLOYMENT, |d| d.has("draining"))?;
    cluster.cli().text(&["deployments", "cancel", &number.to_string(), "-y"])?;
    let deployment = cluster.await_end(number, DEPLOYMENT)?;
    check_eq!(deployment.phase, "cancelled", "{}", deployment.story());
    cluster.settled("hello", 3, "v1")?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}\n{}", report.table(), deployment.story());
    Ok(())
}

/// The command is killed at each phase; the deployment ends by itself, and the next one starts normally.
pub(crate) fn orphaned(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    for (i, phase) in ["accepted", "starting", "draining"].iter().enumerate() {
        let version = format!("orphan-{i}");
        let bundle = cluster.write(&App::quick(&version)?)?;
        let before = numbers(cluster)?.into_iter().max().unwrap_or(0);
        let mut command = cluster.cli().start(&["deploy", "-p", "hello", &bundle, "-y"])?;
        let number = wait::find("the deployment", Duration::from_secs(30), || {
            numbers(cluster).ok()?.into_iter().find(|n| *n > before)
        })?;
        cluster.await_deployment(number, "to reach the phase", DEPLOYMENT, |d| d.has(phase))?;
        command.kill()?;
        command.wait()?;
        check_eq!(cluster.await_end(number, DEPLOYMENT)?.phase, "succeeded", "killed when {phase}");
        cluster.settled("hello", 3, &version)?;
    }
    Ok(())
}
