//! Cables that are pulled.

use std::time::Duration;

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::number_in;
use temps_tests::ground::Ground;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// A leader that hears of nobody decides nothing; the others go on without it, and when it is back there is one
/// version.
pub(crate) fn cut_off_leader(_: &mut Cluster) -> Result {
    let mut cluster = Cluster::start_with(Ground::Docker, 3, "3s")?;
    cluster.deploy_well(&App::named("parted", "v1")?)?;
    let leader = cluster.leader()?;
    let rest: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    cluster.nodes[leader].machine()?.cut_off()?;
    wait::until("another leader", Duration::from_secs(20), || {
        cluster.leader_seen_by(&rest).is_some_and(|seen| seen != leader)
    })?;
    let alone = cluster.cli_on(leader)?.with("TEMPS_PATIENCE", "3s");
    let ran = alone.run(&["env", "set", "-p", "parted", "LOST=1"])?;
    check_eq!(ran.code, 8, "a write without a majority: {ran:#?}");

    let dir = cluster.write(&App::named("parted", "v2")?)?;
    let command = ["deploy", "-p", "parted", &dir, "-y", "--detach"];
    let number = number_in(&cluster.cli_at(&rest).json(&command)?)?;
    let shown = number.to_string();
    wait::until("the deployment without the old leader", DEPLOYMENT, || {
        let told = cluster.cli_at(&rest).json(&["deployments", "show", &shown]).unwrap_or_default();
        told.get("phase").is_some_and(|phase| phase == "succeeded")
    })?;
    cluster.nodes[leader].machine()?.reconnect()?;
    cluster.heal()?;
    cluster.settled("parted", 3, "v2")?;
    cluster.nothing_left_over("parted", 3, Duration::from_secs(30))?;
    let names = cluster.cli().json(&["env", "list", "-p", "parted"])?;
    check!(!names.to_string().contains("LOST"), "a write without a majority is there: {names}");
    cluster.close()
}
