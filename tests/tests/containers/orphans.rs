//! Containers that nobody wants, and containers that are nobody's business.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::engines::Placed;
use temps_tests::machine::Stranger;
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, check_eq, wait};

/// Looks so often that it sees a container between its creation and its start.
fn first_new(cluster: &Cluster, known: &BTreeSet<String>, runs: bool) -> Result<Placed> {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let all = cluster.containers_of("orphan")?;
        let is_it = |one: &Placed| !known.contains(&one.container.id) && (!runs || one.container.runs());
        if let Some(found) = all.into_iter().find(is_it) {
            return Ok(found);
        }
    }
    Err(Trouble::new("no new container came"))
}

/// The server is killed right after it has created, started or judged a container: it finds it again, and nothing
/// is there twice.
pub(crate) fn killed_agent(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("orphan", "v0")?)?;
    for moment in ["created", "started", "healthy"] {
        let known = cluster.containers_of("orphan")?.into_iter().map(|placed| placed.container.id).collect();
        let number = cluster.deploy_detached(&App::named("orphan", moment)?)?;
        let mut node = first_new(cluster, &known, moment != "created")?.node;
        if moment == "healthy" {
            let deployment =
                cluster.await_deployment(number, "to be healthy", DEPLOYMENT, |d| d.has("healthy"))?;
            let event = deployment.events.iter().find(|event| event.kind == "healthy");
            node = cluster.place_of(&event.map(|event| event.node.clone()).unwrap_or_default())?;
        }
        cluster.nodes[node].kill()?;
        wait::nap(Duration::from_secs(1))?;
        cluster.nodes[node].restart()?;
        let deployment = cluster.await_end(number, DEPLOYMENT)?;
        check_eq!(deployment.phase, "succeeded", "{moment}\n{}", deployment.story());
        check_eq!(deployment.count("starting"), 3, "{moment}\n{}", deployment.story());
        cluster.heal()?;
        cluster.settled("orphan", 3, moment)?;
        cluster.nothing_left_over("orphan", 3, Duration::from_secs(30))?;
    }
    Ok(())
}

/// What carries our labels and is not wanted goes, soon; what does not carry them, or another cluster's, stays.
pub(crate) fn strangers(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("orphan", "v1")?.set("processes.web.instances", 1)?)?;
    let all = cluster.containers_of("orphan")?;
    let Placed { node, container } = all.first().ok_or_else(|| Trouble::new("nothing runs"))?;
    let engine = cluster.engine(*node)?;
    let mut ours: Vec<(&str, &str)> =
        container.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in &mut ours {
        if *name == "dev.temps.instance" {
            *value = "i999999";
        }
    }
    let theirs: Vec<(&str, &str)> = ours
        .iter()
        .map(|(name, value)| (*name, if *name == "dev.temps.cluster" { "0123456789ab" } else { *value }))
        .collect();
    let cluster_id = container.label("cluster");
    check!(!cluster_id.is_empty(), "no label tells the cluster: {:?}", container.labels);
    let name = format!("temps-{cluster_id}-i999999");
    let make = |name: &str, labels: &[(&str, &str)]| -> Result<String> {
        let id = engine.create(&Stranger { name, image: &container.image, labels, ..Stranger::default() })?;
        engine.start_container(&id)?;
        Ok(id)
    };
    let bare = make("somebodys-database", &[])?;
    let other = make("temps-0123456789ab-i1", &theirs)?;
    let orphan = make(&name, &ours)?;
    let is_there = |id: &str| engine.containers().is_ok_and(|all| all.iter().any(|one| one.id == id));
    let gone = wait::until("the orphan to be removed", Duration::from_secs(30), || !is_there(&orphan));
    let stay = [&bare, &other]
        .map(|id| engine.containers().is_ok_and(|all| all.iter().any(|one| one.id == *id && one.runs())));
    for id in [&bare, &other, &orphan] {
        engine.remove(id)?;
    }
    gone?;
    check_eq!(stay, [true, true], "strangers that still run");
    cluster.settled("orphan", 1, "v1")
}
