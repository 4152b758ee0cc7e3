//! A server comes and goes; an edge dies and is started again.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use temps_core::model::NodeId;
use temps_edge::{Link, LinkOptions, Listen};

use crate::support::{
    App, Authority, Client, Edge, HOST, Load, choice, config_in, get, table, target, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_goes_on_without_its_server_and_is_found_again() {
    let mut edge = Edge::single().await;
    let (one, two) = (App::start("one").await, App::start("two").await);
    edge.serve(5, table(vec![choice(1, 1, 1)], vec![target(1, 1, &one)], &[])).await;
    let load = Load::start(&[edge.http], 8, "/");
    until("the load runs", || load.total() > 50).await;
    edge.link = None;
    let total = load.total();
    until("the load runs on", || load.total() > total + 100).await;

    edge.connect();
    until("the next server hears it", || edge.report().index == 5).await;
    assert_eq!(edge.report().version, 0, "versions of another server mean nothing");
    // A server that is behind is not followed.
    edge.publish(4, table(vec![], vec![], &[]));
    let total = load.total();
    until("the load runs on", || load.total() > total + 50).await;
    assert_eq!(edge.report().index, 5);
    edge.serve(6, table(vec![choice(2, 1, 1)], vec![target(2, 2, &two)], &[])).await;
    until("the new release answers", || load.seen("two") > 20).await;
    assert_eq!(load.stop().await.failures, [""; 0]);
    edge.stop().await;
}

/// Not a test by itself: the edge that the next test starts as a process of its own.
#[test]
#[ignore = "started by another test"]
fn edge_process() {
    let Some(directory) = std::env::args().find_map(|a| a.strip_prefix("dir=").map(str::to_owned)) else {
        return;
    };
    let port = std::fs::read_to_string(Path::new(&directory).join("port")).unwrap();
    let mut config = config_in(directory.into());
    config.http = vec![Listen::At(format!("127.0.0.1:{port}").parse().unwrap())];
    config.takeover =
        std::env::args().skip_while(|argument| argument != "--takeover").nth(1).map(std::path::PathBuf::from);
    temps_edge::run(config).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_started_outlives_its_server_and_is_started_again_when_it_dies() {
    let directory = tempfile::tempdir().unwrap();
    Authority::new().issue(1, &directory.path().join("identity"));
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    std::fs::write(directory.path().join("port"), port.to_string()).unwrap();
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let argument = format!("dir={}", directory.path().display());
    let options = LinkOptions {
        data_dir: directory.path().to_owned(),
        program: std::env::current_exe().unwrap(),
        args: ["link::edge_process", "--exact", "--ignored", "--nocapture", &argument, "--"]
            .map(Into::into)
            .into(),
        sockets: Default::default(),
    };
    let app = App::start("app").await;
    let publish = |link: &Link, version| {
        let mut table = table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[]);
        (table.index, table.version, table.node) = (3, version, NodeId(1));
        link.publish(table);
    };
    let link = Link::start(options.clone());
    publish(&link, 1);
    let reports = link.reports();
    until("it serves", || reports.borrow().version == 1).await;
    assert_eq!(get(at, HOST, "/").await.text(), "app");
    let first = reports.borrow().pid;
    assert_ne!(first, std::process::id());

    // The server ends; the next one finds the same edge.
    drop(link);
    assert_eq!(get(at, HOST, "/").await.text(), "app");
    let link = Link::start(options);
    publish(&link, 1);
    let reports = link.reports();
    until("it is found", || reports.borrow().version == 1).await;
    assert_eq!(reports.borrow().pid, first);

    // It dies and is started again, and has its table from the disk before the server speaks.
    assert!(Command::new("kill").args(["-9", &first.to_string()]).status().unwrap().success());
    until("another one serves", || reports.borrow().pid != first && reports.borrow().version == 1).await;
    assert_eq!(get(at, HOST, "/").await.text(), "app");

    // Another program takes over from it without a gap.
    let second = reports.borrow().pid;
    let load = Load::start(&[at], 8, "/");
    link.renew().unwrap();
    until("a third one serves", || reports.borrow().pid != second && reports.borrow().version == 1).await;
    let total = load.total();
    until("the load runs", || load.total() > total + 50).await;
    assert_eq!(load.stop().await.failures, [""; 0]);

    // A signal ends it when it has finished; the next one is there at once.
    let third = reports.borrow().pid;
    let mut slow = Client::connect(at).await;
    slow.send(format!("GET /slow?500 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    until("it is in flight", || !reports.borrow().in_flight.is_empty()).await;
    assert!(Command::new("kill").args(["-HUP", &third.to_string()]).status().unwrap().success());
    assert!(Command::new("kill").args(["-TERM", &third.to_string()]).status().unwrap().success());
    assert_eq!(slow.answer().await.text(), "app");
    until("a fourth one serves", || reports.borrow().pid != third && reports.borrow().version == 1).await;
    assert_eq!(get(at, HOST, "/").await.text(), "app");
    link.stop(Duration::from_secs(10)).await;
    until("it has ended", || std::net::TcpStream::connect(at).is_err()).await;
}
