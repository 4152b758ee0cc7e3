//! Writing and reading in a healthy group.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use temps_core::command::{Made, Outcome};
use temps_core::model::{NodeId, ProjectId};
use temps_ledger::Ledger;

use crate::cluster::{Cluster, eventually, found, has, propose, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_any_node_is_seen_there_at_once_and_everywhere_soon() {
    let cluster = Cluster::of(3).await;
    for (place, id) in cluster.ids().into_iter().enumerate() {
        let name = format!("shop-{id}");
        let receipt = put(cluster.node(id), &name).await.unwrap();
        assert_eq!(receipt.made(), Ok(Made::Project(ProjectId(place as u64 + 1))));
        assert!(has(cluster.node(id), &name), "the answer came before the state");
        assert!(cluster.node(id).state().index >= receipt.index);
    }
    cluster.converge().await;
    assert!(["shop-1", "shop-2", "shop-3"].iter().all(|name| cluster.all_have(name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_is_a_group() {
    let cluster = Cluster::of(1).await;
    let receipt = put(cluster.node(1), "shop").await.unwrap();
    assert_eq!(cluster.node(1).barrier().await.unwrap(), receipt.index);
    assert!(cluster.node(1).status().quorum);
    assert!(cluster.node(1).step_down().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn founding_twice_is_founding_once() {
    let cluster = Cluster::of(1).await;
    let node = cluster.node(1);
    let first = node.found("test", found()).await.unwrap();
    assert_eq!(node.found("test", found()).await.unwrap(), first);
    assert!(matches!(first.outcome, Outcome::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_effect_once_through_different_nodes() {
    let cluster = Cluster::of(3).await;
    let first = propose(cluster.node(2), Some("key-1"), "shop").await.unwrap();
    let second = propose(cluster.node(3), Some("key-1"), "shop").await.unwrap();
    let third = propose(cluster.node(1), Some("key-1"), "another").await.unwrap();
    assert_eq!((&second, &third), (&first, &first));
    cluster.converge().await;
    assert_eq!(cluster.node(1).state().projects.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_answer() {
    let cluster = Cluster::of(3).await;
    let follower = cluster.follower().await;
    let receipt = put(cluster.node(follower), "Not A Name!").await.unwrap();
    assert!(receipt.made().is_err(), "{receipt:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_shows_what_was_acknowledged_elsewhere() {
    let cluster = Cluster::of(3).await;
    for round in 0..30 {
        let (writer, reader) = (round % 3 + 1, (round + 1) % 3 + 1);
        let name = format!("shop-{round}");
        let receipt = put(cluster.node(writer), &name).await.unwrap();
        let index = cluster.node(reader).barrier().await.unwrap();
        assert!(index >= receipt.index, "read {index} after {} was acknowledged", receipt.index);
        assert!(has(cluster.node(reader), &name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_get_their_own_answers() {
    let cluster = Cluster::of(3).await;
    let writers = (0..90_u64).map(|n| {
        let node = cluster.node(n % 3 + 1).clone();
        tokio::spawn(async move { put(&node, &format!("shop-{n}")).await.unwrap().made().unwrap() })
    });
    let mut made = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        made.push(writer.await.unwrap());
    }
    made.sort_by_key(|made| format!("{made:?}"));
    made.dedup();
    assert_eq!(made.len(), 90, "two writers got one project");
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_tells_each_index() {
    let cluster = Cluster::of(1).await;
    let mut changes = cluster.node(1).changes();
    changes.borrow_and_update();
    let receipt = put(cluster.node(1), "shop").await.unwrap();
    let seen = *changes.wait_for(|index| *index >= receipt.index).await.unwrap();
    assert_eq!(seen, cluster.node(1).state().index);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_counts_who_is_silent() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    assert!(cluster.node(others[0]).silence().is_empty(), "only the leader knows");
    eventually("both are heard", || {
        let silence = cluster.node(leader).silence();
        silence.len() == 2 && silence.values().all(|silent| *silent < Duration::from_millis(500))
    })
    .await;
    cluster.kill(others[0]);
    eventually("the dead one is silent, the other one is not", || {
        let silence = cluster.node(leader).silence();
        let of = |id: u64| silence.get(&NodeId(id)).copied().unwrap_or_default();
        of(others[0]) > Duration::from_secs(1) && of(others[1]) < Duration::from_millis(500)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_begins_with_the_wall_clock_and_goes_on_over_leaders() {
    let mut cluster = Cluster::of(3).await;
    let wall = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let leader = cluster.leader().await;
    let before = cluster.node(leader).now();
    assert!(before.abs_diff(wall) < 60_000, "{before} is not near {wall}");
    put(cluster.node(leader), "shop").await.unwrap();
    let stamped = cluster.node(leader).state().clock;
    assert!(stamped >= before);
    cluster.kill(leader);
    let next = cluster.leader().await;
    let after = cluster.node(next).now();
    assert!(after >= stamped && after < stamped + 30_000, "{after} does not follow {stamped}");
    let follower = cluster.follower().await;
    assert_eq!(cluster.node(follower).now(), cluster.node(follower).state().clock);
}
