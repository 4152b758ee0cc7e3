//! What happens to those who do not leave in time.

use temps_tests::app::App;
use temps_tests::browser::Browser;
use temps_tests::cluster::Cluster;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq};

/// An application that ignores SIGTERM costs its grace and a warning, not the deployment.
pub(crate) fn stubborn(cluster: &mut Cluster) -> Result {
    let app = |version: &str| App::quick(version)?.set("deploy.stop_grace", "500ms");
    cluster.deploy_well(&app("v1")?.env("IGNORE_SIGTERM", "1")?)?;
    let load = Load::start(cluster.edges(), Mix::short("hello.localhost"));
    let deployment = cluster.deploy_well(&app("v2")?)?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    let warned = deployment.events.iter().filter(|e| e.kind == "removed" && e.text.contains("killed"));
    check_eq!(warned.count(), 3, "warnings\n{}", deployment.story());
    Ok(())
}

/// A stream that outlasts the drain timeout is cut, and the timeline says so.
pub(crate) fn cut(cluster: &mut Cluster) -> Result {
    let app = |version: &str| App::quick(version)?.set("deploy.drain_timeout", "1s");
    cluster.deploy_well(&app("v1")?)?;
    let edge = cluster.nodes[0].shape.edge;
    let stream = Browser::open(edge, "hello.localhost")?.listen("/sse")?;
    let deployment = cluster.deploy_well(&app("v2")?)?;
    let answer = stream.to_end();
    check!(answer.is_err(), "the stream ended as if it were complete: {answer:?}");
    let cut: Vec<_> = deployment.events.iter().filter(|e| e.kind == "drain_timed_out").collect();
    check!(cut.len() == 1 && cut[0].text.contains("1 connection"), "{}", deployment.story());
    Ok(())
}
