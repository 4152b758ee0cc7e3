//! What was in flight in a second, from all that an edge told within it.

use std::collections::BTreeMap;

use temps_core::table::EdgeReport;

use crate::numbers::Series;

/// The most that was seen in flight in the second that is not over yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flight {
    most: BTreeMap<Series, u64>,
    /// What the edge told last; nothing where it told nothing in this second.
    last: Option<BTreeMap<Series, u64>>,
}

impl Flight {
    /// Takes a report in.
    pub(crate) fn see(&mut self, report: &EdgeReport) {
        let releases = |(environment, releases): (_, &BTreeMap<_, u64>)| {
            let gauge = |(release, n): (&_, &u64)| (Series::InFlight(environment, *release), *n);
            releases.iter().map(gauge).collect::<Vec<_>>()
        };
        let all: BTreeMap<_, _> =
            report.by_release.iter().map(|(id, of)| (*id, of)).flat_map(releases).collect();
        for (series, n) in &all {
            let most = self.most.entry(*series).or_default();
            *most = (*n).max(*most);
        }
        self.last = Some(all);
    }

    /// The second is over: what it had at most; nothing is known where the edge was silent. The next one begins with
    /// what there is now.
    pub(crate) fn end(&mut self) -> Option<BTreeMap<Series, u64>> {
        let last = self.last.take();
        let most = std::mem::replace(&mut self.most, last.clone().unwrap_or_default());
        last.map(|_| most)
    }
}

#[cfg(test)]
mod tests {
    use super::Flight;
    use crate::numbers::Series;
    use temps_core::model::{EnvironmentId, ReleaseId};
    use temps_core::table::EdgeReport;

    fn report(releases: &[(u64, u64)]) -> EdgeReport {
        let of = releases.iter().map(|(id, n)| (ReleaseId(*id), *n)).collect();
        EdgeReport { pid: 1, by_release: [(EnvironmentId(1), of)].into(), ..EdgeReport::default() }
    }

    fn end(flight: &mut Flight) -> Option<Vec<(u64, u64)>> {
        let release = |series| match series {
            Series::InFlight(_, release) => release.0,
            Series::Environment(_) | Series::Release(..) => 0,
        };
        flight.end().map(|most| most.into_iter().map(|(series, n)| (release(series), n)).collect())
    }

    #[test]
    fn the_most_of_a_second_counts_and_the_next_begins_with_what_is_left() {
        let mut flight = Flight::default();
        assert_eq!(end(&mut flight), None);
        [&[(3, 9)][..], &[(3, 12)], &[(3, 7), (4, 1)]].iter().for_each(|of| flight.see(&report(of)));
        assert_eq!(end(&mut flight), Some(vec![(3, 12), (4, 1)]));
        [&[(3, 2), (4, 5)][..], &[(4, 0)]].iter().for_each(|of| flight.see(&report(of)));
        assert_eq!(end(&mut flight), Some(vec![(3, 7), (4, 5)]));
        flight.see(&report(&[]));
        assert_eq!(end(&mut flight), Some(vec![(4, 0)]));
        flight.see(&report(&[]));
        assert_eq!(end(&mut flight), Some(vec![]), "it told that there is none");
        assert_eq!(end(&mut flight), None, "it was silent");
    }
}
