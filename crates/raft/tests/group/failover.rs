//! What happens when leaders go away, are cut off, or hand over.

use std::time::Duration;

use temps_ledger::{Ledger, LedgerError};
use tokio::time::Instant;

use crate::cluster::{Cluster, eventually, has, put};

#[tokio::test(flavor = "multi_thread")]
async fn after_the_leader_dies_the_next_write_takes_less_than_two_seconds() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    put(cluster.node(leader), "before").await.unwrap();
    cluster.kill(leader);
    let began = Instant::now();
    put(cluster.any(), "after").await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "took {took:?}");
    assert!(has(cluster.any(), "before"));
    cluster.start(leader).await.unwrap();
    cluster.converge().await;
    assert!(cluster.all_have("after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_commits_nothing_and_its_writes_fail_or_move() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    cluster.net.isolate(leader, others.clone());
    let began = Instant::now();
    let cut_off = cluster.node(leader).clone();
    let lost = tokio::spawn(async move { put(&cut_off, "lost").await });
    put(cluster.node(others[0]), "kept").await.unwrap();
    let answer = lost.await.unwrap();
    assert!(matches!(answer, Err(LedgerError::NoQuorum { .. })), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(8));
    assert!(!has(cluster.node(leader), "lost") && !has(cluster.node(leader), "kept"));
    assert!(cluster.node(leader).barrier().await.is_err(), "a read there could be stale");
    cluster.net.heal();
    eventually("the old leader has what the others wrote", || has(cluster.node(leader), "kept")).await;
    cluster.converge().await;
    assert!(cluster.ids().iter().all(|id| !has(cluster.node(*id), "lost")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_at_a_cut_off_leader_is_made_by_the_next_one() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    cluster.net.isolate(leader, others.clone());
    let cut_off = cluster.node(leader).clone();
    let waiting = tokio::spawn(async move { put(&cut_off, "waiting").await });
    put(cluster.node(others[0]), "kept").await.unwrap();
    cluster.net.heal();
    let receipt = waiting.await.unwrap().unwrap();
    assert!(receipt.made().is_ok(), "{receipt:?}");
    cluster.converge().await;
    assert!(cluster.all_have("waiting"));
    assert_eq!(cluster.any().state().projects.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_a_write_says_so_within_five_seconds() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    for id in cluster.ids().into_iter().filter(|id| *id != leader) {
        cluster.kill(id);
    }
    let began = Instant::now();
    let answer = put(cluster.node(leader), "lost").await;
    assert!(matches!(answer, Err(LedgerError::NoQuorum { .. })), "{answer:?}");
    assert!(began.elapsed() < Duration::from_millis(5_500), "took {:?}", began.elapsed());
    let began = Instant::now();
    assert!(matches!(cluster.node(leader).barrier().await, Err(LedgerError::NoQuorum { .. })));
    assert!(began.elapsed() < Duration::from_millis(5_500), "took {:?}", began.elapsed());
    assert!(!cluster.node(leader).status().quorum);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_does_not_unseat_the_leader() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != follower).collect();
    let before = *cluster.node(leader).leadership().borrow();
    cluster.net.isolate(follower, others);
    // Long enough for it to have stood for election several times.
    let until = Instant::now() + Duration::from_secs(3);
    let mut round = 0;
    while Instant::now() < until {
        put(cluster.node(leader), &format!("shop-{round}")).await.unwrap();
        round += 1;
    }
    cluster.net.heal();
    cluster.converge().await;
    assert_eq!(*cluster.node(leader).leadership().borrow(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_hands_over_and_writes_go_on() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let other = cluster.follower().await;
    let writer = cluster.node(other).clone();
    let writes = tokio::spawn(async move {
        let mut slowest = Duration::ZERO;
        for n in 0..60 {
            let began = Instant::now();
            put(&writer, &format!("shop-{n}")).await.unwrap();
            slowest = slowest.max(began.elapsed());
        }
        slowest
    });
    let began = Instant::now();
    let successor = cluster.node(leader).step_down().await;
    assert!(began.elapsed() < Duration::from_millis(2_500), "took {:?}", began.elapsed());
    let successor = successor.expect("another node takes over");
    assert_ne!(successor.0, leader);
    cluster.stop(leader).await;
    let slowest = writes.await.unwrap();
    assert!(slowest < Duration::from_secs(2), "a write took {slowest:?}");
    cluster.start(leader).await.unwrap();
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_answers_those_who_wait() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    for id in cluster.ids().into_iter().filter(|id| *id != leader) {
        cluster.kill(id);
    }
    let node = cluster.node(leader).clone();
    let waiting = tokio::spawn(async move { put(&node, "lost").await });
    tokio::task::yield_now().await;
    let node = cluster.node(leader).clone();
    cluster.stop(leader).await;
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(put(&node, "later").await, Err(LedgerError::Closing));
    assert!(node.fatal().borrow().is_none(), "a planned end is not a failure");
}
