//! The strategies other than rolling, and deployments that are directed by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use temps_tests::app::App;
use temps_tests::browser::{self, Browser};
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::Deployment;
use temps_tests::load::{Load, Mix};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};
use toml::{Table, Value};

/// The place of the first, or the last, line of a kind in a timeline.
fn place(deployment: &Deployment, kind: &str, last: bool) -> Option<usize> {
    let mut all = deployment.events.iter().enumerate().filter(|(_, event)| event.kind == kind);
    let found = if last { all.next_back() } else { all.next() };
    found.map(|(at, _)| at)
}

/// All new instances are ready before the first request goes to one; from then on none goes to an old one.
pub(crate) fn blue_green(cluster: &mut Cluster) -> Result {
    let app = |version: &str| App::quick(version)?.set("deploy.strategy", "blue_green");
    cluster.deploy_well(&app("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let deployment = cluster.deploy_well(&app("v2")?)?;
    let bad = cluster.deploy(&app("v3")?.env("NEVER_HEALTHY", "1")?)?.1;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    let story = deployment.story();
    let share = place(&deployment, "share", false);
    check!(share.is_some() && share > place(&deployment, "healthy", true), "{story}");
    check!(share < place(&deployment, "draining", false), "{story}");
    check_eq!(bad.phase, "rolled_back", "{}", bad.story());
    let seen: BTreeSet<&str> = report.versions_since(0);
    check_eq!(seen.into_iter().collect::<Vec<_>>(), ["v1", "v2"], "versions that users saw");
    cluster.settled("hello", 3, "v2")
}

/// A canary gets its share, its clients stay with it, and it waits where somebody says so.
pub(crate) fn canary(cluster: &mut Cluster) -> Result {
    let step = |weight: i64| {
        let step = [("weight", Value::Integer(weight)), ("hold", Value::from("10m"))];
        Value::Table(step.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Table>())
    };
    let tried_out = App::quick("v2")?
        .set("deploy.strategy", "canary")?
        .set("deploy.canary.steps", vec![step(10), step(50)])?
        .set("deploy.canary.sticky", "client")?;
    cluster.deploy_well(&App::quick("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    let number = cluster.deploy_detached(&tried_out)?;
    let id = number.to_string();
    let held = |shares: usize| {
        cluster.await_deployment(number, "to hold", DEPLOYMENT, |d| d.count("share") == shares)
    };
    held(1)?;
    let mut new = 0;
    for at in 0..300 {
        let edge = cluster.nodes[at % cluster.nodes.len()].shape.edge;
        new += usize::from(browser::get(edge, "hello.localhost", "/")?.version() == "v2");
    }
    check!((15..=45).contains(&new), "{new} of 300 requests went to the canary, which gets 10 %");
    let ask = |edge: usize, client: usize| -> Result<String> {
        let cookie = format!("theme=dark; client=c{client}");
        let edge = cluster.nodes[edge % cluster.nodes.len()].shape.edge;
        let page =
            Browser::open(edge, "hello.localhost")?.ask(Method::GET, "/", &[("cookie", &cookie)], "")?;
        Ok(page.version().to_owned())
    };
    let clients_of_new = || -> Result<BTreeSet<usize>> {
        let mut of_new = BTreeSet::new();
        for client in 0..100 {
            let version = ask(0, client)?;
            for edge in 1..4 {
                check_eq!(ask(edge, client)?, version.clone(), "client {client} at edge {edge}");
            }
            if version == "v2" {
                of_new.insert(client);
            }
        }
        Ok(of_new)
    };
    let first = clients_of_new()?;
    check!((2..=22).contains(&first.len()), "{} of 100 clients went to the canary", first.len());

    cluster.cli().text(&["deployments", "promote", &id])?;
    held(2)?;
    let second = clients_of_new()?;
    check!((35..=65).contains(&second.len()), "{} of 100 clients at 50 %", second.len());
    check!(first.is_subset(&second), "{:?} went back", first.difference(&second));

    cluster.cli().text(&["deployments", "pause", &id])?;
    let watched = cluster.cli().run(&["deployments", "watch", &id])?;
    check_eq!(watched.code, 4, "the exit code while it is paused: {}", watched.stderr);
    check!(watched.stderr.contains("resume"), "{}", watched.stderr);
    cluster.cli().text(&["deployments", "promote", &id, "--all"])?;
    let deployment = cluster.await_end(number, DEPLOYMENT)?;
    let report = load.stop()?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    check!(report.is_clean(), "{}\n{}", report.table(), deployment.story());
    let late = cluster.cli().run(&["deployments", "pause", &id])?;
    check_eq!(late.code, 6, "pausing what has ended: {}", late.stderr);
    cluster.settled("hello", 3, "v2")
}

/// The last old instance has gone before the first new one starts; requests wait for it.
pub(crate) fn recreate(cluster: &mut Cluster) -> Result {
    let app = |version: &str| App::quick(version)?.set("deploy.strategy", "recreate");
    cluster.deploy_well(&app("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::short("hello.localhost"));
    let deployment = cluster.deploy_well(&app("v2")?)?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}\n{}", report.table(), deployment.story());
    let story = deployment.story();
    check_eq!(deployment.count("removed"), 3, "{story}");
    check!(place(&deployment, "removed", true) < place(&deployment, "starting", false), "{story}");
    cluster.settled("hello", 3, "v2")
}

/// What is paused during a step waits after it, and goes on when it is told to.
pub(crate) fn paused(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::short("hello.localhost"));
    let number = cluster.deploy_detached(&App::quick("v2")?)?;
    let id = number.to_string();
    cluster.await_deployment(number, "to begin", DEPLOYMENT, |d| d.has("starting"))?;
    cluster.cli().text(&["deployments", "pause", &id])?;
    let stays = cluster.await_deployment(number, "to end its step", DEPLOYMENT, |d| {
        d.count("removed") == d.count("starting") && d.has("removed")
    })?;
    wait::nap(Duration::from_secs(2))?;
    let now = cluster.deployment(number)?;
    check_eq!(now.count("starting"), stays.count("starting"), "{}", now.story());
    check!(now.count("starting") < 3, "it went on: {}", now.story());
    cluster.cli().text(&["deployments", "resume", &id])?;
    let deployment = cluster.await_end(number, DEPLOYMENT)?;
    check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    cluster.settled("hello", 3, "v2")
}
