//! What counts as healthy, and when it is judged.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq};

use crate::judged::IN_TIME;

/// Neither a redirect nor another good-looking status passes, and nobody follows a redirect.
pub(crate) fn only_the_expected_status(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let elsewhere = TcpListener::bind((cluster.outside(), 0))?;
    elsewhere.set_nonblocking(true)?;
    let location = format!("http://{}/ok", elsewhere.local_addr()?);
    let load = Load::start(cluster.edges(), Mix::short("hello.localhost"));
    for status in ["301", "302", "307", "304", "204", "401", "404", "500"] {
        let app = App::quick(&format!("ill-{status}"))?
            .set("health.start_period", "500ms")?
            .env("HEALTH_STATUS", status)?
            .env("LOCATION", &location)?;
        let (ran, deployment) = cluster.deploy(&app)?;
        check_eq!(ran.code, 3, "exit code with health status {status}");
        check_eq!(deployment.phase, "rolled_back", "{}", deployment.story());
        check!(deployment.reason.contains(status), "the reason names the status: {}", deployment.reason);
        let began = format!("starting ill-{status} on port");
        check!(deployment.log_tail.iter().any(|l| l.contains(&began)), "{:?}", deployment.log_tail);
        check_eq!(deployment.count("admitted"), 0, "{}", deployment.story());
        check!(
            deployment.seconds < 2.0 + IN_TIME.as_secs_f64(),
            "{} s\n{}",
            deployment.seconds,
            deployment.story()
        );
    }
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    check_eq!(report.versions_since(0).into_iter().collect::<Vec<_>>(), ["v1"], "versions that users saw");
    let visitor = elsewhere.accept().map(|_| ());
    check!(visitor.is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "a redirect was followed");
    Ok(())
}

/// Slow but good: a port that opens late, an answer that is 503 at first, a first check that times out.
pub(crate) fn slow_starts(cluster: &mut Cluster) -> Result {
    let starts = [
        ("late", "START_DELAY_MS", "2500"),
        ("warm", "WARM_UP_MS", "2500"),
        ("first", "FIRST_SLOW_MS", "1500"),
    ];
    for (version, name, value) in starts {
        let app = App::quick(version)?
            .set("project.name", "slow")?
            .set("processes.web.instances", 1)?
            .set("health.start_period", "10s")?
            .set("deploy.deadline", "30s")?
            .env(name, value)?;
        let begun = Instant::now();
        let deployment = cluster.deploy_well(&app)?;
        let took = begun.elapsed();
        check!(took < Duration::from_secs(10), "{version} waited out its start period: {took:?}");
        check_eq!(deployment.count("unhealthy"), 0, "{}", deployment.story());
    }
    Ok(())
}

/// Who exits while starting is not waited for.
pub(crate) fn exit_during_start(cluster: &mut Cluster) -> Result {
    let app = App::quick("v9")?
        .set("project.name", "early")?
        .set("health.start_period", "60s")?
        .set("deploy.deadline", "120s")?
        .env("START_DELAY_MS", "30000")?
        .env("CRASH_AFTER_MS", "500")?;
    let begun = Instant::now();
    let (ran, deployment) = cluster.deploy(&app)?;
    check!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    check_eq!(ran.code, 4, "exit code where there is nothing to go back to");
    check_eq!(deployment.phase, "failed", "{}", deployment.story());
    check!(deployment.reason.contains("exit code 1"), "{}", deployment.reason);
    check!(deployment.log_tail.iter().any(|l| l.contains("out of luck")), "{:?}", deployment.log_tail);
    Ok(())
}

/// A framework that knows its hosts accepts the check.
pub(crate) fn host(cluster: &mut Cluster) -> Result {
    let app = App::quick("v1")?.set("project.name", "picky")?.set("processes.web.instances", 1)?;
    cluster.deploy_well(&app.env("HEALTH_HOST", "picky.localhost")?)?;
    Ok(())
}
