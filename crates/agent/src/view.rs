//! What this node sees of its own instances, at once and without a quorum.

use std::collections::{BTreeMap, BTreeSet};

use temps_core::assignment::Assignment;
use temps_core::model::{Endpoint, InstanceId, Seen};

use crate::local::Local;

/// What this node sees of its own instances. It is newer than the replicated state: a route to what is
/// down can be withdrawn from this node's edge before the cluster knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalView {
    /// Everything on this node was listed since the start of the server; before, nothing is known, and
    /// addresses in the replicated state may be those of other programs.
    pub listed: bool,
    /// Instances to which nothing may be sent: they do not run, and will not run again, or they have lost
    /// their address.
    pub down: BTreeSet<InstanceId>,
    /// Instances that run, and fail their health check.
    pub unready: BTreeSet<InstanceId>,
    /// Where those that run answer.
    pub endpoints: BTreeMap<InstanceId, Endpoint>,
}

impl LocalView {
    pub(crate) fn of(assigned: &Assignment, locals: &BTreeMap<InstanceId, Local>) -> Self {
        let mut view = Self { listed: true, ..Self::default() };
        for (id, local) in locals {
            if local.is_down() {
                view.down.insert(*id);
                continue;
            }
            let Some(running) = local.running() else { continue };
            // The address that the cluster knows may be another's by now.
            let answers = assigned.instances.get(id).is_some_and(|work| work.process.http);
            if answers && running.endpoint.is_none() {
                view.down.insert(*id);
            }
            if local.vitals.seen == Seen::Unready {
                view.unready.insert(*id);
            }
            view.endpoints.extend(running.endpoint.clone().map(|endpoint| (*id, endpoint)));
        }
        let ran = |seen: Seen| seen > Seen::Pending;
        view.down.extend(
            assigned
                .instances
                .values()
                .map(|work| &work.instance)
                .filter(|instance| ran(instance.seen) && !locals.contains_key(&instance.id))
                .map(|instance| instance.id),
        );
        view
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::LocalView;
    use crate::local::{Care, Local, Stage};
    use crate::runtime::Running;
    use crate::testing::{assigned, work};
    use temps_core::model::{Endpoint, Exit, InstanceId, Seen, Want};

    #[test]
    fn what_runs_has_an_address_and_what_ran_is_down() {
        let i7 = InstanceId(7);
        let endpoint = Endpoint { address: "127.0.0.1:1".to_owned(), incarnation: "x".to_owned() };
        let running =
            || Running { incarnation: "x".to_owned(), endpoint: Some(endpoint.clone()), age: Duration::ZERO };
        let local = |stage| BTreeMap::from([(i7, Local::new(stage, String::new(), Duration::ZERO))]);
        let ready = assigned(work(Want::Run, Seen::Ready));

        let up = LocalView::of(&ready, &local(Stage::Up(running(), Care::Health)));
        assert_eq!(up.endpoints, BTreeMap::from([(i7, endpoint.clone())]));
        assert!(up.listed && up.down.is_empty() && up.unready.is_empty());
        for gone in [local(Stage::Ended(Exit::default())), local(Stage::Unstarted), BTreeMap::new()] {
            let view = LocalView::of(&ready, &gone);
            assert!(view.endpoints.is_empty() && view.down.contains(&i7), "{view:?}");
        }
        // Its address may be another's by now, and what is over is as good as ended.
        let lost = Running { endpoint: None, ..running() };
        let mut over = local(Stage::Up(running(), Care::Health));
        over.get_mut(&i7).expect("there").call_over(Exit::default());
        for unusable in [local(Stage::Up(lost, Care::Health)), over] {
            let view = LocalView::of(&ready, &unusable);
            assert!(view.endpoints.is_empty() && view.down.contains(&i7), "{view:?}");
        }
        let pending = assigned(work(Want::Run, Seen::Pending));
        for waiting in [local(Stage::Starting), BTreeMap::new()] {
            let view = LocalView::of(&pending, &waiting);
            assert_eq!(view, LocalView { listed: true, ..LocalView::default() });
        }
    }
}
