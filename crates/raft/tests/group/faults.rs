//! Long, seeded runs on a network that loses and delays messages, with nodes that die.

use std::time::Duration;

use temps_ledger::Ledger;

use crate::cluster::{Cluster, OFTEN, propose};
use crate::net::Weather;

/// Each write is made with a key and repeated until it is answered: it must count exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn every_write_counts_once_in_bad_weather() {
    let mut cluster = Cluster::with(3, OFTEN).await;
    cluster.net.weather(Weather { lost_per_mille: 30, delay: Duration::from_millis(8) });
    let writers: Vec<_> = cluster
        .ids()
        .into_iter()
        .filter(|id| *id != 3)
        .map(|id| {
            let node = cluster.node(id).clone();
            tokio::spawn(async move {
                for n in 0..60 {
                    let name = format!("shop-{id}-{n}");
                    let mut tries = 0;
                    while propose(&node, Some(&name), &name).await.is_err() {
                        tries += 1;
                        assert!(tries < 20, "{name} was never answered");
                    }
                }
            })
        })
        .collect();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        cluster.kill(3);
        cluster.start(3).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    cluster.net.weather(Weather::default());
    cluster.converge().await;
    assert_eq!(cluster.node(3).state().projects.len(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_never_stale_while_leaders_change() {
    let cluster = Cluster::with(3, OFTEN).await;
    for round in 0..12_u64 {
        let leader = cluster.leader().await;
        let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
        if round % 2 == 0 {
            cluster.net.isolate(leader, others.clone());
        } else {
            cluster.node(leader).step_down().await;
        }
        let name = format!("shop-{round}");
        let receipt = propose(cluster.node(others[0]), Some(&name), &name).await.unwrap();
        // Whoever answers must have it; the one that is cut off must not answer at all.
        for id in cluster.ids() {
            if let Ok(index) = cluster.node(id).barrier().await {
                assert!(index >= receipt.index, "n{id} read {index}, {} was acknowledged", receipt.index);
            }
        }
        cluster.net.heal();
    }
    cluster.converge().await;
}
