//! The promise itself: a rollout drops nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use temps_tests::app::App;
use temps_tests::browser::Browser;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::number_in;
use temps_tests::load::{Kind, Load, Mix};
use temps_tests::notes::Notes;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// Rollouts under load in one go.
const TIMES: usize = 2;

/// An application that speaks HTTP/2 alone: its health is asked in it, and it loses no request either.
pub(crate) fn http2(cluster: &mut Cluster) -> Result {
    let app =
        |version: &str| App::named("two", version)?.env("HTTP2", "yes")?.set("processes.web.protocol", "h2c");
    cluster.deploy_well(&app("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::short("two.localhost"));
    cluster.deploy_well(&app("v2")?)?;
    cluster.settled("two", 3, "v2")?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    check_eq!(report.app_errors, 0, "errors of the application");
    Ok(())
}

/// Deploys and rolls back under every kind of load; counts also what happened inside the application.
pub(crate) fn there_and_back(cluster: &mut Cluster) -> Result {
    let effects = Notes::open(cluster.outside())?;
    let app = |version: &str| App::quick(version)?.env("COUNT_TO", &effects.address());
    let first = cluster.deploy_well(&app("v1")?)?;
    let mix = Mix::everything("hello.localhost").and(Kind::Count, 15.0);
    let load = Load::start(cluster.edges(), mix);
    wait::nap(Duration::from_secs(1))?;
    for _ in 0..TIMES {
        let there = cluster.deploy_well(&app("v2")?)?;
        check_eq!(there.count("starting"), 3, "instances started\n{}", there.story());
        let to = first.number.to_string();
        let back = ["deployments", "rollback", "-p", "hello", "--to", &to, "-y", "--detach"];
        let back = number_in(&cluster.cli().json(&back)?)?;
        let back = cluster.await_end(back, DEPLOYMENT)?;
        check_eq!(back.phase, "succeeded", "the way back\n{}", back.story());
        check_eq!(back.count("starting"), 3, "instances started\n{}", back.story());
    }
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    check_eq!(report.app_errors, 0, "errors of the application");
    cluster.settled("hello", 3, "v1")?;
    // Each counted POST had its effect exactly once, whatever moved meanwhile.
    let lines = effects.lines();
    let effects: BTreeSet<&String> = lines.iter().collect();
    check_eq!(lines.len(), effects.len(), "effects happened twice");
    let sent: BTreeSet<String> = report.count_sent.iter().map(|n| format!("r{n}")).collect();
    check_eq!(
        effects.into_iter().collect::<Vec<_>>(),
        sent.iter().collect::<Vec<_>>(),
        "effects and requests"
    );
    Ok(())
}

/// An application that is gone within a millisecond of SIGTERM, and one that would tell of late requests.
pub(crate) fn no_late_request(cluster: &mut Cluster) -> Result {
    let log = Notes::open(cluster.outside())?;
    let app = |version: &str| App::quick(version)?.env("LOG_TO", &log.address());
    cluster.deploy_well(&app("v1")?.env("EXIT_ON_TERM", "300")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let mut kept: Vec<Browser> = Vec::new();
    for target in cluster.edges() {
        let mut browser = Browser::open(target.address, "hello.localhost")?;
        check_eq!(browser.get("/")?.version(), "v1", "before");
        kept.push(browser);
    }
    for version in ["v2", "v3"] {
        cluster.deploy_well(&app(version)?)?;
        for browser in &mut kept {
            check_eq!(browser.get("/")?.version(), version, "on a connection kept over the rollout");
            check!(!browser.is_closed(), "a client's connection was closed by the rollout");
        }
    }
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    let text = log.lines().join("\n");
    let signals = text.lines().filter(|line| line.contains("SIGTERM with"));
    check_eq!(signals.clone().count(), 6, "stop signals\n{text}");
    check!(signals.clone().all(|line| line.contains("with 0 requests")), "stopped while busy:\n{text}");
    check!(!text.contains("LATE"), "requests came after the stop signal:\n{text}");
    Ok(())
}
