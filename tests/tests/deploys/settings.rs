//! Settings that are kept in the cluster, and deploying again with them.

use std::collections::BTreeSet;

use serde_json::Value;
use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::deployment::{Deployment, number_in};
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq};

/// Deploys again what a deployment brought, and waits for the end.
fn again(cluster: &Cluster, number: u64) -> Result<(i32, Deployment)> {
    let ran = cluster.cli().run(&["deployments", "redeploy", &number.to_string(), "-y", "--json"])?;
    let number = number_in(&ran.json()?)?;
    Ok((ran.code, cluster.deployment(number)?))
}

/// A setting of the cluster, with its key, as `temps projects show` tells it.
fn shown(cluster: &Cluster, key: &str) -> Result<(Value, bool)> {
    let all = cluster.cli().json(&["projects", "show", "kept"])?;
    let settings = all.get("settings").and_then(Value::as_array).cloned().unwrap_or_default();
    let one = settings.into_iter().find(|setting| setting.get("key").and_then(Value::as_str) == Some(key));
    Ok((one.unwrap_or_default(), all.get("pending").and_then(Value::as_bool).unwrap_or(false)))
}

/// What is set changes nothing by itself; deployed again, instances are checked by it, and users notice nothing.
pub(crate) fn kept(cluster: &mut Cluster) -> Result {
    let first = cluster.deploy_well(&App::named("kept", "v1")?)?;
    let ids = |deployment: &Deployment| -> BTreeSet<String> {
        deployment.instances.iter().map(|instance| instance.id.clone()).collect()
    };
    let load = Load::start(cluster.edges(), Mix::everything("kept.localhost"));

    // The application has no such page: whoever is checked there never becomes healthy.
    cluster.cli().text(&["projects", "set", "kept", "health.path=/nowhere"])?;
    let (path, pending) = shown(cluster, "health.path")?;
    check!(pending, "what is set takes effect later: {path}");
    check_eq!(path.get("running").and_then(Value::as_str), Some("/up"), "{path}");
    let (code, failed) = again(cluster, first.number)?;
    check_eq!((code, failed.phase.as_str()), (3, "rolled_back"), "{}", failed.story());
    check!(failed.reason.contains("404"), "the reason names the answer at /nowhere: {}", failed.reason);

    // At a page that it has, all are replaced by the same release once more.
    cluster.cli().text(&["projects", "set", "kept", "health.path=/headers", "deploy.drain_timeout=20s"])?;
    let (code, second) = again(cluster, first.number)?;
    check_eq!((code, second.phase.as_str()), (0, "succeeded"), "{}", second.story());
    check!(ids(&first).is_disjoint(&ids(&second)), "new instances serve: {}", second.story());
    check_eq!(second.instances.len(), 3, "{}", second.story());
    let (path, pending) = shown(cluster, "health.path")?;
    check!(!pending, "it runs with what is set: {path}");
    check_eq!(path.get("running").and_then(Value::as_str), Some("/headers"), "{path}");
    check_eq!(path.get("file").and_then(Value::as_str), Some("/up"), "{path}");

    // Unset, the file decides again.
    cluster.cli().text(&[
        "projects",
        "set",
        "kept",
        "--unset",
        "health.path",
        "--unset",
        "deploy.drain_timeout",
    ])?;
    let (code, third) = again(cluster, second.number)?;
    check_eq!((code, third.phase.as_str()), (0, "succeeded"), "{}", third.story());
    let (path, _) = shown(cluster, "health.path")?;
    check_eq!(path.get("running").and_then(Value::as_str), Some("/up"), "{path}");

    let report = load.stop()?;
    check!(report.is_clean(), "{}\n{}", report.table(), second.story());
    check_eq!(report.versions_since(0).into_iter().collect::<Vec<_>>(), ["v1"], "versions that users saw");
    Ok(())
}
