//! When an instance that was withdrawn has nothing left to do: pure.
//!
//! What is in flight is counted by this node's own edge, exactly. The count decides only when that edge
//! serves the table that followed after every live edge had withdrawn the instance. That table does not
//! have the instance at all, so not even a lost edge can reach it any more.

use temps_core::assignment::Work;
use temps_core::model::{Index, InstanceId};
use temps_core::table::EdgeReport;

/// What is known about one drain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain {
    /// In flight when this node's edge had withdrawn the instance.
    pub(crate) began_with: Option<u64>,
    /// Nothing is in flight, and nothing can come any more.
    pub(crate) drained: bool,
    everywhere: Option<Index>,
}

impl Drain {
    /// Looks at a report of this node's edge. `index` is that of the assignment that `work` is from.
    pub(crate) fn look(&mut self, work: &Work, index: Index, edge: &EdgeReport) {
        let withdrawn_here = work.instance.withdrawn.is_some_and(|withdrawn| edge.index >= withdrawn);
        let in_flight = in_flight(edge, work.instance.id);
        if withdrawn_here && self.began_with.is_none() {
            self.began_with = Some(in_flight);
        }
        if !work.withdrawn_everywhere {
            // Also when a lost node has returned: it may choose the instance again for a moment.
            self.everywhere = None;
            self.drained = false;
            return;
        }
        let since = *self.everywhere.get_or_insert(index);
        self.drained = withdrawn_here && edge.index >= since && in_flight == 0;
    }
}

/// Requests and streams in flight for an instance of this node.
pub(crate) fn in_flight(edge: &EdgeReport, instance: InstanceId) -> u64 {
    edge.in_flight.get(&instance).copied().unwrap_or(0)
}

/// What is cut if the instance is stopped now.
pub(crate) fn cut(work: &Work, edge: &EdgeReport) -> Option<u64> {
    let n = in_flight(edge, work.instance.id);
    (n > 0 && !work.instance.drained).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::{Drain, cut};
    use crate::testing::work;
    use temps_core::assignment::Work;
    use temps_core::model::{InstanceId, Seen, Want};
    use temps_core::table::EdgeReport;

    fn withdrawn(everywhere: bool) -> Work {
        let mut work = work(Want::Drain, Seen::Ready);
        work.instance.withdrawn = Some(10);
        work.withdrawn_everywhere = everywhere;
        work
    }

    fn edge(index: u64, in_flight: u64) -> EdgeReport {
        EdgeReport { index, in_flight: [(InstanceId(7), in_flight)].into(), ..EdgeReport::default() }
    }

    #[test]
    fn a_drain_begins_when_the_own_edge_has_withdrawn_and_ends_when_all_have_and_nothing_is_left() {
        let mut drain = Drain::default();
        drain.look(&withdrawn(false), 10, &edge(9, 5));
        assert_eq!((drain.began_with, drain.drained), (None, false));
        drain.look(&withdrawn(false), 10, &edge(10, 4));
        assert_eq!((drain.began_with, drain.drained), (Some(4), false));
        // Other edges still forward.
        drain.look(&withdrawn(false), 11, &edge(11, 0));
        assert_eq!((drain.began_with, drain.drained), (Some(4), false));
        drain.look(&withdrawn(true), 12, &edge(12, 1));
        assert!(!drain.drained);
        drain.look(&withdrawn(true), 13, &edge(12, 0));
        assert_eq!((drain.began_with, drain.drained), (Some(4), true));
    }

    #[test]
    fn a_count_from_before_the_last_edge_had_withdrawn_is_not_believed() {
        let mut drain = Drain::default();
        drain.look(&withdrawn(true), 12, &edge(11, 0));
        assert!(!drain.drained);
        drain.look(&withdrawn(true), 13, &edge(12, 0));
        assert!(drain.drained);
    }

    #[test]
    fn a_node_that_returns_opens_the_drain_again() {
        let mut drain = Drain::default();
        drain.look(&withdrawn(true), 12, &edge(12, 0));
        assert!(drain.drained);
        drain.look(&withdrawn(false), 13, &edge(13, 0));
        assert!(!drain.drained);
        drain.look(&withdrawn(true), 20, &edge(13, 0));
        assert!(!drain.drained);
        drain.look(&withdrawn(true), 20, &edge(20, 0));
        assert!(drain.drained);
    }

    #[test]
    fn an_edge_that_does_not_answer_drains_nothing() {
        let mut drain = Drain::default();
        drain.look(&withdrawn(true), 12, &EdgeReport::default());
        drain.look(&withdrawn(true), 13, &EdgeReport::default());
        assert_eq!((drain.began_with, drain.drained), (None, false));
    }

    #[test]
    fn only_what_was_not_drained_is_cut() {
        let mut work = withdrawn(true);
        assert_eq!(cut(&work, &edge(12, 3)), Some(3));
        assert_eq!(cut(&work, &edge(12, 0)), None);
        work.instance.drained = true;
        assert_eq!(cut(&work, &edge(12, 3)), None);
    }
}
