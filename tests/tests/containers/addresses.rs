//! Addresses that somebody else has now.

use std::time::Duration;

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, hands, wait};

const PROJECTS: [&str; 2] = ["mine", "yours"];

fn both(cluster: &Cluster) -> Result {
    for project in PROJECTS {
        cluster.deploy_well(&App::named(project, "v1")?)?;
    }
    Ok(())
}

fn loads(cluster: &Cluster) -> [Load; 2] {
    PROJECTS.map(|project| Load::start(cluster.edges(), Mix::short(&format!("{project}.localhost"))))
}

/// A container goes and another application answers at its address: nobody is sent there.
pub(crate) fn swapped(cluster: &mut Cluster) -> Result {
    both(cluster)?;
    let [mine, yours] = loads(cluster);
    let mut complete = 0;
    for node in 0..cluster.nodes.len() {
        let engine = cluster.engine(node)?;
        let Some(swap) = hands::swap(engine, PROJECTS, [&mine, &yours])? else {
            continue;
        };
        complete += usize::from(swap.complete);
        wait::nap(Duration::from_secs(2))?;
        swap.strangers.iter().try_for_each(|stranger| engine.remove(stranger))?;
    }
    for (load, project) in [(mine, PROJECTS[0]), (yours, PROJECTS[1])] {
        let report = load.stop()?;
        check_eq!(report.strangers(), 0, "answers of strangers for {project}: {}", report.table());
        check!(report.is_clean(), "{project}: {}", report.table());
        cluster.settled(project, 3, "v1")?;
    }
    check!(complete > 0, "no container got another's address");
    Ok(())
}

/// As after a reboot: all containers of a node stop, somebody starts them in another order, and the server comes
/// last. Until it is there nobody may answer, but never the wrong one.
pub(crate) fn rebooted(cluster: &mut Cluster) -> Result {
    both(cluster)?;
    let [mine, yours] = loads(cluster);
    cluster.nodes[1].kill()?;
    let engine = cluster.engine(1)?;
    let all: Vec<_> = engine.containers()?.into_iter().filter(|container| container.runs()).collect();
    all.iter().try_for_each(|container| engine.stop_container(&container.id))?;
    all.iter().rev().try_for_each(|container| engine.start_container(&container.id))?;
    wait::nap(Duration::from_secs(1))?;
    cluster.nodes[1].restart()?;
    cluster.heal()?;
    for (load, project) in [(mine, PROJECTS[0]), (yours, PROJECTS[1])] {
        cluster.settled(project, 3, "v1")?;
        let report = load.stop()?;
        check_eq!(report.strangers(), 0, "answers of strangers for {project}: {}", report.table());
        cluster.nothing_left_over(project, 3, Duration::from_secs(30))?;
    }
    Ok(())
}
