//! Agents that end, return, and lose the cluster.

use std::time::Duration;

use nix::sys::signal::Signal;
use temps_agent::runtime::Runtime;
use temps_core::model::{InstanceId, Phase, Seen, Want};

use crate::cluster::Cluster;
use crate::support::{SERVE, incarnation, kill, lives, spec, until, until_true};

/// Waits until another instance serves in the place of `id`.
async fn until_replaced(cluster: &Cluster, id: InstanceId) {
    until("another instance serves", || {
        let replaced = cluster.serving().first().is_some_and(|i| i.id != id);
        std::future::ready(if replaced { Ok(()) } else { Err(cluster.instances()) })
    })
    .await;
}

async fn with_one_live() -> (Cluster, InstanceId) {
    let cluster = Cluster::new().await;
    let id = cluster.deploy("one", spec(SERVE, 1, &[])).await;
    assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    let instance = cluster.serving()[0].id;
    (cluster, instance)
}

#[tokio::test]
async fn instances_outlive_the_agent_and_do_not_flap_when_it_returns() {
    let (mut cluster, id) = with_one_live().await;
    let before = cluster.serving()[0].clone();
    for round in 0..2 {
        if round == 0 {
            cluster.kill_agent().await;
        } else {
            cluster.shut_down_agent().await;
        }
        assert!(lives(cluster.place.pids(id).0));
        let events = cluster.state().events.len();
        cluster.start_agent();
        until_true("it is found", || cluster.view.borrow().endpoints.contains_key(&id)).await;
        // Long enough for several checks.
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(cluster.serving(), std::slice::from_ref(&before));
        assert_eq!(cluster.state().events.len(), events);
        assert!(cluster.view.borrow().unready.is_empty());
    }
}

#[tokio::test]
async fn an_end_while_nobody_looked_is_told_with_its_cause() {
    let (mut cluster, id) = with_one_live().await;
    cluster.kill_agent().await;
    kill(cluster.place.pids(id).0, Signal::SIGKILL);
    cluster.start_agent();
    until_replaced(&cluster, id).await;
    let exit = cluster.state().instances[&id].exit.clone().expect("an exit");
    assert_eq!((exit.signal, exit.asked), (Some(9), false));
}

#[tokio::test]
async fn a_returning_agent_carries_out_what_was_decided_meanwhile() {
    let (mut cluster, old) = with_one_live().await;
    cluster.kill_agent().await;
    let second = cluster.deploy("two", spec(SERVE, 1, &[])).await;
    until_true("a start", || cluster.instances().iter().any(|i| i.seen == Seen::Pending)).await;
    cluster.start_agent();
    assert_eq!(cluster.ended(second).await.phase, Phase::Succeeded, "{:?}", cluster.lines(second));
    assert!(!cluster.place.instance_dir(old).exists());
}

#[tokio::test]
async fn what_nobody_assigned_is_removed_but_only_by_who_is_up_to_date() {
    let mut cluster = Cluster::without_agent().await;
    let orphan = InstanceId(999);
    let runtime = cluster.place.runtime();
    runtime.start(&cluster.place.job(999, "exec sleep 1000")).await.expect("started");
    let (app, _) = cluster.place.pids(orphan);
    cluster.ledger.set_quorum(false);
    cluster.start_agent();
    until_true("it is found", || cluster.view.borrow().endpoints.contains_key(&orphan)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(incarnation(&runtime, orphan).await.is_some());

    cluster.ledger.set_quorum(true);
    until_true("it is removed", || !cluster.place.instance_dir(orphan).exists()).await;
    assert!(!lives(app));
}

#[tokio::test]
async fn without_a_quorum_only_what_is_seen_here_changes_and_it_is_told_later() {
    let (cluster, id) = with_one_live().await;
    cluster.ledger.set_quorum(false);
    kill(cluster.place.pids(id).0, Signal::SIGKILL);
    until_true("it is down here", || cluster.view.borrow().down.contains(&id)).await;
    assert_eq!(cluster.state().instances[&id].seen, Seen::Ready);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(cluster.place.instance_dir(id).exists());
    cluster.ledger.set_quorum(true);
    until_true("it is told", || cluster.state().instances[&id].seen >= Seen::Exited).await;
    until_replaced(&cluster, id).await;
    until_true("it is removed", || !cluster.place.instance_dir(id).exists()).await;
}

#[tokio::test]
async fn what_lost_all_its_traces_is_told_as_ended_and_not_started_again() {
    let (mut cluster, id) = with_one_live().await;
    let (app, supervisor) = cluster.place.pids(id);
    cluster.kill_agent().await;
    kill(supervisor, Signal::SIGKILL);
    kill(app, Signal::SIGKILL);
    std::fs::remove_dir_all(cluster.place.instance_dir(id)).expect("removed");
    cluster.start_agent();
    until_replaced(&cluster, id).await;
    let known = cluster.state().instances[&id].clone();
    assert!(known.exit.is_some_and(|e| e.error.is_some()));
    assert_eq!(known.want, Want::Gone);
}

#[tokio::test]
async fn a_hanging_application_is_known_here_before_the_cluster_knows() {
    let (cluster, id) = with_one_live().await;
    cluster.ledger.set_quorum(false);
    let (app, _) = cluster.place.pids(id);
    kill(app, Signal::SIGSTOP);
    until_true("it is unready here", || cluster.view.borrow().unready.contains(&id)).await;
    assert!(!cluster.view.borrow().down.contains(&id));
    kill(app, Signal::SIGCONT);
    until_true("it is ready again", || cluster.view.borrow().unready.is_empty()).await;
}
