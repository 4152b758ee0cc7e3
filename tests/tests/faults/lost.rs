//! A node whose server stays away for longer than its lease.

use std::time::Duration;

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// A lease that tests can wait for; elections take less than half of it.
const LEASE: &str = "3s";

/// The rollout goes on without the node, its edge serves through it by an old table, and when it returns
/// nothing is left of the old release and nothing is too many.
pub(crate) fn for_longer_than_its_lease(shared: &mut Cluster) -> Result {
    let mut cluster = Cluster::start_with(shared.ground(), 3, LEASE)?;
    cluster.deploy_well(&App::quick("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let away = (cluster.leader()? + 1) % 3;
    let name = cluster.nodes[away].name.clone();
    cluster.nodes[away].kill()?;

    let there: Vec<usize> = (0..3).filter(|i| *i != away).collect();
    let bundle = cluster.write(&App::quick("v2")?)?;
    let ran = cluster.cli_at(&there).run(&["deploy", "-p", "hello", &bundle, "-y"])?;
    check_eq!(ran.code, 0, "{ran:#?}");
    check!(ran.stderr.contains(&format!("Node {name} lost")), "nobody was told: {}", ran.stderr);
    // The old table alone has to carry the edge of the lost node for a while.
    wait::nap(Duration::from_secs(3))?;

    cluster.heal()?;
    cluster.settled("hello", 3, "v2")?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    cluster.close()
}
