//! A process that is killed while it writes, as the operating system sees it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use temps_core::model::NodeId;
use temps_ledger::Ledger;
use temps_raft::{OpenOptions, RaftLedger, SnapshotRules};

use crate::cluster::{TIMINGS, found, has, put};
use crate::net::{Link, Net, address};

const DATA: &str = "TEMPS_TEST_RAFT_DATA";
const ACKNOWLEDGED: &str = "acknowledged ";

async fn open(data: &Path) -> RaftLedger {
    let options = OpenOptions {
        node: NodeId(1),
        address: address(1),
        data: data.to_owned(),
        timings: TIMINGS,
        // Kills are to hit snapshots and purges too.
        snapshots: SnapshotRules { every: 7, keep: 0 },
        transport: Arc::new(Link { net: Net::seeded(1), from: 1 }),
    };
    RaftLedger::open(options).await.expect("the store opens")
}

/// Not a test: the process that the test below kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test below"]
async fn child_that_writes() {
    let Ok(data) = std::env::var(DATA) else { return };
    let node = open(Path::new(&data)).await;
    node.found("test", found()).await.unwrap();
    let began = node.state().projects.len();
    for n in began.. {
        let name = format!("shop-{n}");
        put(&node, &name).await.unwrap();
        writeln!(std::io::stdout(), "\n{ACKNOWLEDGED}{name}").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_acknowledged_is_there() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_that_writes", "--exact", "--ignored", "--nocapture"])
            .env(DATA, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged = lines.filter_map(|line| line.strip_prefix(ACKNOWLEDGED).map(ToOwned::to_owned));
        let names: Vec<String> = acknowledged.take(25 + 3 * round).collect();
        assert_eq!(names.len(), 25 + 3 * round, "the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        let node = open(directory.path()).await;
        let index = node.barrier().await.unwrap();
        assert!(index > 0);
        let lost: Vec<&String> = names.iter().filter(|name| !has(&node, name)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        node.shutdown().await;
    }
}
