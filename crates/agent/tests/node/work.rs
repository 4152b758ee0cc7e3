//! Processes without HTTP, release commands, what is exclusive, and what a node tells of itself.

use std::path::Path;
use std::time::Duration;

use temps_core::model::{
    Cause, InstanceId, Order, Phase, ProcessSpec, RELEASE_PROCESS, ReleaseCommand, RuntimeKind, Seen, Spec,
    Want,
};

use crate::cluster::Cluster;
use crate::support::{NODE, SERVE, lives, spec, until, until_true};

fn worker(command: &str) -> Spec {
    let mut spec = spec(command, 1, &[]);
    spec.processes.get_mut("web").expect("there").http = false;
    spec
}

fn change(spec: &mut Spec, change: impl FnOnce(&mut ProcessSpec)) {
    change(spec.processes.get_mut("web").expect("there"));
}

fn append(word: &str, file: &Path) -> String {
    format!("echo {word} >>{}", file.display())
}

#[tokio::test]
async fn a_worker_with_a_check_is_ready_when_that_passes() {
    let cluster = Cluster::new().await;
    let flag = cluster.place.dir.path().join("flag");
    let mut checked = worker("exec sleep 1000");
    change(&mut checked, |p| p.check = Some(format!("echo not yet; test -e {}", flag.display())));
    checked.health.start_period = 20_000;
    let id = cluster.deploy("one", checked).await;
    let said = until("what the check says", || {
        let said = cluster.instances().first().and_then(|i| i.last_check.clone());
        std::future::ready(said.ok_or("nothing"))
    })
    .await;
    assert_eq!(said, "the check ended with exit code 1: not yet");
    assert!(cluster.serving().is_empty());
    std::fs::write(&flag, b"").expect("written");
    assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    let instance = &cluster.serving()[0];
    assert_eq!(instance.endpoint, None);
    assert!(instance.attempts >= 3, "{instance:?}");

    std::fs::remove_file(&flag).expect("removed");
    until_true("it is unready", || cluster.view.borrow().unready.contains(&instance.id)).await;
}

#[tokio::test]
async fn a_worker_whose_check_never_passes_fails_its_deployment() {
    let cluster = Cluster::new().await;
    let mut checked = worker("exec sleep 1000");
    change(&mut checked, |p| p.check = Some("echo no queue; exit 1".to_owned()));
    checked.health.start_period = 300;
    let id = cluster.deploy("one", checked).await;
    let ended = cluster.ended(id).await;
    assert_eq!(ended.phase, Phase::Failed);
    let cause = ended.cause.expect("a cause").sentence();
    assert!(cause.contains("exit code 1: no queue"), "{cause}");
}

#[tokio::test]
async fn a_release_command_runs_once_before_the_first_instance() {
    let cluster = Cluster::new().await;
    let order = cluster.place.dir.path().join("order");
    let mut migrating = spec(&format!("{}; {SERVE}", append("serve", &order)), 2, &[]);
    migrating.release = Some(ReleaseCommand {
        command: format!("sleep 0.3; {}", append("migrate", &order)),
        timeout: 20_000,
    });
    let id = cluster.deploy("one", migrating).await;
    assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    let text = std::fs::read_to_string(&order).expect("written");
    assert_eq!(text, "migrate\nserve\nserve\n");
    until_true("its traces are removed", || {
        let commands = cluster.instances().into_iter().filter(|i| i.process == RELEASE_PROCESS);
        commands.into_iter().all(|i| i.want == Want::Gone)
    })
    .await;
}

#[tokio::test]
async fn a_release_command_that_fails_changes_nothing_and_says_why() {
    let cluster = Cluster::new().await;
    let first = cluster.deploy("one", spec(SERVE, 1, &[])).await;
    assert_eq!(cluster.ended(first).await.phase, Phase::Succeeded);
    let before = cluster.serving();
    let mut migrating = spec(SERVE, 1, &[]);
    migrating.release =
        Some(ReleaseCommand { command: "echo no such table; exit 4".to_owned(), timeout: 20_000 });
    let second = cluster.deploy("two", migrating).await;
    let ended = cluster.ended(second).await;
    assert!(ended.phase.is_terminal() && ended.phase != Phase::Succeeded);
    let Some(Cause::ReleaseCommand { why, log_tail, .. }) = ended.cause else {
        unreachable!("{:?}", ended.cause)
    };
    assert!(why.contains("exit code 4"), "{why}");
    assert_eq!(log_tail, ["no such table"]);
    assert_eq!(cluster.serving(), before);
}

#[tokio::test]
async fn a_release_command_goes_on_while_its_server_is_replaced() {
    let mut cluster = Cluster::new().await;
    let order = cluster.place.dir.path().join("order");
    let mut migrating = spec(SERVE, 1, &[]);
    let command = format!("{}; sleep 2; {}", append("begin", &order), append("end", &order));
    migrating.release = Some(ReleaseCommand { command, timeout: 20_000 });
    let id = cluster.deploy("one", migrating).await;
    until_true("its begin", || order.exists()).await;
    cluster.kill_agent().await;
    cluster.start_agent();
    assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    assert_eq!(std::fs::read_to_string(&order).expect("written"), "begin\nend\n");
}

fn exclusive(command: &str) -> Spec {
    let mut spec = worker(command);
    change(&mut spec, |p| (p.exclusive, p.order) = (true, Order::StopFirst));
    spec
}

async fn with_exclusive(lease: Duration, spec: Spec) -> (Cluster, InstanceId) {
    let mut cluster = Cluster::without_agent().await;
    cluster.lease = lease;
    cluster.start_agent();
    let id = cluster.deploy("one", spec).await;
    assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    let instance = cluster.serving()[0].id;
    (cluster, instance)
}

#[tokio::test]
async fn what_is_exclusive_stops_by_itself_without_a_quorum_and_nothing_else_does() {
    let lease = Duration::from_secs(2);
    let (cluster, id) = with_exclusive(lease, exclusive("exec sleep 1000")).await;
    let (app, _) = cluster.place.pids(id);
    tokio::time::sleep(lease * 2).await;
    assert!(lives(app), "there is a quorum");
    cluster.ledger.set_quorum(false);
    until_true("it ends", || !lives(app)).await;
    assert_eq!(cluster.state().instances[&id].seen, Seen::Ready);
    cluster.ledger.set_quorum(true);
    until("another serves", || {
        let replaced = cluster.serving().first().is_some_and(|i| i.id != id);
        std::future::ready(if replaced { Ok(()) } else { Err(cluster.instances()) })
    })
    .await;
    let exit = cluster.state().instances[&id].exit.clone().expect("told");
    assert_eq!(exit.how(), "stopped: its node had no quorum for 2s");
    assert!(!exit.is_crash());

    let (other, id) = with_exclusive(lease, worker("exec sleep 1000")).await;
    other.ledger.set_quorum(false);
    tokio::time::sleep(lease * 2).await;
    assert!(lives(other.place.pids(id).0));
}

#[tokio::test]
async fn a_server_that_returns_without_a_quorum_ends_what_is_exclusive() {
    let (mut cluster, id) = with_exclusive(Duration::from_secs(2), exclusive("exec sleep 1000")).await;
    let (app, _) = cluster.place.pids(id);
    cluster.kill_agent().await;
    cluster.ledger.set_quorum(false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(lives(app));
    cluster.start_agent();
    until_true("it ends", || !lives(app)).await;
}

#[tokio::test]
async fn a_node_tells_its_kind_its_labels_and_its_space() {
    let cluster = Cluster::new().await;
    until_true("its space", || cluster.state().nodes[&NODE].facts.free.is_some()).await;
    let facts = cluster.state().nodes[&NODE].facts.clone();
    assert_eq!(facts.runtime, Some(RuntimeKind::Process));
    assert_eq!(facts.labels.get("disk").map(String::as_str), Some("ssd"));
    assert_eq!(facts.trouble, None);
    let free = facts.free.expect("told");
    assert!(free > 0 && free % (64 << 20) == 0, "{free}");
    let index = cluster.state().index;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(cluster.state().index, index, "what is known is not told again");
}

#[tokio::test]
async fn a_server_that_is_killed_again_and_again_leaves_nothing_behind_and_starts_nothing_twice() {
    let mut cluster = Cluster::new().await;
    let starts = cluster.place.dir.path().join("starts");
    let command = format!("echo $TEMPS_INSTANCE >>{}; {SERVE}", starts.display());
    for round in 0..8_u64 {
        let id = cluster.deploy(&format!("{round}"), spec(&command, 2, &[])).await;
        // Between any two steps: whichever it is by then.
        for kill in 0..6 {
            tokio::time::sleep(Duration::from_millis(7 * (round + 1) + 23 * kill)).await;
            cluster.kill_agent().await;
            cluster.start_agent();
        }
        assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    }
    let dirs = || {
        let entries = std::fs::read_dir(cluster.place.data().join("instances")).expect("listed");
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let names = |cluster: &Cluster| {
        let mut names: Vec<_> = cluster.serving().iter().map(|i| i.id.to_string()).collect();
        names.sort();
        names
    };
    until("nothing else is left", || {
        let mut left = dirs();
        left.sort();
        std::future::ready(if left == names(&cluster) { Ok(()) } else { Err(left) })
    })
    .await;
    let text = std::fs::read_to_string(&starts).expect("written");
    let mut started: Vec<&str> = text.lines().collect();
    let all = started.len();
    started.sort_unstable();
    started.dedup();
    assert_eq!(started.len(), all, "{text}");
}
