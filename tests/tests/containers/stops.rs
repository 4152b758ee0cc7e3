//! Ends, and whose fault they are.

use std::time::Duration;

use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::load::{Load, Mix};
use temps_tests::notes::Notes;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, faults, hands, wait};

/// Who needs time to end gets it, longer than an engine's own patience, and ends by itself.
pub(crate) fn long_goodbye(cluster: &mut Cluster) -> Result {
    let notes = Notes::open(cluster.outside())?;
    let app = |version: &str| {
        App::named("slowly", version)?
            .set("processes.web.instances", 1)?
            .set("deploy.stop_grace", "40s")?
            .set("deploy.deadline", "90s")?
            .env("EXIT_ON_TERM", "12000")?
            .env("LOG_TO", &notes.address())
    };
    cluster.deploy_well(&app("v1")?)?;
    let deployment = cluster.deploy_well(&app("v2")?)?;
    let killed =
        deployment.events.iter().filter(|e| e.kind == "removed" && e.text.contains("killed")).count();
    check_eq!(killed, 0, "{}", deployment.story());
    check_eq!(
        notes.count("v1 i"),
        notes.lines().iter().filter(|line| line.starts_with("v1 ")).count(),
        "names"
    );
    check!(
        notes.lines().iter().any(|line| line.starts_with("v1 ") && line.contains("work finished")),
        "it was not let finish: {:?}",
        notes.lines()
    );
    Ok(())
}

/// Beyond its memory the kernel ends it, and that is what the reason says.
pub(crate) fn out_of_memory(cluster: &mut Cluster) -> Result {
    let app = |version: &str| {
        App::named("hungry", version)?
            .set("processes.web.memory", "64M")?
            .set("processes.web.instances", 1)?
            .set("rollback.watch", "10s")?
            .set("rollback.crash_limit", 1)
    };
    cluster.deploy_well(&app("v1")?.set("rollback.watch", "1s")?)?;
    let (ran, deployment) = cluster.deploy(&app("v2")?.env("EAT_MEMORY_AFTER_MS", "1500")?)?;
    check_eq!(ran.code, 3, "exit code\n{}", deployment.story());
    check!(deployment.reason.contains("out of memory"), "the reason: {}", deployment.reason);
    cluster.settled("hungry", 1, "v1")
}

/// Removed, stopped or killed through the engine by somebody: replaced at once each time, and held against nobody.
pub(crate) fn removed_by_hand(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("handled", "v1")?.set("rollback.crash_limit", 1)?)?;
    for round in 0..3 {
        let node = round % cluster.nodes.len();
        let engine = cluster.engine(node)?;
        let Some(container) = hands::running(engine, "handled")? else {
            continue;
        };
        let id = container.id;
        match round {
            0 => engine.remove(&id)?,
            1 => engine.stop_container(&id)?,
            _ => {
                engine.stop_container(&id)?;
                engine.start_container(&id)?;
            }
        }
        let replaced = wait::until("another in its place", Duration::from_secs(15), || {
            let all = cluster.containers_of("handled").unwrap_or_default();
            all.iter().filter(|one| one.container.runs() && one.container.id != id).count() == 3
                && all.iter().all(|one| one.container.id != id)
        });
        replaced
            .map_err(|trouble| temps_tests::trouble::Trouble::new(format!("round {round}: {trouble}")))?;
        cluster.settled("handled", 3, "v1")?;
    }
    cluster.nothing_left_over("handled", 3, Duration::from_secs(30))
}

/// An engine that answers nothing for a while delays a deployment and fails nothing, and the node says so.
pub(crate) fn hung_engine(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("patient", "v1")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("patient.localhost"));
    let engine = &cluster.nodes[1].machine()?.engine;
    let pid = engine.pid().unwrap_or_default();
    faults::freeze(pid)?;
    let number = cluster.deploy_detached(&App::named("patient", "v2")?.set("deploy.deadline", "60s")?);
    let told = wait::until("the node to tell of its engine", Duration::from_secs(30), || {
        let nodes = cluster.cli().json(&["nodes", "list"]).unwrap_or_default();
        nodes.to_string().contains("engine") || nodes.to_string().contains("Docker")
    });
    faults::thaw(pid)?;
    let deployment = cluster.await_end(number?, DEPLOYMENT)?;
    let report = load.stop()?;
    told?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    check_eq!(deployment.count("starting"), 3, "{}", deployment.story());
    check!(report.is_clean(), "{}\n{}", report.table(), deployment.story());
    cluster.settled("patient", 3, "v2")
}

/// Engines that stop, and engines that are killed, while nobody deploys: the same containers serve on.
pub(crate) fn restarted_engine(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("steady", "v1")?)?;
    let before = cluster.instances("steady")?;
    let pids = cluster.applications("steady");
    let load = Load::start(cluster.edges(), Mix::everything("steady.localhost"));
    for node in 0..cluster.nodes.len() {
        let engine = &mut cluster.nodes[node].machine_mut()?.engine;
        if node == 0 {
            engine.stop()?
        } else {
            engine.kill()?
        }
        wait::nap(Duration::from_secs(2))?;
        cluster.nodes[node].machine_mut()?.engine.start()?;
    }
    wait::nap(Duration::from_secs(3))?;
    let report = load.stop()?;
    check_eq!(cluster.instances("steady")?, before, "instances");
    check_eq!(cluster.applications("steady"), pids, "processes");
    check!(report.is_clean(), "{}", report.table());
    // What ends while its engine is away is noticed when it is back.
    let engine = &mut cluster.nodes[2].machine_mut()?.engine;
    let victim = hands::running(engine, "steady")?;
    engine.kill()?;
    if let Some(container) = victim {
        faults::slay(engine.process_in(&container.id, "hello")?)?;
    }
    cluster.nodes[2].machine_mut()?.engine.start()?;
    cluster.settled("steady", 3, "v1")?;
    check_eq!(browser::get(cluster.nodes[2].shape.edge, "steady.localhost", "/")?.version(), "v1", "at last");
    Ok(())
}
