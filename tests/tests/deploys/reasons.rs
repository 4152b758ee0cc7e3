//! Why an instance is there, and why another is not any more.

use std::collections::BTreeSet;
use std::time::Duration;

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::trouble::{Context, Result};
use temps_tests::{check, check_eq, faults, wait};

/// What every node tells of it.
fn told(cluster: &Cluster, instance: &str) -> Result<String> {
    let told = |node| cluster.cli_at(&[node]).text(&["deployments", "why", instance]);
    let first = told(0)?;
    for node in 1..cluster.nodes.len() {
        let same = || told(node).is_ok_and(|other| other == first);
        wait::until("the same story of each node", Duration::from_secs(10), same).context(&first)?;
    }
    Ok(first)
}

/// The instances that serve.
fn serving(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let serving = cluster.instances("reasons")?.into_iter().filter(|i| i.state == "serving");
    Ok(serving.map(|i| i.id).collect())
}

/// Of a rollout, a crash and a smaller number.
pub(crate) fn why(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("reasons", "v1")?)?;
    let first = cluster.instances("reasons")?[0].id.clone();
    let deployment = cluster.deploy_well(&App::named("reasons", "v2")?)?;
    let story = told(cluster, &first)?;
    for decision in [
        "Started on ",
        "Withdrawn, it gets no new requests: another takes its place in step ",
        &format!("of deployment #{} (rolling)", deployment.number),
        "Asked to end: nothing was in flight any more",
    ] {
        check!(story.contains(decision), "{decision:?} is missing\n{story}");
    }

    let before = serving(cluster)?;
    let victim = before.first().cloned().unwrap_or_default();
    faults::slay(cluster.application(&victim)?)?;
    let with_another = wait::find("another in its place", DEPLOYMENT, || {
        serving(cluster).ok().filter(|now| now.len() == 3 && !now.contains(&victim))
    })?;
    for newest in with_another.difference(&before) {
        let story = told(cluster, newest)?;
        check!(story.contains(&format!("in place of {victim}, which ended by itself")), "{story}");
    }

    cluster.cli().text(&["scale", "web=2", "-p", "reasons"])?;
    cluster.settled("reasons", 2, "v2")?;
    let fewer = serving(cluster)?;
    for gone in with_another.difference(&fewer) {
        let story = told(cluster, gone)?;
        check!(story.contains("fewer are wanted"), "{story}");
    }

    let unknown = cluster.cli().run(&["deployments", "why", "i999999"])?;
    check_eq!(unknown.code, 1, "{unknown:#?}");
    check!(unknown.stderr.contains("i999999"), "{unknown:#?}");
    Ok(())
}
