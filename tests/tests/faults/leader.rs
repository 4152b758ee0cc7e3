//! The leader is no single point of anything.

use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::{Deployment, number_in};
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, faults, wait};

/// How long a killed server stays away.
const AWAY: Duration = Duration::from_secs(2);

/// Kills the leader's server once a deployment has such a line in its timeline, and starts it again.
fn kill_at(cluster: &mut Cluster, number: u64, kind: &str) -> Result {
    cluster.await_deployment(number, &format!("to be {kind}"), DEPLOYMENT, |d| d.has(kind) || d.ended)?;
    let leader = cluster.leader()?;
    cluster.nodes[leader].kill()?;
    wait::nap(AWAY)?;
    cluster.nodes[leader].restart()
}

/// Whatever the rollout was doing, the next leader goes on: nothing twice, nothing left out.
pub(crate) fn killed_at_every_phase(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v0")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    for kind in ["accepted", "starting", "healthy", "admitted", "draining", "drained", "removed", "watching"]
    {
        let version = format!("at-{kind}");
        let number = cluster.deploy_detached(&App::quick(&version)?)?;
        kill_at(cluster, number, kind)?;
        let deployment = cluster.await_end(number, DEPLOYMENT)?;
        check_eq!(deployment.phase, "succeeded", "killed at {kind}\n{}", deployment.story());
        for line in ["starting", "admitted", "draining", "drained", "removed", "ended"] {
            let expected = if line == "ended" { 1 } else { 3 };
            check_eq!(deployment.count(line), expected, "{line}, killed at {kind}\n{}", deployment.story());
        }
        check_eq!(deployment.started_twice(), Vec::<String>::new(), "killed at {kind}");
        cluster.heal()?;
        cluster.settled("hello", 3, &version)?;
    }
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// The same on the way back.
pub(crate) fn killed_during_a_rollback(cluster: &mut Cluster) -> Result {
    let first = cluster.deploy_well(&App::quick("v1")?)?;
    cluster.deploy_well(&App::quick("v2")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let to = first.number.to_string();
    let back = ["deployments", "rollback", "-p", "hello", "--to", &to, "-y", "--detach"];
    let number = number_in(&cluster.cli().json(&back)?)?;
    kill_at(cluster, number, "draining")?;
    let deployment: Deployment = cluster.await_end(number, DEPLOYMENT)?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    cluster.heal()?;
    cluster.settled("hello", 3, "v1")?;

    // A release that fails is taken back by the next leader, too.
    let number = cluster.deploy_detached(&App::quick("v3")?.env("NEVER_HEALTHY", "1")?)?;
    kill_at(cluster, number, "starting")?;
    let deployment = cluster.await_end(number, DEPLOYMENT)?;
    check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
    cluster.heal()?;
    cluster.settled("hello", 3, "v1")?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// One that never gets anywhere ends in time, with the reason, although two leaders die meanwhile; and every node
/// tells the same story of it.
pub(crate) fn late(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let app = App::quick("v2")?
        .set("health.unhealthy_threshold", 1_000)?
        .set("deploy.deadline", "8s")?
        .env("NEVER_HEALTHY", "1")?;
    let begun = Instant::now();
    let number = cluster.deploy_detached(&app)?;
    kill_at(cluster, number, "starting")?;
    kill_at(cluster, number, "starting")?;
    let deployment = cluster.await_end(number, DEPLOYMENT)?;
    check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
    check!(deployment.reason.contains("no newly healthy instance within 8s"), "{}", deployment.reason);
    // Deadlines stand still while nobody leads.
    check!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
    cluster.heal()?;
    cluster.settled("hello", 3, "v1")?;
    let number = number.to_string();
    let told = |node| cluster.cli_at(&[node]).text(&["deployments", "timeline", &number]);
    let first = told(0)?;
    check!(first.lines().count() > 4, "{first}");
    for node in 1..cluster.nodes.len() {
        check_eq!(told(node)?, first, "the timeline that {} tells", cluster.nodes[node].name);
    }
    cluster.deploy_well(&App::quick("v3")?).map(drop)
}

/// A leader that hangs for a while stops, starts and moves nothing, then or later.
pub(crate) fn frozen(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let before = cluster.instances("hello")?;
    let pids = cluster.applications("hello");
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let leader = cluster.leader()?;
    let pid = cluster.nodes[leader].server_pid().unwrap_or_default();
    faults::freeze(pid)?;
    let rest: Vec<usize> = (0..cluster.nodes.len()).filter(|i| *i != leader).collect();
    let elected = wait::find("another leader", Duration::from_secs(10), || {
        cluster.leader_seen_by(&rest).filter(|i| *i != leader)
    });
    let slept = wait::nap(Duration::from_secs(5));
    faults::thaw(pid)?;
    elected?;
    slept?;
    wait::until("the old leader to follow", Duration::from_secs(20), || {
        cluster.leader_seen_by(&[leader]).is_some_and(|i| i != leader)
    })?;
    wait::nap(Duration::from_secs(2))?;
    check_eq!(cluster.instances("hello")?, before, "instances");
    check_eq!(cluster.applications("hello"), pids, "processes");
    cluster.deploy_well(&App::quick("v2")?)?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}
