//! Pieces of state for tests.

pub(crate) mod script;

use std::collections::BTreeMap;

use temps_core::assignment::{Assignment, Work};
use temps_core::model::{
    Artifact, EnvironmentId, Health, Instance, InstanceId, NodeId, ProcessSpec, ReleaseId, Seen, Want,
};

/// A digest that only its first letters tell from others.
pub(crate) fn digest(name: &str) -> String {
    format!("{name:0<64}")
}

/// Instance 7 of an HTTP process on node 1.
pub(crate) fn work(want: Want, seen: Seen) -> Work {
    let instance = Instance {
        want,
        seen,
        was_ready: seen >= Seen::Ready,
        ..Instance::new(InstanceId(7), EnvironmentId(1), ReleaseId(1), "web", NodeId(1))
    };
    Work {
        instance,
        artifact: Artifact { digest: digest("a"), bytes: 1, ..Artifact::default() },
        process: ProcessSpec { http: true, instances: 1, ..ProcessSpec::default() },
        once: false,
        volumes: BTreeMap::new(),
        variables: BTreeMap::new(),
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        health: Some(Health::default()),
        host: "shop.localhost".to_owned(),
        settle: 10_000,
        stop_grace: 10_000,
        withdrawn_everywhere: false,
    }
}

/// An assignment of one instance.
pub(crate) fn assigned(work: Work) -> Assignment {
    Assignment { index: 5, instances: BTreeMap::from([(work.instance.id, work)]), ..Assignment::default() }
}
