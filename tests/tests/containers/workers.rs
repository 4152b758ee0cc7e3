//! Processes without HTTP.

use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::ground::Ground;
use temps_tests::notes::Notes;
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, check_eq, wait};

/// A web process and a worker of which there must never be two.
fn app(project: &str, version: &str, notes: &Notes) -> Result<App> {
    App::named(project, version)?
        .set("processes.web.instances", 1)?
        .set("processes.worker.command", "/hello worker")?
        .set("processes.worker.instances", 1)?
        .set("processes.worker.order", "stop_first")?
        .set("processes.worker.exclusive", true)?
        .set("processes.worker.drain_timeout", "15s")?
        .env("LOG_TO", &notes.address())?
        .env("JOB_MS", "1500")
}

/// Workers of a project that run now.
fn workers(cluster: &Cluster, project: &str) -> Result<Vec<usize>> {
    let all = cluster.containers_of(project)?;
    let works = all.iter().filter(|one| one.container.runs() && one.container.label("process") == "worker");
    Ok(works.map(|one| one.node).collect())
}

/// The old one finishes the job that it has begun, and is gone before the new one begins its first.
pub(crate) fn handed_over(cluster: &mut Cluster) -> Result {
    let notes = Notes::open(cluster.outside())?;
    cluster.deploy_well(&app("jobs", "v1", &notes)?)?;
    wait::until("a job", Duration::from_secs(10), || notes.count("job 2 begun") > 0)?;
    let number = cluster.deploy_detached(&app("jobs", "v2", &notes)?)?;
    let mut most = 0;
    let until = Instant::now() + DEPLOYMENT;
    while !cluster.deployment(number)?.ended {
        most = most.max(workers(cluster, "jobs")?.len());
        check!(Instant::now() < until, "the deployment does not end");
    }
    let deployment = cluster.deployment(number)?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    check_eq!(most, 1, "workers at a time");
    let lines = notes.lines();
    let of_v1 =
        |end: &str| lines.iter().filter(|line| line.starts_with("v1 ") && line.ends_with(end)).count();
    let (begun, done) = (of_v1(" begun"), of_v1(" done"));
    check_eq!(begun, done, "jobs that were begun and not finished: {lines:?}");
    let last = lines.iter().rposition(|line| line.starts_with("v1 ") && line.contains("no job left"));
    let first = lines.iter().position(|line| line.starts_with("v2 ") && line.contains("job 1 begun"));
    check!(last.is_some() && last < first, "they worked at the same time: {lines:?}");
    Ok(())
}

/// Staying up is not enough where the file names a check.
pub(crate) fn checked(cluster: &mut Cluster) -> Result {
    let notes = Notes::open(cluster.outside())?;
    let app = |version: &str| app("judged", version, &notes)?.set("processes.worker.check", "/hello check");
    cluster.deploy_well(&app("v1")?)?;
    let ill = app("v2")?.env("CHECK_EXIT", "4")?.set("health.start_period", "1s")?;
    let (ran, deployment) = cluster.deploy(&ill)?;
    check_eq!(ran.code, 3, "exit code\n{}", deployment.story());
    check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
    wait::until("the old worker", Duration::from_secs(20), || {
        workers(cluster, "judged").is_ok_and(|all| all.len() == 1)
            && notes
                .lines()
                .iter()
                .rfind(|line| line.contains("job"))
                .is_some_and(|line| line.starts_with("v1 "))
    })
}

/// Its node hears of nobody: it stops before another is started elsewhere.
pub(crate) fn cut_off(_: &mut Cluster) -> Result {
    let mut cluster = Cluster::start_with(Ground::Docker, 3, "3s")?;
    // Lines cannot be told over a cable that is pulled, so nobody listens for them.
    let nobody = Notes::open(cluster.outside())?;
    let app = app("alone", "v1", &nobody)?.set("processes.worker.drain_timeout", "1s")?.env("LOG_TO", "")?;
    cluster.deploy_well(&app)?;
    let there = workers(&cluster, "alone")?;
    let node = *there.first().ok_or_else(|| Trouble::new("no worker runs"))?;
    cluster.nodes[node].machine()?.cut_off()?;
    let until = Instant::now() + Duration::from_secs(40);
    let mut now = there;
    // Engines are asked through their sockets here, which no cable carries.
    while now.is_empty() || now.contains(&node) {
        check!(now.len() <= 1, "workers on the nodes {now:?}");
        check!(Instant::now() < until, "no other worker was started: {now:?}");
        now = workers(&cluster, "alone")?;
    }
    check_eq!(now.len(), 1, "workers");
    cluster.heal()?;
    wait::until("one worker", Duration::from_secs(20), || {
        workers(&cluster, "alone").is_ok_and(|all| all.len() == 1)
    })?;
    cluster.close()
}
