//! Members that come, go, move, and lose their disk.

use temps_core::model::NodeId;
use temps_ledger::Ledger;
use temps_raft::{MemberError, OpenError};

use crate::cluster::{Cluster, OFTEN, eventually, put};
use crate::net::address;

#[tokio::test(flavor = "multi_thread")]
async fn adding_is_idempotent_and_works_on_any_node() {
    let mut cluster = Cluster::of(2).await;
    let follower = cluster.follower().await;
    cluster.start(3).await.unwrap();
    cluster.node(follower).add_member(NodeId(3), &address(3)).await.unwrap();
    cluster.node(follower).add_member(NodeId(3), &address(3)).await.unwrap();
    cluster.node(3).add_member(NodeId(3), &address(3)).await.unwrap();
    eventually("all know three voters", || {
        cluster.ids().iter().all(|id| {
            let members = cluster.node(*id).status().members;
            members.len() == 3 && members.values().all(|member| member.voter)
        })
    })
    .await;
    put(cluster.node(3), "shop").await.unwrap();
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_not_added() {
    let cluster = Cluster::of(1).await;
    let answer = cluster.node(1).add_member(NodeId(2), "nowhere.test:7000").await;
    assert!(matches!(answer, Err(MemberError::NotReady { .. })), "{answer:?}");
    put(cluster.node(1), "shop").await.unwrap();
    assert_eq!(cluster.node(1).status().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_somebody_else_is_refused() {
    let mut cluster = Cluster::of(2).await;
    cluster.start(3).await.unwrap();
    let answer = cluster.any().add_member(NodeId(4), &address(3)).await;
    assert!(answer.is_err(), "{answer:?}");
    let answer = cluster.any().update_address(NodeId(2), &address(3)).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(cluster.any().status().members.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_leave_the_leader_included() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    cluster.node(leader).remove_member(NodeId(leader)).await.unwrap();
    cluster.stop(leader).await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    assert_eq!(cluster.node(next).status().members.len(), 2);
    cluster.node(next).remove_member(NodeId(leader)).await.unwrap();
    put(cluster.node(next), "shop").await.unwrap();
    let other = cluster.follower().await;
    cluster.node(other).remove_member(NodeId(other)).await.unwrap();
    cluster.stop(other).await;
    put(cluster.node(next), "alone").await.unwrap();
    let answer = cluster.node(next).remove_member(NodeId(next)).await;
    assert!(matches!(answer, Err(MemberError::Refused { .. })), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_makes_way_and_anybody_else_has_nothing_to_do() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    cluster.node(leader).yield_leadership(NodeId(follower)).await.unwrap();
    assert_eq!(cluster.leader().await, leader);
    cluster.node(follower).yield_leadership(NodeId(leader)).await.unwrap();
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    cluster.node(leader).remove_member(NodeId(leader)).await.unwrap();
    put(cluster.node(next), "shop").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_member_is_removed_and_stays_out() {
    let mut cluster = Cluster::of(3).await;
    let dead = cluster.follower().await;
    cluster.stop(dead).await;
    cluster.any().remove_member(NodeId(dead)).await.unwrap();
    put(cluster.any(), "meanwhile").await.unwrap();
    // It returns, knows nothing of this, and is nobody's leader or voter.
    cluster.start(dead).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != dead).collect();
    for id in others {
        put(cluster.node(id), &format!("after-{id}")).await.unwrap();
        assert!(!cluster.node(id).status().members.contains_key(&NodeId(dead)));
    }
    assert!(!cluster.node(dead).state().projects.values().any(|p| p.name == "meanwhile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_moves_is_found_again() {
    let cluster = Cluster::of(3).await;
    let follower = cluster.follower().await;
    let leader = cluster.leader().await;
    cluster.net.hang_up(&address(follower));
    cluster.net.listen("elsewhere.test:7000", cluster.node(follower).clone());
    put(cluster.node(leader), "while-away").await.unwrap();
    cluster.node(follower).update_address(NodeId(follower), "elsewhere.test:7000").await.unwrap();
    cluster.converge().await;
    put(cluster.node(follower), "back").await.unwrap();
    cluster.converge().await;
    let known = &cluster.node(leader).status().members[&NodeId(follower)];
    assert_eq!(known.address, "elsewhere.test:7000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_kept_out_and_joins_under_a_new_number() {
    let mut cluster = Cluster::with(3, OFTEN).await;
    for n in 0..120 {
        put(cluster.node(1), &format!("shop-{n}")).await.unwrap();
    }
    let wiped = cluster.follower().await;
    cluster.stop(wiped).await;
    std::fs::remove_dir_all(cluster.data(wiped)).unwrap();
    cluster.start(wiped).await.unwrap();
    let leader = cluster.any().clone();
    let answer = leader.add_member(NodeId(wiped), &address(wiped)).await;
    assert!(matches!(answer, Err(MemberError::Refused { .. })), "{answer:?}");
    put(&leader, "meanwhile").await.unwrap();
    assert_eq!(cluster.node(wiped).state().index, 0, "an empty store must not pass for the full one");
    cluster.stop(wiped).await;
    std::fs::remove_dir_all(cluster.data(wiped)).unwrap();
    leader.remove_member(NodeId(wiped)).await.unwrap();
    cluster.join(4).await;
    cluster.converge().await;
    assert!(cluster.all_have("shop-119") && cluster.all_have("meanwhile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_belongs_to_one_node() {
    let mut cluster = Cluster::of(1).await;
    cluster.stop(1).await;
    std::fs::rename(cluster.data(1), cluster.data(2)).unwrap();
    let answer = cluster.start(2).await;
    assert!(matches!(answer, Err(OpenError::OtherNode { found: NodeId(1), .. })), "{answer:?}");
}
