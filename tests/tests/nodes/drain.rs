//! Everything that runs on a node moves elsewhere.

use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// How long a node may take to become empty, on a busy machine.
const LIMIT: Duration = DEPLOYMENT;

/// One node after the other, the leader's first, under everything that the load knows.
pub(crate) fn under_load(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let leader = cluster.leader()?;
    for i in (0..3).map(|i| (leader + i) % 3) {
        let name = cluster.nodes[i].name.clone();
        let ran = cluster.cli().run(&["nodes", "drain", &name, "--timeout", "100s"])?;
        check_eq!(ran.code, 0, "{ran:#?}");
        check!(ran.stdout.contains(&format!("Nothing is left on {name}")), "{ran:#?}");
        let there = cluster.instances("hello")?;
        check!(there.iter().all(|instance| instance.node != name), "still there: {there:?}");
        let node = cluster.cli().json(&["nodes", "show", &name])?;
        check_eq!(node["drained"], true, "{node}");
        cluster.settled("hello", 3, "v1")?;
        cluster.cli().text(&["nodes", "uncordon", &name])?;
    }
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// The rollout goes on on the other nodes, and the node is empty when both are done.
pub(crate) fn during_a_rollout(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v2")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let number = cluster.deploy_detached(&App::quick("v3")?)?;
    let name = cluster.nodes[1].name.clone();
    let ran = cluster.cli().run(&["nodes", "drain", &name, "--timeout", "100s"])?;
    check_eq!(ran.code, 0, "{ran:#?}");
    let deployment = cluster.await_end(number, LIMIT)?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    let told = deployment.story();
    check!(told.contains(&format!("Node {name} draining")), "nobody was told: {told}");
    cluster.settled("hello", 3, "v3")?;
    let there = cluster.instances("hello")?;
    check!(there.iter().all(|instance| instance.node != name), "still there: {there:?}");
    cluster.cli().text(&["nodes", "uncordon", &name])?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// It ends on its node before it begins elsewhere.
pub(crate) fn exclusive(cluster: &mut Cluster) -> Result {
    let app = App::named("single", "v1")?
        .set("processes.web.instances", 1)?
        .set("processes.web.exclusive", true)?
        .set("deploy.drain_timeout", "2s")?;
    cluster.deploy_well(&app)?;
    let before = cluster.instances("single")?;
    check_eq!(before.len(), 1, "{before:?}");
    let name = before[0].node.clone();
    cluster.cli().text(&["nodes", "drain", &name, "--detach"])?;
    let until = Instant::now() + LIMIT;
    loop {
        let running = cluster.applications("single").len();
        check!(running <= 1, "{running} run at once");
        let now = cluster.instances("single")?;
        if now.iter().any(|i| i.node != name && i.state == "serving") {
            break;
        }
        check!(Instant::now() < until, "it does not move: {now:?}");
        wait::nap(Duration::from_millis(20))?;
    }
    cluster.settled("single", 1, "v1")?;
    cluster.cli().text(&["nodes", "uncordon", &name])?;
    Ok(())
}
