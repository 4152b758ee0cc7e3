//! Who may become a node.

use std::time::Duration;

use temps_tests::cluster::Cluster;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// How long a silent node counts.
const LEASE: &str = "15s";

/// Starts a fourth node with this token and returns what it said when it gave up.
fn refused(cluster: &Cluster, name: &str, token: &str) -> Result<String> {
    let before = cluster.nodes_up();
    let mut node = cluster.another(name, LEASE)?;
    let founder = cluster.nodes[0].shape.listen.to_string();
    node.launch(&["--join", &founder, "--token", token])?;
    let ended = wait::until("the stranger to give up", Duration::from_secs(30), || !node.is_up());
    let said = node.log_tail(20);
    node.clear()?;
    ended?;
    check_eq!(cluster.nodes_up(), before, "nodes after {name}: {said}");
    Ok(said)
}

/// The token names the cluster it is for; a joiner refuses any other before it tells its secret.
pub(crate) fn other_cluster(cluster: &mut Cluster) -> Result {
    let other = Cluster::start_with(cluster.ground(), 1, LEASE)?;
    let token = other.join_token()?;
    let said = refused(cluster, "stranger", &token)?;
    let lower = said.to_lowercase();
    check!(lower.contains("certificate") || lower.contains("another cluster"), "unclear: {said}");
    check!(!said.contains(&token), "the token is in the log");
    other.close()
}

/// A token admits one machine.
pub(crate) fn used(cluster: &mut Cluster) -> Result {
    let before = cluster.nodes_up();
    let token = cluster.join_token()?;
    let mut fourth = cluster.another("n4", LEASE)?;
    let founder = cluster.nodes[0].shape.listen.to_string();
    fourth.launch(&["--join", &founder, "--token", &token])?;
    let joined = wait::until("the fourth node", Duration::from_secs(30), || cluster.nodes_up() == before + 1);
    let said = fourth.log_tail(20);
    cluster.nodes.push(fourth);
    joined.map_err(|e| temps_tests::trouble::Trouble::new(format!("{e}: {said}")))?;

    let mut fifth = cluster.another("n5", LEASE)?;
    fifth.launch(&["--join", &founder, "--token", &token])?;
    let ended = wait::until("the fifth to give up", Duration::from_secs(30), || !fifth.is_up());
    let said = fifth.log_tail(20);
    fifth.clear()?;
    ended?;
    check!(said.contains("used") || said.contains("token"), "unclear: {said}");
    check_eq!(cluster.nodes_up(), before + 1, "nodes");
    Ok(())
}

/// The token of a person is not the token of a machine.
pub(crate) fn wrong_kind(cluster: &mut Cluster) -> Result {
    let said = refused(cluster, "impostor", &cluster.cli().token)?;
    check!(said.contains("join token"), "unclear: {said}");
    Ok(())
}
