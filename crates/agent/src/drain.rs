//! When an instance that was withdrawn has nothing left to do: pure.
//!
//! What is in flight is counted by this node's own edge, exactly. The count decides only when it was taken
//! after every edge had stopped choosing the instance: an older count does not know what came since.

use std::time::{Duration, Instant};

use temps_core::assignment::Work;
use temps_core::model::{Index, InstanceId};
use temps_core::table::EdgeReport;

/// After this, a count is not older than what it is compared with: an edge reports several times a second.
const COUNT_AGE: Duration = Duration::from_millis(600);

/// What is known about one drain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain {
    /// In flight when this node's edge had withdrawn the instance.
    pub(crate) began_with: Option<u64>,
    /// Nothing is in flight, and nothing can come any more.
    pub(crate) drained: bool,
    everywhere: Option<(Index, Instant)>,
}

impl Drain {
    /// Looks at a report of this node's edge. `index` is that of the assignment that `work` is from.
    pub(crate) fn look(&mut self, work: &Work, index: Index, edge: &EdgeReport, now: Instant) {
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
        let (since_index, since) = *self.everywhere.get_or_insert((index, now));
        let is_newer = edge.index >= since_index || now.duration_since(since) >= COUNT_AGE;
        self.drained = withdrawn_here && is_newer && in_flight == 0;
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
    use std::time::{Duration, Instant};

    use super::{COUNT_AGE, Drain, cut};
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
        let now = Instant::now();
        let mut drain = Drain::default();
        drain.look(&withdrawn(false), 10, &edge(9, 5), now);
        assert_eq!((drain.began_with, drain.drained), (None, false));
        drain.look(&withdrawn(false), 10, &edge(10, 4), now);
        assert_eq!((drain.began_with, drain.drained), (Some(4), false));
        // Other edges still forward.
        drain.look(&withdrawn(false), 11, &edge(11, 0), now);
        assert_eq!((drain.began_with, drain.drained), (Some(4), false));
        drain.look(&withdrawn(true), 12, &edge(12, 1), now);
        assert!(!drain.drained);
        drain.look(&withdrawn(true), 13, &edge(12, 0), now);
        assert_eq!((drain.began_with, drain.drained), (Some(4), true));
    }

    #[test]
    fn a_count_from_before_the_last_edge_had_withdrawn_is_not_believed() {
        let now = Instant::now();
        let mut drain = Drain::default();
        drain.look(&withdrawn(true), 12, &edge(11, 0), now);
        assert!(!drain.drained);
        drain.look(&withdrawn(true), 13, &edge(12, 0), now + Duration::from_millis(1));
        assert!(drain.drained);

        let mut late = Drain::default();
        late.look(&withdrawn(true), 12, &edge(11, 0), now);
        late.look(&withdrawn(true), 12, &edge(11, 0), now + COUNT_AGE);
        assert!(late.drained);
    }

    #[test]
    fn a_node_that_returns_opens_the_drain_again() {
        let now = Instant::now();
        let mut drain = Drain::default();
        drain.look(&withdrawn(true), 12, &edge(12, 0), now);
        assert!(drain.drained);
        drain.look(&withdrawn(false), 13, &edge(13, 0), now);
        assert!(!drain.drained);
        drain.look(&withdrawn(true), 20, &edge(13, 0), now);
        assert!(!drain.drained);
        drain.look(&withdrawn(true), 20, &edge(20, 0), now);
        assert!(drain.drained);
    }

    #[test]
    fn an_edge_that_does_not_answer_drains_nothing() {
        let now = Instant::now();
        let mut drain = Drain::default();
        drain.look(&withdrawn(true), 12, &EdgeReport::default(), now);
        drain.look(&withdrawn(true), 12, &EdgeReport::default(), now + 10 * COUNT_AGE);
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
