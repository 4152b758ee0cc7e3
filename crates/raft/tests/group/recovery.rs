//! Restarts, snapshots, and nodes that were away.

use temps_core::model::NodeId;
use temps_ledger::Ledger;
use tokio::time::{Duration, Instant};

use crate::cluster::{Cluster, OFTEN, eventually, has, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_is_caught_up_by_a_snapshot_without_new_writes() {
    let mut cluster = Cluster::with(3, OFTEN).await;
    let away = cluster.follower().await;
    cluster.stop(away).await;
    for n in 0..500 {
        put(cluster.any(), &format!("shop-{n}")).await.unwrap();
    }
    let leader = cluster.leader().await;
    eventually("the leader has nothing left but snapshots", || {
        let status = cluster.node(leader).status();
        status.purged + 60 > status.last
    })
    .await;
    let last = cluster.node(leader).status().last;
    let began = Instant::now();
    cluster.start(away).await.unwrap();
    cluster.converge().await;
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    assert!(cluster.net.sent("snapshot") > 0, "it was not caught up by a snapshot");
    assert!(has(cluster.node(away), "shop-499"));
    let leader = cluster.leader().await;
    assert!(cluster.node(leader).status().last <= last + 3, "something was written to move it along");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_restart_right_after_a_snapshot() {
    let mut cluster = Cluster::with(3, OFTEN).await;
    let mut written = 0;
    for id in cluster.ids().into_iter().chain(cluster.ids()) {
        let before = cluster.node(id).status().snapshot;
        while cluster.node(id).status().snapshot == before {
            put(cluster.node(id), &format!("shop-{written}")).await.unwrap();
            written += 1;
        }
        cluster.kill(id);
        cluster.start(id).await.unwrap();
        cluster.converge().await;
    }
    assert!(cluster.all_have(&format!("shop-{}", written - 1)));
    assert_eq!(cluster.node(1).state().projects.len(), written);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_group_restarts_and_has_everything() {
    let mut cluster = Cluster::with(3, OFTEN).await;
    for n in 0..130 {
        put(cluster.node(1), &format!("shop-{n}")).await.unwrap();
    }
    cluster.converge().await;
    let (ids, hash) = (cluster.ids(), cluster.node(1).state().hash());
    let index = cluster.node(1).state().index;
    for id in &ids {
        cluster.kill(*id);
    }
    for id in &ids {
        cluster.start(*id).await.unwrap();
        let state = cluster.node(*id).state();
        assert!(state.index > 0 && state.index <= index, "rebuilt up to {} of {index}", state.index);
    }
    cluster.leader().await;
    cluster.converge().await;
    assert!(cluster.all_have("shop-129"));
    // Only the new leader's own entry came after.
    let mut state = (*cluster.node(1).state()).clone();
    assert!(state.index > index);
    state.index = index;
    assert_eq!(state.hash(), hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_killed_during_writes_lose_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::with(3, OFTEN).await;
    let mut acknowledged = Vec::new();
    for round in 0..6_u64 {
        let victim = round % 3 + 1;
        let through = cluster.node(victim % 3 + 1).clone();
        let writer = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0..40 {
                let name = format!("shop-{round}-{n}");
                if put(&through, &name).await.is_ok() {
                    acknowledged.push(name);
                }
            }
            acknowledged
        });
        tokio::time::sleep(Duration::from_millis(30 + 17 * round)).await;
        cluster.kill(victim);
        cluster.start(victim).await.unwrap();
        acknowledged.extend(writer.await.unwrap());
    }
    cluster.converge().await;
    assert!(acknowledged.len() > 200, "only {} writes were acknowledged", acknowledged.len());
    let lost: Vec<&String> = acknowledged.iter().filter(|name| !cluster.all_have(name)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_killed_again_and_again_while_it_takes_a_snapshot() {
    let mut cluster = Cluster::with(3, OFTEN).await;
    let away = cluster.follower().await;
    for round in 0..5_u64 {
        cluster.kill(away);
        for n in 0..120 {
            put(cluster.any(), &format!("shop-{round}-{n}")).await.unwrap();
        }
        cluster.start(away).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        cluster.kill(away);
        cluster.start(away).await.unwrap();
        cluster.converge().await;
    }
    assert!(cluster.all_have("shop-4-119"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_shows_how_far_a_member_lags() {
    let mut cluster = Cluster::of(3).await;
    let away = cluster.follower().await;
    cluster.kill(away);
    for n in 0..50 {
        put(cluster.any(), &format!("shop-{n}")).await.unwrap();
    }
    let leader = cluster.leader().await;
    eventually("the lag shows", || {
        let status = cluster.node(leader).status();
        let member = &status.members[&NodeId(away)];
        let behind = status.last - member.matched.unwrap_or(0);
        behind >= 50 && member.silent.is_some_and(|silent| silent > Duration::from_millis(300))
    })
    .await;
}
