//! The traffic does not need the cluster's mind.

use std::time::Duration;

use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::Cluster;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, faults, wait};

/// Two of three servers down: every edge serves on, a write says why it cannot be, and it heals alone.
pub(crate) fn alone(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let before = cluster.instances("hello")?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let leader = cluster.leader()?;
    let left = (leader + 1) % 3;
    let down = [leader, (leader + 2) % 3];
    for i in down {
        cluster.nodes[i].kill()?;
    }
    let bundle = cluster.write(&App::quick("v2")?)?;
    let cli = cluster.cli_at(&[left]).with("TEMPS_PATIENCE", "3s");
    for write in [&["deploy", "-p", "hello", &bundle, "-y"][..], &["env", "set", "-p", "hello", "LOST=1"]] {
        let ran = cli.run(write)?;
        check_eq!(ran.code, 8, "exit code without a quorum: {ran:#?}");
        check!(ran.took < Duration::from_secs(10), "it took {:?} to say so", ran.took);
        check!(ran.stderr.contains("majority"), "it does not say why: {}", ran.stderr);
    }
    wait::nap(Duration::from_secs(3))?;
    cluster.heal()?;
    check_eq!(cluster.instances("hello")?, before, "instances");
    cluster.deploy_well(&App::quick("v3")?)?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// An edge that dies is started again and knows its routes, without help from a quorum.
pub(crate) fn edge(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let address = cluster.nodes[2].shape.edge;
    let old = cluster.nodes[2].edge_pid().unwrap_or_default();
    faults::slay(old)?;
    wait::until("the edge to answer again", Duration::from_secs(10), || {
        browser::get(address, "hello.localhost", "/").is_ok_and(|page| page.version() == "v1")
    })?;
    check!(cluster.nodes[2].edge_pid() != Some(old), "the dead edge answers");
    cluster.deploy_well(&App::quick("v2")?)?;
    Ok(())
}

/// All servers stop at once and return: everything is as it was, and nothing was restarted.
pub(crate) fn all_down(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let before = cluster.instances("hello")?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    for node in &mut cluster.nodes {
        node.kill()?;
    }
    wait::nap(Duration::from_secs(2))?;
    cluster.heal()?;
    wait::nap(Duration::from_secs(2))?;
    check_eq!(cluster.instances("hello")?, before, "instances");
    cluster.deploy_well(&App::quick("v2")?)?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}
