//! Releases that are healthy and bad all the same: their requests tell.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::Deployment;
use temps_tests::ground::Ground;
use temps_tests::load::{Kind, Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, faults, together, wait};

/// How long the release before serves, so that something is known of it.
const BEFORE: Duration = Duration::from_secs(8);

/// How soon enough requests were answered that anybody would call the release bad.
const ENOUGH: Duration = Duration::from_secs(3);

/// How much later it is taken back, at most.
pub(crate) const IN_TIME: Duration = Duration::from_secs(10);

/// It is watched for longer than any verdict takes.
fn watched(version: &str) -> Result<App> {
    App::quick(version)?.set("rollback.watch", "30s")
}

fn metrics(cluster: &Cluster, deployment: &Deployment) -> Result<Value> {
    cluster.cli().json(&["deployments", "metrics", &deployment.number.to_string()])
}

/// The number at a place of an object.
fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(u64::MAX)
}

/// Healthy releases whose requests fail or take too long go, with the numbers that tell why; nothing but what the
/// application itself did wrong failed.
pub(crate) fn taken_back(cluster: &mut Cluster) -> Result {
    for (version, name, value, reason) in [
        ("errs", "ERROR_FRACTION", "30", "error rate"),
        ("breaks", "RESET_FRACTION", "40", "broken off"),
        ("slow", "ANSWER_MS", "2500", "took longer than"),
    ] {
        cluster.deploy_well(&App::quick(&format!("before-{version}"))?)?;
        let load = Load::start(cluster.edges(), Mix::short("hello.localhost"));
        wait::nap(BEFORE)?;
        let sent = cluster.deploy_detached(&watched(version)?.env(name, value)?)?;
        let reaches =
            |kind: &str| cluster.await_deployment(sent, kind, DEPLOYMENT, |d| d.has(kind) || d.ended);
        reaches("admitted")?;
        let begun = Instant::now();
        reaches("reverting")?;
        let took = begun.elapsed();
        let deployment = cluster.await_end(sent, DEPLOYMENT)?;
        check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
        check!(took < ENOUGH + IN_TIME, "{took:?}\n{}", deployment.story());
        check!(deployment.reason.contains(reason), "{}", deployment.reason);
        check!(deployment.reason.contains("before"), "{}", deployment.reason);
        check_eq!(deployment.count("reverting"), 1, "{}", deployment.story());
        cluster.settled("hello", 3, &format!("before-{version}"))?;
        load.stop()?;
        let metrics = metrics(cluster, &deployment)?;
        check_eq!(number(&metrics, "/receipt/platform_caused"), 0, "{metrics:#}");
        check!(number(&metrics, "/before/0/requests") > 100, "{metrics:#}");
        let failed = number(&metrics, "/receipt/app_errors") + number(&metrics, "/receipt/reset");
        check!(version == "slow" || failed > 9, "{metrics:#}");
    }
    Ok(())
}

/// Projects, and deployments of each: a hundred in all where nothing has to be built.
fn deployments(ground: Ground) -> (usize, usize) {
    if ground == Ground::Docker { (2, 2) } else { (6, 17) }
}

/// Errors as rare as before are nobody's fault, however often one looks; how many there were is told.
pub(crate) fn noise(cluster: &mut Cluster) -> Result {
    let (projects, deployments) = deployments(cluster.ground());
    let cluster = &*cluster;
    together::all(projects, |n| noisy(cluster, &format!("noisy{n}"), deployments))
}

fn noisy(cluster: &Cluster, project: &str, deployments: usize) -> Result {
    let app = |n: usize| {
        let app = App::named(project, &format!("v{n}"))?.set("processes.web.instances", 1)?;
        app.set("rollback.watch", "3s")?.env("ERROR_FRACTION", "2")
    };
    cluster.deploy_well(&app(0)?)?;
    let load =
        Load::start(cluster.edges(), Mix::of(&format!("{project}.localhost"), vec![(Kind::KeepAlive, 15.0)]));
    wait::nap(BEFORE)?;
    for n in 1..=deployments {
        let deployment = cluster.deploy_well(&app(n)?)?;
        let judged = deployment.events.iter().find(|e| e.kind == "judged").map(|e| e.text.clone());
        let judged = judged.unwrap_or_default();
        check!(judged.starts_with("Error rate ") && judged.contains("within the limit of"), "{judged}");
        let metrics = metrics(cluster, &deployment)?;
        check_eq!(number(&metrics, "/receipt/platform_caused"), 0, "{metrics:#}");
        check!(number(&metrics, "/before/0/p95_ms") < 5_000, "{metrics:#}");
    }
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    check!(report.app_errors > 0, "nothing was noisy: {}", report.table());
    Ok(())
}

/// One error of two requests says nothing, and clients that leave are no errors.
pub(crate) fn undecided(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let app = watched("v2")?.set("rollback.watch", "4s")?.env("ERROR_FRACTION", "50")?;
    let number_of = cluster.deploy_detached(&app)?;
    cluster.await_deployment(number_of, "to be watched", Duration::from_secs(30), |d| d.has("watching"))?;
    let edge = cluster.nodes[0].shape.edge;
    for _ in 0..2 {
        browser::get(edge, "hello.localhost", "/")?;
    }
    let deployment = cluster.await_end(number_of, Duration::from_secs(30))?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    let judged = deployment.events.iter().find(|e| e.kind == "judged").map(|e| e.text.clone());
    check!(
        judged.is_some_and(|text| text.starts_with("Only 2 of the 20 requests")),
        "{}",
        deployment.story()
    );

    let number_of = cluster.deploy_detached(&watched("v3")?.set("rollback.watch", "8s")?)?;
    cluster.await_deployment(number_of, "to be watched", Duration::from_secs(30), |d| d.has("watching"))?;
    for _ in 0..40 {
        let mut leaver = TcpStream::connect(edge)?;
        leaver.write_all(b"GET /slow?ms=2000 HTTP/1.1\r\nHost: hello.localhost\r\n\r\n")?;
        wait::nap(Duration::from_millis(50))?;
        drop(leaver);
        browser::get(edge, "hello.localhost", "/")?;
    }
    let deployment = cluster.await_end(number_of, Duration::from_secs(30))?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    let metrics = metrics(cluster, &deployment)?;
    let left = number(&metrics, "/after/0/aborted_by_client");
    check!((20..=40).contains(&left), "{left} left: {metrics:#}");
    check_eq!(number(&metrics, "/after/0/failed"), 0, "{metrics:#}");
    Ok(())
}

/// An instance that answers nothing any more, although it was healthy, takes its release back.
pub(crate) fn hangs(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let app = watched("v2")?.set("health.timeout", "500ms")?.set("health.start_period", "1s")?;
    let number_of = cluster.deploy_detached(&app)?;
    cluster.await_deployment(number_of, "to be watched", Duration::from_secs(30), |d| d.has("watching"))?;
    let hung = cluster.instances("hello")?.first().map(|i| i.id.clone()).unwrap_or_default();
    let pid = cluster.application(&hung)?;
    faults::freeze(pid)?;
    let begun = Instant::now();
    let caught =
        cluster.await_deployment(number_of, "reverting", DEPLOYMENT, |d| d.has("reverting") || d.ended);
    let took = begun.elapsed();
    let ended = cluster.await_end(number_of, DEPLOYMENT);
    faults::thaw(pid)?;
    let deployment = caught.and(ended)?;
    // Three checks that time out.
    check!(took < Duration::from_secs(3) + IN_TIME, "{took:?}\n{}", deployment.story());
    check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
    check!(deployment.reason.contains(&format!("health check of {hung}")), "{}", deployment.reason);
    cluster.settled("hello", 3, "v1")
}

/// What is kept warm is back without starting anything.
pub(crate) fn warm(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::short("hello.localhost"));
    wait::nap(BEFORE)?;
    let app = watched("v2")?.set("rollback.warm", true)?.env("ERROR_FRACTION", "60")?;
    let (ran, deployment) = cluster.deploy(&app)?;
    check_eq!(ran.code, 3, "{}", deployment.story());
    check_eq!(deployment.count("starting"), 3, "the new ones alone\n{}", deployment.story());
    let back = deployment.events.iter().position(|e| e.kind == "reverting").unwrap_or_default();
    check!(deployment.events[back..].iter().all(|e| e.kind != "starting"), "{}", deployment.story());
    load.stop()?;
    cluster.settled("hello", 3, "v1")
}
