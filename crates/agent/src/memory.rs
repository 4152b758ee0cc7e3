//! What this node's edge counted in the last minutes: what a new release is compared with.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use temps_core::model::{DeploymentId, EnvironmentId, Measured, Past};
use temps_core::table::EdgeReport;

/// So far back what was counted is remembered.
const SPAN: Duration = Duration::from_secs(300);
/// Time between two things that are remembered.
const EVERY: Duration = Duration::from_secs(10);

/// What this node's edge counted in the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    samples: VecDeque<(Instant, BTreeMap<EnvironmentId, Measured>)>,
    pasts: BTreeMap<DeploymentId, Past>,
}

impl Memory {
    /// Remembers a report, and what was counted before deployments that begin with it.
    pub(crate) fn look(
        &mut self,
        edge: &EdgeReport,
        unmeasured: &BTreeMap<DeploymentId, EnvironmentId>,
        now: Instant,
    ) {
        // An edge that has not been heard yet counts nothing, which is not the same as no traffic.
        if edge.pid == 0 {
            return;
        }
        self.samples.retain(|(at, _)| now.duration_since(*at) <= SPAN);
        self.pasts.retain(|id, _| unmeasured.contains_key(id));
        for (deployment, environment) in unmeasured {
            if !self.pasts.contains_key(deployment) {
                let past = self.past(*environment, edge, now);
                self.pasts.insert(*deployment, past);
            }
        }
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= EVERY) {
            self.samples.push_back((now, edge.traffic.clone()));
        }
    }

    fn past(&self, environment: EnvironmentId, edge: &EdgeReport, now: Instant) -> Past {
        let none = Measured::default();
        let counted = edge.traffic.get(&environment).unwrap_or(&none);
        let samples = self.samples.iter().map(|(at, all)| (at, all.get(&environment).unwrap_or(&none)));
        // The edge may have started anew meanwhile.
        let oldest = samples.rev().take_while(|(_, sample)| !counted.is_anew(sample)).last();
        oldest.map_or_else(Past::default, |(at, sample)| Past {
            millis: u64::try_from(now.duration_since(*at).as_millis()).unwrap_or(u64::MAX),
            measured: counted.since(Some(sample)),
        })
    }

    /// What was counted before deployments of which the cluster does not know it yet.
    pub(crate) fn pasts(&self) -> &BTreeMap<DeploymentId, Past> {
        &self.pasts
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use temps_core::model::{DeploymentId, EnvironmentId, Measured, Traffic};
    use temps_core::table::EdgeReport;

    use super::Memory;

    fn report(requests: u64) -> EdgeReport {
        let traffic = Traffic { requests, ..Traffic::default() };
        let measured = Measured { traffic, ..Measured::default() };
        EdgeReport { pid: 1, traffic: [(EnvironmentId(1), measured)].into(), ..EdgeReport::default() }
    }

    #[test]
    fn the_past_of_a_deployment_is_that_of_its_begin() {
        let (mut memory, begun) = (Memory::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let none = [].into();
        for second in 0..400 {
            memory.look(&report(1_000 + second), &none, at(second));
        }
        let unmeasured = [(DeploymentId(7), EnvironmentId(1))].into();
        memory.look(&report(1_400), &unmeasured, at(400));
        memory.look(&report(1_450), &unmeasured, at(410));
        let past = &memory.pasts()[&DeploymentId(7)];
        assert_eq!((past.millis, past.measured.traffic.requests), (300_000, 300));
        memory.look(&report(1_450), &none, at(411));
        assert!(memory.pasts().is_empty(), "the cluster knows it");
    }

    #[test]
    fn an_edge_that_started_anew_has_a_short_past_and_one_not_heard_has_none() {
        let (mut memory, begun) = (Memory::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (none, unmeasured) = ([].into(), [(DeploymentId(7), EnvironmentId(1))].into());
        memory.look(&EdgeReport::default(), &unmeasured, at(0));
        assert!(memory.pasts().is_empty());
        memory.look(&report(500), &none, at(10));
        memory.look(&report(3), &none, at(20));
        memory.look(&report(9), &unmeasured, at(25));
        let past = &memory.pasts()[&DeploymentId(7)];
        assert_eq!((past.millis, past.measured.traffic.requests), (5_000, 6));
    }
}
