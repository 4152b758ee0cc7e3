//! What clients got over time, as any node tells it from the parts of all.

use std::time::Duration;

use serde_json::Value;
use temps_tests::app::App;
use temps_tests::browser::get;
use temps_tests::cluster::Cluster;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// How long something may take that takes seconds, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn history(cluster: &Cluster, node: usize) -> Result<Value> {
    cluster.cli_at(&[node]).json(&["metrics", "-p", "counted", "--step", "10s"])
}

/// Waits until a node tells of so many requests.
fn told(cluster: &Cluster, node: usize, requests: u64) -> Result<Value> {
    wait::find(&format!("{requests} requests in the history"), LIMIT, || {
        history(cluster, node).ok().filter(|history| history["total"]["requests"] == requests)
    })
}

fn ask(cluster: &Cluster, node: usize, times: usize) -> Result {
    for _ in 0..times {
        let page = get(cluster.nodes[node].shape.edge, "counted.localhost", "/")?;
        check_eq!(page.status, 200, "{page:?}");
    }
    Ok(())
}

fn sum<'a>(numbers: impl Iterator<Item = &'a Value>) -> u64 {
    numbers.filter_map(Value::as_u64).sum()
}

/// Requests through two nodes are all told, by each node, and none twice; also when a server was dead meanwhile.
pub(crate) fn exact(cluster: &mut Cluster) -> Result {
    let deployment = cluster.deploy_well(&App::named("counted", "v1")?)?;
    ask(cluster, 0, 20)?;
    ask(cluster, 1, 15)?;
    for node in 0..3 {
        let history = told(cluster, node, 35)?;
        check_eq!(history["missing"].as_array().map(Vec::len), Some(0), "{history}");
        check_eq!(history["total"]["failed"], 0, "{history}");
        let points = history["points"].as_array().cloned().unwrap_or_default();
        check_eq!(sum(points.iter().map(|point| &point["requests"])), 35, "{history}");
        let releases = history["releases"].as_array().cloned().unwrap_or_default();
        check_eq!(sum(releases.iter().map(|release| &release["requests"])), 35, "{history}");
        let markers = history["markers"].as_array().cloned().unwrap_or_default();
        let ended = |marker: &Value| marker["kind"] == "ended" && marker["deployment"] == deployment.number;
        check!(markers.iter().any(ended), "{history}");
    }

    // A server is killed: the others tell the rest and name it. Its edge counts on, and its successor tells that.
    cluster.nodes[1].kill()?;
    let name = cluster.nodes[1].name.clone();
    let rest = told(cluster, 0, 20)?;
    check_eq!(rest["missing"].as_array().map(Vec::len), Some(1), "{rest}");
    check_eq!(rest["missing"][0]["node"], name.as_str(), "{rest}");
    ask(cluster, 1, 7)?;
    cluster.heal()?;
    for node in 0..3 {
        let history = told(cluster, node, 42)?;
        check_eq!(history["missing"].as_array().map(Vec::len), Some(0), "{history}");
    }
    Ok(())
}
