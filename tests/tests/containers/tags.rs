//! Images by name: what a name means is found out once, when a deployment is accepted.

use std::collections::BTreeSet;
use std::time::Duration;

use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::{Deployment, number_in};
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// The builds that answer through all edges.
fn builds(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for target in cluster.edges() {
        for _ in 0..9 {
            let page = browser::get(target.address, "tagged.localhost", "/")?;
            seen.insert(page.header("x-build").to_owned());
        }
    }
    Ok(seen)
}

/// A name that moves is no surprise: all instances run what it meant at first, going back goes back, and the same
/// name with another meaning is another release.
pub(crate) fn resolved_once(cluster: &mut Cluster) -> Result {
    // Nobody answers at the registry of this name, and that is known at once.
    let repository = format!("{}:1/app", cluster.outside());
    let name = format!("{repository}:latest");
    let app = App::named("tagged", "any")?.set("processes.web.command", "/hello")?;
    let settings = cluster.write(&app)?;
    let image = |build: &str| -> Result<String> {
        let made = cluster.write(&App::named("tagged", build)?)?;
        cluster.engine(0)?.build(&name, made.as_ref())
    };
    let ask = || -> Result<u64> {
        let command = ["deploy", "-p", "tagged", &settings, "--image", &name, "-y", "--detach"];
        number_in(&cluster.cli().json(&command)?)
    };
    let succeeds = |number: u64| -> Result<Deployment> {
        let deployment = cluster.await_end(number, DEPLOYMENT)?;
        check_eq!(deployment.phase, "succeeded", "{}", deployment.story());
        Ok(deployment)
    };
    let only = |build: &str, what: &str| -> Result {
        check_eq!(builds(cluster)?, BTreeSet::from([build.to_owned()]), "{what}");
        Ok(())
    };
    image("x")?;
    let first = succeeds(ask()?)?;
    only("x", "the first")?;

    image("y")?;
    let second = ask()?;
    // Moved while the deployment runs.
    image("z")?;
    let second = succeeds(second)?;
    only("y", "what the name meant when it was asked for")?;
    check!(first.release != second.release, "another meaning is another release");
    check!(first.image != second.image, "{} and {}", first.image, second.image);

    let ran = cluster.cli().run(&["deployments", "rollback", "-p", "tagged", "-y"])?;
    check_eq!(ran.code, 0, "{ran:#?}");
    wait::until("what ran before", Duration::from_secs(20), || {
        builds(cluster).is_ok_and(|seen| seen == BTreeSet::from(["x".to_owned()]))
    })
}
