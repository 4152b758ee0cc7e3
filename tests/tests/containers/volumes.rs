//! Where instances run, and what stays there.

use http::Method;
use temps_tests::app::App;
use temps_tests::browser::Browser;
use temps_tests::cluster::Cluster;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq};

/// What was written is there for the next release, and for the one that is gone back to.
pub(crate) fn kept(cluster: &mut Cluster) -> Result {
    let app = |version: &str| {
        App::named("stored", version)?
            .set("processes.web.instances", 2)?
            .set("volumes.data", "/data")?
            .env("FILE", "/data/lines")
    };
    let edge = cluster.nodes[0].shape.edge;
    let mut expected = String::new();
    let mut write = |line: &str| -> Result {
        let page = Browser::open(edge, "stored.localhost")?.ask(Method::POST, "/file", &[], line)?;
        check_eq!(page.status, 200, "{}", page.text());
        expected.push_str(line);
        let page = Browser::open(edge, "stored.localhost")?.get("/file")?;
        check_eq!(page.text(), expected.clone(), "what the volume holds");
        Ok(())
    };
    cluster.deploy_well(&app("v1")?)?;
    write("one\n")?;
    cluster.deploy_well(&app("v2")?)?;
    write("two\n")?;
    cluster.cli().text(&["deployments", "rollback", "-p", "stored", "-y"])?;
    write("three\n")?;
    let all = cluster.containers_of("stored")?;
    let mut homes: Vec<usize> = all.iter().map(|placed| placed.node).collect();
    homes.dedup();
    check_eq!(homes.len(), 1, "nodes of what shares a volume");
    let volumes = cluster.engine(homes[0])?.volumes()?;
    let named =
        volumes.iter().filter(|name| name.starts_with("temps-") && name.ends_with("-stored-production-data"));
    check_eq!(named.count(), 1, "{volumes:?}");
    Ok(())
}

/// Only nodes with the wanted labels; where there are none, that is said at once.
pub(crate) fn placed(cluster: &mut Cluster) -> Result {
    let app = |version: &str, disk: &str| {
        App::named("placed", version)?.set("placement.require.disk", disk)?.set("processes.web.instances", 4)
    };
    cluster.deploy_well(&app("v1", "ssd")?)?;
    let all = cluster.containers_of("placed")?;
    check_eq!(all.len(), 4, "containers");
    for placed in &all {
        let name = &cluster.nodes[placed.node].name;
        check!(matches!(name.as_str(), "n1" | "n2"), "{} runs on {name}", placed.container.name);
    }
    let dir = cluster.write(&app("v2", "tape")?)?;
    let ran = cluster.cli().run(&["deploy", "-p", "placed", &dir, "-y"])?;
    check!(ran.code != 0, "{ran:#?}");
    check!(ran.stderr.contains("disk=tape") && ran.stderr.contains("n3"), "unclear: {}", ran.stderr);
    cluster.settled("placed", 4, "v1")
}
