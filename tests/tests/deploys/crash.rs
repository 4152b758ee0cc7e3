//! Instances that end by themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::Cluster;
use temps_tests::deployment::{list, number_in};
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, faults, wait};

use crate::judged::IN_TIME;

/// Healthy at first, then crashing again and again: one rollback, with the evidence.
pub(crate) fn crash_loop(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let app = App::quick("v2")?.set("rollback.watch", "20s")?.env("CRASH_AFTER_MS", "3000")?;
    let (ran, deployment) = cluster.deploy(&app)?;
    check_eq!(ran.code, 3, "exit code\n{}", deployment.story());
    check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
    check_eq!(deployment.count("reverting"), 1, "{}", deployment.story());
    check_eq!(deployment.count("ended"), 1, "{}", deployment.story());
    // Instances crash three seconds after they started, three of them at about the same time.
    check!(
        deployment.seconds < 10.0 + IN_TIME.as_secs_f64(),
        "{} s\n{}",
        deployment.seconds,
        deployment.story()
    );
    check!(deployment.reason.contains("exit code 1"), "{}", deployment.reason);
    check!(deployment.log_tail.iter().any(|l| l.contains("out of luck")), "{:?}", deployment.log_tail);
    check!(
        format!("{}{}", ran.stdout, ran.stderr).contains("out of luck"),
        "the command shows no log: {ran:#?}"
    );

    cluster.settled("hello", 3, "v1")?;
    let load = Load::start(cluster.edges(), Mix::short("hello.localhost"));
    wait::nap(Duration::from_secs(3))?;
    let report = load.stop()?;
    check!(report.is_clean(), "after the rollback: {}", report.table());
    check_eq!(report.versions_since(0).into_iter().collect::<Vec<_>>(), ["v1"], "after the rollback");
    let deployments = cluster.cli().json(&["deployments", "list", "-p", "hello"])?;
    let newest = list(&deployments, "deployments").iter().filter_map(|d| number_in(d).ok()).max();
    check_eq!(newest, Some(deployment.number), "nothing was deployed again by itself");
    Ok(())
}

/// A crash outside a deployment costs no deployment: another instance takes the place.
pub(crate) fn replaced(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let before = cluster.instances("hello")?;
    let page = browser::get(cluster.nodes[0].shape.edge, "hello.localhost", "/")?;
    let victim = page.header("x-instance").to_owned();
    faults::slay(cluster.application(&victim)?)?;
    wait::until("three instances without the dead one", Duration::from_secs(30), || {
        let now = cluster.instances("hello").unwrap_or_default();
        now.len() == 3 && now.iter().all(|i| i.state == "serving" && i.id != victim)
    })?;
    let after = cluster.instances("hello")?;
    let ids =
        |all: &[temps_tests::deployment::Instance]| all.iter().map(|i| i.id.clone()).collect::<BTreeSet<_>>();
    check_eq!(ids(&before).intersection(&ids(&after)).count(), 2, "the other two stay: {after:?}");
    Ok(())
}
