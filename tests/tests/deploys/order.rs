//! One order for everybody, and the cluster as the owner of a deployment.

use std::time::Duration;

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::{Deployment, list, number_in};
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, check_eq, wait};

fn numbers(cluster: &Cluster) -> Result<Vec<u64>> {
    let shown = cluster.cli().json(&["deployments", "list", "-p", "hello"])?;
    Ok(list(&shown, "deployments").iter().filter_map(|d| number_in(d).ok()).collect())
}

/// Two at once, sent to two nodes: the higher number is live at the end.
pub(crate) fn later_wins(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v0")?)?;
    for round in 0..3 {
        let pair = [(0, format!("a{round}")), (1, format!("b{round}"))];
        let mut sent = Vec::new();
        for (node, version) in pair {
            let bundle = cluster.write(&App::quick(&version)?)?;
            let cli = cluster.cli_at(&[node]);
            sent.push(std::thread::spawn(move || {
                let accepted = cli.json(&["deploy", "-p", "hello", &bundle, "-y", "--detach"])?;
                Ok::<_, Trouble>((number_in(&accepted)?, version))
            }));
        }
        let mut accepted = Vec::new();
        for thread in sent {
            accepted.push(thread.join().map_err(|_| Trouble::new("a client panicked"))??);
        }
        accepted.sort();
        let mut ends: Vec<Deployment> = Vec::new();
        for (number, _) in &accepted {
            ends.push(cluster.await_end(*number, DEPLOYMENT)?);
        }
        let loser = &ends[0];
        check!(matches!(loser.phase.as_str(), "succeeded" | "superseded"), "{}", loser.story());
        check_eq!(ends[1].phase, "succeeded", "{}", ends[1].story());
        cluster.settled("hello", 3, &accepted[1].1)?;
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
