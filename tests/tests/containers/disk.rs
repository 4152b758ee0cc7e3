//! Disks that fill up.

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::Method;
use temps_tests::app::App;
use temps_tests::browser::{self, Browser};
use temps_tests::cluster::Cluster;
use temps_tests::trouble::Result;
use temps_tests::{check, wait};

/// Bytes that the engine of the small node has in all.
const ROOM: u64 = 900 << 20;

/// What is left of them once it is full.
const LEFT: u64 = 100 << 20;

/// The most that logs of one container may take.
const LOGS: u64 = 64 << 20;

/// Bytes of the files in a directory; those of directories in it are others' business.
fn size_of(dir: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(dir)? {
        let about = entry?.metadata()?;
        size += if about.is_file() { about.len() } else { 0 };
    }
    Ok(size)
}

/// Whatever an application writes, its logs stay small, and the newest lines are there.
pub(crate) fn flood(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("talker", "v1")?.set("processes.web.instances", 1)?)?;
    let edge = cluster.nodes[0].shape.edge;
    for _ in 0..4 {
        let page = Browser::open(edge, "talker.localhost")?.ask(Method::POST, "/flood?mb=40", &[], "")?;
        check!(page.status == 200, "{}", page.text());
    }
    let all = cluster.containers_of("talker")?;
    for placed in &all {
        let dir = cluster.engine(placed.node)?.log_dir(&placed.container.id);
        let size = size_of(&dir)?;
        check!(size < LOGS, "the log of {} takes {size} bytes", placed.container.name);
    }
    let shown = cluster.cli().text(&["logs", "-p", "talker"])?;
    check!(shown.contains("flood"), "no line is shown: {shown}");
    Ok(())
}

/// A node without space refuses before anything begins, by name; what runs there runs on.
pub(crate) fn full(_: &mut Cluster) -> Result {
    let cluster = Cluster::start_small(ROOM)?;
    let app = |version: &str| App::named("tight", version)?.set("processes.web.instances", 1);
    cluster.deploy_well(&app("v1")?)?;
    let filler = cluster.engine(0)?.data().join("filler");
    let free = |limit: u64, is_less: bool| {
        wait::until("the node to tell its free space", Duration::from_secs(60), || {
            let nodes = cluster.cli().json(&["nodes", "list"]).unwrap_or_default();
            let free = nodes.pointer("/nodes/0/free_bytes").and_then(serde_json::Value::as_u64);
            free.is_some_and(|free| (free < limit) == is_less)
        })
    };
    let left = cluster.engine(0)?.free()?;
    fs::write(&filler, vec![1_u8; usize::try_from(left.saturating_sub(LEFT))?])?;
    free(2 * LEFT, true)?;
    let before = cluster.containers_of("tight")?;
    let dir = cluster.write(&app("v2")?)?;
    let ran = cluster.cli().run(&["deploy", "-p", "tight", &dir, "-y"])?;
    check!(ran.code != 0, "{ran:#?}");
    check!(ran.stderr.contains("no space on node n1"), "unclear: {}", ran.stderr);
    let after = cluster.containers_of("tight")?;
    check!(before.len() == after.len() && before[0].container.id == after[0].container.id, "{after:?}");
    let page = browser::get(cluster.nodes[0].shape.edge, "tight.localhost", "/")?;
    check!(page.version() == "v1", "{} answers", page.version());

    fs::remove_file(&filler)?;
    free(4 * LEFT, false)?;
    cluster.deploy_well(&app("v2")?)?;
    cluster.close()
}
