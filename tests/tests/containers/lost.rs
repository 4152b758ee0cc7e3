//! Machines that are gone while something depends on them.

use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::{Deployment, number_in};
use temps_tests::ground::Ground;
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, check_eq, wait};

/// The node that built, or builds, the image of a deployment.
fn builder(cluster: &Cluster, deployment: &Deployment) -> Result<usize> {
    let event = deployment.events.iter().rfind(|event| event.kind == "building");
    let event = event.ok_or_else(|| Trouble::new(format!("nothing was built: {}", deployment.story())))?;
    cluster.place_of(event.text.rsplit(' ').next().unwrap_or_default())
}

/// A build whose machine dies goes on elsewhere. A rollback whose image was made on a machine that is gone works
/// from the other copy, and serves within seconds.
pub(crate) fn builder_and_source(_: &mut Cluster) -> Result {
    let mut cluster = Cluster::start_with(Ground::Docker, 3, "3s")?;
    let first = cluster.deploy_well(&App::quick("v1")?)?;
    let slow = App::quick("v2")?.build_step("ENV MIGRATE_MS=8000\nRUN [\"/hello\", \"migrate\"]");
    let number = cluster.deploy_detached(&slow)?;
    let building = cluster.await_deployment(number, "to be building", DEPLOYMENT, |d| d.has("building"))?;
    let lost = builder(&cluster, &building)?;
    wait::nap(Duration::from_secs(1))?;
    cluster.lose(lost)?;
    let deployment = await_end(&cluster, lost, number)?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    check_eq!(deployment.count("building"), 2, "{}", deployment.story());
    check!(builder(&cluster, &deployment)? != lost, "{}", deployment.story());
    cluster.heal()?;
    cluster.settled("hello", 3, "v2")?;

    let source = builder(&cluster, &first)?;
    let rest: Vec<usize> = (0..3).filter(|node| *node != source).collect();
    cluster.lose(source)?;
    let up = || {
        let status = cluster.cli_at(&rest).json(&["cluster", "status"]).unwrap_or_default();
        temps_tests::deployment::list(&status, "nodes").iter().filter(|n| n["status"] == "up").count()
    };
    wait::until("the node to be lost", Duration::from_secs(30), || up() == 2)?;
    let begun = Instant::now();
    let to = first.number.to_string();
    let back = ["deployments", "rollback", "-p", "hello", "--to", &to, "-y", "--detach"];
    let number = number_in(&cluster.cli_at(&rest).json(&back)?)?;
    let edge = cluster.nodes[rest[0]].shape.edge;
    let first_answer = wait::find("the old version", Duration::from_secs(20), || {
        let page = browser::get(edge, "hello.localhost", "/").ok()?;
        (page.version() == "v1").then(|| begun.elapsed())
    })?;
    check!(first_answer < Duration::from_secs(5), "the first answer of v1 came after {first_answer:?}");
    check_eq!(await_end(&cluster, source, number)?.phase, "succeeded", "the rollback");
    cluster.heal()?;
    cluster.settled("hello", 3, "v1")?;
    cluster.close()
}

/// Waits for a deployment's end without asking the node that is gone.
fn await_end(cluster: &Cluster, gone: usize, number: u64) -> Result<Deployment> {
    let rest: Vec<usize> = (0..3).filter(|node| *node != gone).collect();
    wait::find("the end of the deployment", DEPLOYMENT, || {
        let told = cluster.cli_at(&rest).json(&["deployments", "show", &number.to_string()]).ok()?;
        Deployment::read(&told).ok().filter(|deployment| deployment.ended)
    })
}
