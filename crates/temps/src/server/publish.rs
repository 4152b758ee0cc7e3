//! Tables for the edge: what the cluster says, corrected by what is seen on this node.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use temps_agent::LocalView;
use temps_agent::runtime::Runtime;
use temps_core::model::{ClusterState, NodeId};
use temps_core::routes::routes;
use temps_core::table::{Certificates, Certified, Route, Table};
use temps_edge::Link;
use temps_ledger::Ledger;
use temps_wire::seal::{CERTIFICATE_KEY, Seal};
use temps_wire::shown::Shown;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often what runs instances is asked whether it is away.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Returns once what runs instances here does not answer. Its containers run on meanwhile, and nobody else
/// gets their addresses.
async fn is_away(runtime: Arc<dyn Runtime>) {
    while runtime.trouble().await.is_none() {
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Certificates of names: how their keys are opened, and where they are shown besides at the edge.
pub(super) struct Keys {
    pub(super) seal: Seal,
    pub(super) shown: Arc<Shown>,
}

/// Publishes a table after each change of the state or of what is seen here.
pub(super) async fn publish(
    node: NodeId,
    ledger: Arc<dyn Ledger>,
    link: Arc<Link>,
    keys: Keys,
    mut local: watch::Receiver<LocalView>,
    runtime: Arc<dyn Runtime>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut changes = ledger.changes();
    let mut reports = link.reports();
    let mut version = 0;
    let mut certified = None;
    let mut caught_up = false;
    let mut is_away = pin!(is_away(runtime));
    let mut away = false;
    loop {
        changes.mark_unchanged();
        let state = ledger.state();
        // A node that returns first learns what it missed; until then its edge knows better.
        caught_up = caught_up
            || tokio::select! {
                reached = ledger.barrier() => reached.is_ok(),
                () = shutdown.cancelled() => return Ok(()),
            };
        // Before everything here was listed, addresses in the state may be those of other programs. But
        // where it cannot be listed for long, the other nodes must not wait for this one's edge.
        let known = local.borrow().listed || away;
        // Opening them takes time, and most changes are of something else.
        if (caught_up || state.index > 0) && certified.as_ref() != Some(&state.tls.certificates) {
            let certificates = certificates(&state, &keys.seal);
            keys.shown.show(&certificates);
            link.certify(certificates);
            certified = Some(state.tls.certificates.clone());
        }
        if known && (caught_up || state.index >= reports.borrow_and_update().index && state.index > 0) {
            version += 1;
            let mut table = routes(&ledger.state(), node);
            table.version = version;
            correct(&mut table, &local.borrow_and_update());
            link.publish(table);
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = changes.changed() => changed?,
            changed = local.changed() => changed?,
            () = &mut is_away, if !away => away = true,
        }
    }
}

/// Every certificate of the cluster, opened. One that cannot be is left out.
fn certificates(state: &ClusterState, seal: &Seal) -> Certificates {
    let opened = state.tls.certificates.iter().filter_map(|(id, certificate)| {
        let key = seal.open(CERTIFICATE_KEY, &certificate.key);
        let key = key.inspect_err(|error| warn!(%id, %error, "a certificate is not shown")).ok()?;
        Some(Certified {
            names: certificate.names.iter().cloned().collect(),
            chain: certificate.chain.clone(),
            key,
            not_after: certificate.not_after,
        })
    });
    Certificates(opened.collect())
}

/// Takes out instances that ended on this node and those that fail their health check here, and puts in
/// the addresses that were read here.
fn correct(table: &mut Table, seen: &LocalView) {
    let node = table.node;
    for route in &mut table.routes {
        route.local.retain(|target| !seen.down.contains(&target.instance));
        for target in &mut route.local {
            if let Some(endpoint) = seen.endpoints.get(&target.instance) {
                target.endpoint.clone_from(endpoint);
            }
        }
        share(route, node);
        // An unhealthy instance is passed over where there is another, and only there.
        let mut without = route.clone();
        for target in without.local.iter_mut().filter(|t| seen.unready.contains(&t.instance)) {
            target.draining = true;
        }
        share(&mut without, node);
        if !without.choices.is_empty() {
            *route = without;
        }
    }
}

/// The node's share falls with the number of its instances that take requests.
fn share(route: &mut Route, node: NodeId) {
    let Route { choices, local, .. } = route;
    for choice in choices.iter_mut().filter(|c| c.node == node) {
        let able = local.iter().filter(|t| t.release == choice.release && !t.draining).count();
        let able = u32::try_from(able).unwrap_or(u32::MAX).min(choice.instances);
        let part = u64::from(choice.weight) * u64::from(able) / u64::from(choice.instances.max(1));
        choice.weight = u32::try_from(part).unwrap_or(u32::MAX);
        choice.instances = able;
    }
    choices.retain(|choice| choice.instances > 0 || choice.node != node);
}

#[cfg(test)]
mod tests {
    use temps_agent::LocalView;
    use temps_core::model::{Endpoint, InstanceId, NodeId, ReleaseId};
    use temps_core::table::{Choice, Route, Table, Target};

    use super::correct;

    fn table() -> Table {
        let target = |n| Target {
            instance: InstanceId(n),
            release: ReleaseId(1),
            endpoint: Endpoint { address: format!("127.0.0.1:{n}"), incarnation: "a".to_owned() },
            ..Target::default()
        };
        let choice =
            |node, weight| Choice { release: ReleaseId(1), node: NodeId(node), weight, instances: weight };
        let route = Route {
            choices: vec![choice(1, 2), choice(2, 1)],
            local: vec![target(1), target(2)],
            ..Route::default()
        };
        Table { node: NodeId(1), routes: vec![route], ..Table::default() }
    }

    #[test]
    fn an_instance_that_ended_here_is_withdrawn_at_once() {
        let mut seen = LocalView::default();
        let mut one = table();
        seen.down.insert(InstanceId(1));
        correct(&mut one, &seen);
        assert_eq!(one.routes[0].local.len(), 1);
        assert_eq!(
            one.routes[0].choices.iter().map(|c| (c.node.0, c.weight)).collect::<Vec<_>>(),
            [(1, 1), (2, 1)]
        );
        seen.down.insert(InstanceId(2));
        correct(&mut one, &seen);
        assert_eq!(one.routes[0].choices.iter().map(|c| c.node.0).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn an_unhealthy_instance_is_passed_over_unless_it_is_the_last() {
        let mut seen = LocalView::default();
        seen.unready.extend([InstanceId(1), InstanceId(2)]);
        let mut one = table();
        correct(&mut one, &seen);
        assert!(one.routes[0].local.iter().all(|t| t.draining));
        assert_eq!(one.routes[0].choices.iter().map(|c| c.node.0).collect::<Vec<_>>(), [2]);
        let mut alone = table();
        alone.routes[0].choices.retain(|c| c.node == NodeId(1));
        let before = alone.clone();
        correct(&mut alone, &seen);
        assert_eq!(alone, before);
    }

    #[test]
    fn the_share_of_a_release_falls_with_its_instances_and_not_by_itself() {
        let weighed = |weight| {
            let mut one = table();
            one.routes[0].choices[0].weight = weight;
            one
        };
        let mut seen = LocalView::default();
        let mut one = weighed(190);
        correct(&mut one, &seen);
        assert_eq!(one, weighed(190));
        seen.down.insert(InstanceId(1));
        correct(&mut one, &seen);
        assert_eq!(one.routes[0].choices[0].weight, 95);
        // A release that is to get nothing yet is there all the same.
        let mut one = weighed(0);
        correct(&mut one, &seen);
        assert_eq!(one.routes[0].choices.len(), 2);
    }

    #[test]
    fn addresses_are_those_that_were_read_here() {
        let mut seen = LocalView::default();
        let read = Endpoint { address: "127.0.0.1:9".to_owned(), incarnation: "b".to_owned() };
        seen.endpoints.insert(InstanceId(1), read.clone());
        let mut one = table();
        correct(&mut one, &seen);
        assert_eq!(one.routes[0].local[0].endpoint, read);
        assert_eq!(one.routes[0].choices, table().routes[0].choices);
    }
}
