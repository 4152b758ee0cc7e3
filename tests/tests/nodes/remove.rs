//! A node leaves for good.

use std::time::Duration;

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::load::{Load, Mix};
use temps_tests::node::Node;
use temps_tests::trouble::{Context, Result};
use temps_tests::{check, check_eq, faults, hands, wait};

/// A lease that tests can wait for; elections take less than half of it.
const LEASE: &str = "3s";
/// How long something may take that takes seconds, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// The exit code of a server whose node was removed.
const REMOVED: i32 = 9;

/// What runs there, what is lost with it, and the last one.
pub(crate) fn refused(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("here", "v1")?)?;
    let name = cluster.nodes[1].name.clone();
    let ran = cluster.cli().run(&["nodes", "rm", &name, "-y"])?;
    check_eq!(ran.code, 6, "{ran:#?}");
    check!(ran.stderr.contains(&format!("drain it first: `temps nodes drain {name}`")), "{ran:#?}");
    let ran = cluster.cli().run(&["nodes", "rm", &name])?;
    check_eq!(ran.code, 2, "nobody agreed: {ran:#?}");

    // Nodes say what number they have; only one has this one.
    let bound = App::named("bound", "v1")?.set("placement.require", labels("1"))?;
    cluster.deploy_well(&bound)?;
    let ran = cluster.cli().run(&["nodes", "drain", "n1"])?;
    check_eq!(ran.code, 6, "{ran:#?}");
    check!(
        ran.stderr.contains("bound (production) cannot leave it: no other node has the labels number=1"),
        "{ran:#?}"
    );
    let node = cluster.cli().json(&["nodes", "show", "n1"])?;
    check_eq!(node["cordoned"], false, "{node}");

    let mut alone = Cluster::start_with(cluster.ground(), 1, LEASE)?;
    let ran = alone.cli().run(&["nodes", "rm", "n1", "-y", "--force"])?;
    check_eq!(ran.code, 6, "{ran:#?}");
    check!(ran.stderr.contains("n1 is the only node"), "{ran:#?}");
    check!(alone.nodes[0].is_up(), "it ended");
    alone.close()
}

fn labels(number: &str) -> toml::Value {
    toml::Value::Table([("number".to_owned(), number.into())].into_iter().collect())
}

/// It was away when it was removed: it is refused, and what it still runs ends. Its machine joins anew.
pub(crate) fn stale(shared: &mut Cluster) -> Result {
    let mut cluster = Cluster::start_with(shared.ground(), 3, LEASE)?;
    cluster.deploy_well(&App::quick("v1")?)?;
    let away = (cluster.leader()? + 1) % 3;
    let name = cluster.nodes[away].name.clone();
    cluster.nodes[away].kill()?;
    let lost = || cluster.cli().json(&["nodes", "show", &name]).is_ok_and(|node| node["status"] == "lost");
    wait::until("the node to be lost", SOON, lost)?;

    let mut node = cluster.nodes.remove(away);
    let refused = stays_away(&mut cluster, &mut node);
    node.clear()?;
    refused?;
    cluster.close()
}

fn stays_away(cluster: &mut Cluster, node: &mut Node) -> Result {
    let name = node.name.clone();
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let ran = cluster.cli().run(&["nodes", "rm", &name, "-y"])?;
    check_eq!(ran.code, 0, "{ran:#?}");
    check_eq!(cluster.nodes_up(), 2, "nodes");
    check!(!node.instance_pids().is_empty(), "its instances ended before it knew");

    node.restart()?;
    ends(node)?;
    check_eq!(left_of(node)?, Vec::<String>::new(), "left behind");
    // Nor does another start change anything.
    node.restart()?;
    ends(node)?;

    let members = cluster.cli().json(&["cluster", "status"])?;
    check_eq!(members["nodes"].as_array().map(Vec::len), Some(2), "{members}");
    cluster.deploy_well(&App::quick("v2")?)?;
    joins(cluster, "n4")?;
    cluster.settled("hello", 3, "v2")?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// Another node leads first; nobody notices but whoever asked.
pub(crate) fn leading(shared: &mut Cluster) -> Result {
    let mut cluster = Cluster::start_with(shared.ground(), 3, LEASE)?;
    cluster.deploy_well(&App::quick("v1")?)?;
    for left in [2, 1] {
        let leader = cluster.leader()?;
        let name = cluster.nodes[leader].name.clone();
        let others: Vec<usize> = (0..cluster.nodes.len()).filter(|i| *i != leader).collect();
        let load = Load::start(cluster.edges_of(&others), Mix::everything("hello.localhost"));
        let ran = cluster.cli().run(&["nodes", "drain", &name])?;
        check_eq!(ran.code, 0, "{ran:#?}");
        let ran = cluster.cli().run(&["nodes", "rm", &name, "-y"])?;
        check_eq!(ran.code, 0, "{ran:#?}");
        ends(&mut cluster.nodes[leader])?;
        let mut node = cluster.nodes.remove(leader);
        check_eq!(left_of(&node)?, Vec::<String>::new(), "left behind");
        node.clear()?;
        check_eq!(cluster.nodes_up(), left, "nodes");
        let ran = cluster.cli().run(&["scale", "web=3", "-p", "hello"])?;
        check_eq!(ran.code, 0, "nothing can be changed any more: {ran:#?}");
        cluster.settled("hello", 3, "v1")?;
        let report = load.stop()?;
        check!(report.is_clean(), "{}", report.table());
    }
    joins(&mut cluster, "n4")?;
    cluster.deploy_well(&App::quick("v2")?)?;
    cluster.close()
}

/// What a node still runs; its engine is the machine's.
fn left_of(node: &Node) -> Result<Vec<String>> {
    let processes = faults::processes_of(node.dir()).into_iter().map(|(_, line)| line);
    let mut left: Vec<String> = processes.filter(|line| !line.contains("-engine/")).collect();
    if let Ok(machine) = node.machine() {
        left.extend(hands::running(&machine.engine, "hello")?.map(|container| container.name));
    }
    Ok(left)
}

/// Its server ends by itself, says why, and with the code that says it, too.
fn ends(node: &mut Node) -> Result {
    wait::until("the removed node to end", SOON, || !node.is_up()).context(node.log_tail(20))?;
    let said = node.log_tail(20);
    check_eq!(node.exit_code(), Some(REMOVED), "{said}");
    check!(said.contains("this node was removed from its cluster"), "unclear: {said}");
    Ok(())
}

fn joins(cluster: &mut Cluster, name: &str) -> Result {
    let before = cluster.nodes_up();
    let token = cluster.join_token()?;
    let mut node = cluster.another(name, LEASE)?;
    let endpoint = cluster.nodes[0].shape.listen.to_string();
    node.launch(&["--join", &endpoint, "--token", &token])?;
    cluster.nodes.push(node);
    wait::until("another node", SOON, || cluster.nodes_up() == before + 1)
}
