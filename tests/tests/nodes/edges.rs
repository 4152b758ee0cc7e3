//! Edges that take the place of others.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use temps_tests::app::App;
use temps_tests::browser::get;
use temps_tests::cluster::Cluster;
use temps_tests::faults;
use temps_tests::ground::Ground;
use temps_tests::load::{Load, Mix};
use temps_tests::node::Node;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// How long one may take to take over, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A server that starts with another configuration has its edge renewed; WebSockets stay at the one before.
pub(crate) fn renewed(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let load = Load::start(cluster.edges(), Mix::everything("hello.localhost"));
    for i in 0..3 {
        let log = cluster.root().join(format!("access-{i}.log"));
        let node = &mut cluster.nodes[i];
        let file = node.dir().join("edge.pid");
        let pid = || fs::read_to_string(&file).unwrap_or_default();
        let before = pid();
        let lines = format!(
            "trusted = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\naccess_log = {:?}",
            log.display().to_string()
        );
        node.configure("edge", &lines)?;
        node.kill()?;
        node.restart()?;
        wait::until("another edge to take over", LIMIT, || !pid().is_empty() && pid() != before)?;
        // It logs, and each line is that of a request.
        let page = get(node.shape.edge, "hello.localhost", "/?secret=1")?;
        check_eq!(page.status, 200, "{page:?}");
        let id = page.header("x-request-id").to_owned();
        let line = wait::find("the request in the log", LIMIT, || {
            let text = fs::read_to_string(&log).ok()?;
            text.lines().find(|line| line.contains(&id)).map(str::to_owned)
        })?;
        let line: Value = serde_json::from_str(&line)?;
        check_eq!(
            (&line["status"], &line["path"], &line["host"]),
            (&200.into(), &"/".into(), &"hello.localhost".into()),
            "{line}"
        );
    }
    cluster.deploy_well(&App::quick("v2")?)?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// While there is no edge, connections wait in the socket that the service manager holds.
pub(crate) fn activated(cluster: &mut Cluster) -> Result {
    cluster.only_on(Ground::Processes, "sockets are passed on within one machine")?;
    cluster.deploy_well(&App::quick("v1")?)?;
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let at = socket.local_addr()?;
    let node = &mut cluster.nodes[1];
    node.kill()?;
    node.sockets = vec![("http", socket)];
    node.restart()?;
    let mut ended = 0;
    for _ in 0..2 {
        ended = end_edge(node, ended)?;
        let page = get(at, "hello.localhost", "/")?;
        check_eq!(page.status, 200, "{page:?}");
    }
    node.kill()?;
    node.sockets.clear();
    node.restart()?;
    end_edge(node, ended)?;
    let edge = node.shape.edge;
    wait::until("the edge at its own address", LIMIT, || {
        get(edge, "hello.localhost", "/").is_ok_and(|page| page.status == 200)
    })
}

/// As a crash would. `before`: the one that was ended last, of which the file may still tell.
fn end_edge(node: &Node, before: u32) -> Result<u32> {
    let file = node.dir().join("edge.pid");
    let pid = wait::find("the edge's pid", LIMIT, || {
        let pid: u32 = fs::read_to_string(&file).ok()?.trim().parse().ok()?;
        (pid != before).then_some(pid)
    })?;
    faults::slay(pid)?;
    faults::await_end(pid)?;
    Ok(pid)
}
