//! What a deployment did to requests, for a person: made of what edges counted and of its events.

use std::collections::BTreeMap;

use crate::model::{
    ClusterState, Counts, Deployment, DeploymentId, InstanceId, Measured, Millis, NodeId, ReleaseId, Traffic,
    What,
};

/// Counts by release.
pub type ByRelease = BTreeMap<ReleaseId, Counts>;

/// What a deployment did to requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// The longest time from the start of an instance until it was healthy.
    pub time_to_healthy: Option<Millis>,
    /// The longest time an instance took to finish what it had begun.
    pub drain_time: Option<Millis>,
    /// How long the image took to be made.
    pub build_time: Option<Millis>,
    /// In the minutes before it began: how long that was, and what was counted.
    pub before: (Millis, ByRelease),
    /// Until watching began.
    pub during: ByRelease,
    /// From then on; nothing where it did not come so far.
    pub after: Option<ByRelease>,
    /// Requests that reached instances, by release and node, from begin to end.
    pub served: Vec<(ReleaseId, NodeId, u64)>,
    /// What clients got from begin to end; nothing where no edge has told.
    pub receipt: Option<Traffic>,
}

/// The metrics of a deployment.
#[must_use]
pub fn metrics(state: &ClusterState, deployment: &Deployment) -> Metrics {
    let counted = &deployment.counted;
    let releases = |measured: Measured| measured.releases;
    let (during, after) = counted.parts();
    let mut served = Vec::new();
    for (node, measured) in counted.by_node() {
        let reached = measured.releases.iter().filter(|(_, counts)| counts.requests > 0);
        served.extend(reached.map(|(release, counts)| (*release, node, counts.requests)));
    }
    served.sort_unstable();
    let spans = Spans::of(state, deployment.id);
    Metrics {
        time_to_healthy: spans.healthy,
        drain_time: spans.drained,
        build_time: spans.built,
        before: (
            counted.past.values().map(|past| past.millis).max().unwrap_or_default(),
            releases(counted.past()),
        ),
        during: releases(during),
        after: after.map(releases),
        served,
        receipt: counted.is_known().then(|| counted.total().traffic),
    }
}

/// The longest of each kind, by the wall time of the leader.
#[derive(Default)]
struct Spans {
    healthy: Option<Millis>,
    drained: Option<Millis>,
    built: Option<Millis>,
}

impl Spans {
    fn of(state: &ClusterState, id: DeploymentId) -> Self {
        let mut spans = Self::default();
        let mut began = BTreeMap::<InstanceId, Millis>::new();
        let mut building = None;
        for event in state.events.values().filter(|event| event.deployment == Some(id)) {
            let since = |at: Option<&Millis>| at.map(|at| event.wall.saturating_sub(*at));
            if let What::Starting { instance, .. } | What::Draining { instance, .. } = &event.what {
                began.insert(*instance, event.wall);
            } else if let What::Healthy { instance, .. } = &event.what {
                spans.healthy = spans.healthy.max(since(began.get(instance)));
            } else if let What::Drained { instance, .. } | What::DrainTimedOut { instance, .. } = &event.what
            {
                spans.drained = spans.drained.max(since(began.get(instance)));
            } else if let What::Building { .. } = &event.what {
                building = Some(event.wall);
            } else if let What::Built { .. } = &event.what {
                spans.built = since(building.as_ref());
            }
        }
        spans
    }
}
