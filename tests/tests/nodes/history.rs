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

/// What was in flight at most in each second at instances of a release, where that is known.
fn in_flight(history: &Value, release: u64) -> Vec<Option<u64>> {
    let of = |point: &Value| {
        let all = point["in_flight"].as_array()?;
        all.iter().find(|of| of["release"] == release)?["most"].as_u64()
    };
    history["points"].as_array().into_iter().flatten().map(of).collect()
}

/// A release is seen to drain, second by second and at every node: what it still has is in flight there until nothing
/// is, while the next one serves already.
pub(crate) fn drained(cluster: &mut Cluster) -> Result {
    let app = |version: &str| {
        let app = App::named("draining", version)?;
        app.set("deploy.drain_timeout", "30s")?.set("deploy.deadline", "60s")
    };
    let seconds = |cluster: &Cluster, node: usize| {
        cluster.cli_at(&[node]).json(&["metrics", "-p", "draining", "--since", "5m", "--step", "1s"])
    };
    let old = cluster.deploy_well(&app("v1")?)?.release;
    let edge = cluster.nodes[0].shape.edge;
    let ask = |ms: u64| {
        let path = format!("/slow?ms={ms}");
        std::thread::spawn(move || get(edge, "draining.localhost", &path).map_or(0, |page| page.status))
    };
    let slow = [4_000, 8_000, 12_000, 12_000].map(ask);
    wait::until("all four to be in flight", LIMIT, || {
        seconds(cluster, 0).is_ok_and(|history| in_flight(&history, old).contains(&Some(4)))
    })?;
    let new = cluster.deploy_well(&app("v2")?)?.release;
    for slow in slow {
        check_eq!(slow.join().unwrap_or_default(), 200, "a slow request");
    }
    for node in 0..3 {
        let history = wait::find("the old release to have nothing in flight", LIMIT, || {
            let last = |history: &Value| in_flight(history, old).into_iter().flatten().next_back();
            seconds(cluster, node).ok().filter(|history| last(history) == Some(0))
        })?;
        let (leaving, coming) = (in_flight(&history, old), in_flight(&history, new));
        check!(leaving.iter().flatten().all(|n| *n <= 4), "{leaving:?}");
        let drains = leaving.iter().skip_while(|n| **n != Some(4)).any(|n| matches!(n, Some(1..=3)));
        check!(drains, "it went from 4 to 0 at once: {leaving:?}");
        let both = leaving.iter().zip(&coming).any(|(old, new)| old.is_some_and(|n| n > 0) && new.is_some());
        check!(both, "{leaving:?}, {coming:?}");
    }
    Ok(())
}
