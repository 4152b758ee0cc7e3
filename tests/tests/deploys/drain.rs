//! What happens to those who do not leave in time.

use temps_tests::app::App;
use temps_tests::browser::Browser;
use temps_tests::check;
use temps_tests::check_eq;
use temps_tests::cluster::Cluster;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::{Result, Trouble};

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

/// A request that outlasts the drain timeout is cut, and the timeline says so.
pub(crate) fn cut(cluster: &mut Cluster) -> Result {
    let app = |version: &str| App::quick(version)?.set("deploy.drain_timeout", "1s");
    cluster.deploy_well(&app("v1")?)?;
    let edge = cluster.nodes[0].shape.edge;
    let slow = std::thread::spawn(move || {
        let mut browser = Browser::open(edge, "hello.localhost")?;
        browser.get("/slow?ms=12000")
    });
    let deployment = cluster.deploy_well(&app("v2")?)?;
    let answer = slow.join().map_err(|_| Trouble::new("the client panicked"))?;
    let was_cut = answer.is_err() || answer.is_ok_and(|page| page.status == 502 || page.status == 503);
    check!(was_cut, "the request outlived its instance");
    let cut: Vec<_> = deployment.events.iter().filter(|e| e.kind == "drain_timed_out").collect();
    check!(cut.len() == 1 && cut[0].text.contains("1 connection"), "{}", deployment.story());
    Ok(())
}
