//! What an edge counted since the last look, from reports of everything that it ever counted.

use std::collections::BTreeMap;

use temps_core::model::{EnvironmentId, Measured, ReleaseId};
use temps_core::table::EdgeReport;

use crate::numbers::{Numbers, Series};

/// What the edge had counted at the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// The edge.
    pub(crate) edge: Edge,
    pub(crate) counted: BTreeMap<EnvironmentId, Measured>,
}

/// Which edge counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Its process id.
    pub(crate) pid: u32,
    /// See [`EdgeReport::counting`].
    pub(crate) counting: u64,
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Another edge counts, from 0.
    pub(crate) anew: bool,
    /// What changed.
    pub(crate) news: Vec<News>,
    /// What the edge forgot: where it counts that again, it begins at 0.
    pub(crate) gone: Vec<Series>,
}

/// One series that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) series: Series,
    /// All that was counted.
    pub(crate) counted: Numbers,
    /// What of that was counted since the last look.
    pub(crate) since: Numbers,
}

impl Meter {
    /// Takes a report in.
    ///
    /// An edge that takes over goes on with the numbers of the one before it. Of one that started anew everything that
    /// it tells was counted since. An edge that does not say which of both it did has started anew where it has another
    /// process id and some number is smaller.
    pub(crate) fn look(&mut self, report: &EdgeReport) -> Look {
        let fewer = |(id, before): (&EnvironmentId, &Measured)| {
            report.traffic.get(id).is_none_or(|now| is_fewer(now, before))
        };
        let edge = Edge { pid: report.pid, counting: report.counting };
        let before = std::mem::replace(&mut self.edge, edge);
        let anew = match (before.counting, edge.counting) {
            (0, _) | (_, 0) => edge.pid != before.pid && self.counted.iter().any(fewer),
            (before, now) => before != now,
        };
        if anew {
            self.counted.clear();
        }
        let mut look = Look { anew, ..Look::default() };
        self.counted.retain(|id, before| {
            let now = report.traffic.get(id);
            let forgotten = |release: &&ReleaseId| now.is_none_or(|now| !now.releases.contains_key(release));
            let gone = before.releases.keys().filter(forgotten).map(|release| Series::Release(*id, *release));
            look.gone.extend(gone);
            if now.is_none() {
                look.gone.push(Series::Environment(*id));
            }
            now.is_some()
        });
        for (id, now) in &report.traffic {
            let before = self.counted.get(id);
            if before == Some(now) {
                continue;
            }
            let traffic = before.map(|before| Numbers::of(&before.traffic));
            look.put(Series::Environment(*id), Numbers::of(&now.traffic), traffic);
            for (release, counts) in &now.releases {
                let before = before.and_then(|before| before.releases.get(release));
                if before != Some(counts) {
                    let series = Series::Release(*id, *release);
                    look.put(series, Numbers::of(counts), before.map(Numbers::of));
                }
            }
            self.counted.insert(*id, now.clone());
        }
        look
    }
}

impl Look {
    fn put(&mut self, series: Series, counted: Numbers, before: Option<Numbers>) {
        // A counter that was forgotten and began again counts from 0.
        let since = before.and_then(|before| counted.since(&before)).unwrap_or_else(|| counted.clone());
        if !since.is_zero() {
            self.news.push(News { series, counted, since });
        }
    }
}

/// Whether some number is smaller, which those of one edge and its successors never are. Releases that an edge no
/// longer knows tell nothing: it forgets old ones.
fn is_fewer(now: &Measured, before: &Measured) -> bool {
    Numbers::of(&now.traffic).since(&Numbers::of(&before.traffic)).is_none()
        || before.releases.iter().any(|(id, before)| {
            now.releases.get(id).is_some_and(|now| Numbers::of(now).since(&Numbers::of(before)).is_none())
        })
}

#[cfg(test)]
mod tests {
    use super::Meter;
    use temps_core::model::{Counts, EnvironmentId, Measured, ReleaseId, Traffic};
    use temps_core::table::EdgeReport;

    /// Requests by environment, and of r1 of each.
    fn report(pid: u32, requests: &[(u64, u64, u64)]) -> EdgeReport {
        let measured = |(id, clients, reached): &(u64, u64, u64)| {
            let traffic = Traffic { requests: *clients, ..Traffic::default() };
            let counts = Counts { requests: *reached, ..Counts::default() };
            (EnvironmentId(*id), Measured { traffic, releases: [(ReleaseId(1), counts)].into() })
        };
        EdgeReport { pid, traffic: requests.iter().map(measured).collect(), ..EdgeReport::default() }
    }

    /// Whether it is anew, and first numbers by series.
    fn look(meter: &mut Meter, report: &EdgeReport) -> (bool, Vec<(String, u64)>) {
        let look = meter.look(report);
        (look.anew, look.news.iter().map(|news| (news.series.name(), news.since.0[0])).collect())
    }

    fn seen(anew: bool, news: &[(&str, u64)]) -> (bool, Vec<(String, u64)>) {
        (anew, news.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect())
    }

    #[test]
    fn what_was_counted_is_told_once() {
        let mut meter = Meter::default();
        assert_eq!(look(&mut meter, &report(1, &[(1, 5, 4)])), seen(false, &[("e1", 5), ("r1", 4)]));
        assert_eq!(look(&mut meter, &report(1, &[(1, 5, 4)])), seen(false, &[]));
        assert_eq!(
            look(&mut meter, &report(1, &[(1, 6, 4), (2, 3, 0)])),
            seen(false, &[("e1", 1), ("e2", 3)])
        );
    }

    #[test]
    fn an_edge_that_takes_over_goes_on_and_one_that_starts_anew_counts_from_0() {
        let mut meter = Meter::default();
        look(&mut meter, &report(1, &[(1, 100, 90), (2, 2, 2)]));
        assert_eq!(look(&mut meter, &report(2, &[(1, 103, 90), (2, 2, 2)])), seen(false, &[("e1", 3)]));
        // e2 has more than before, and all the same it is another 5.
        let anew = look(&mut meter, &report(3, &[(1, 4, 0), (2, 5, 5)]));
        assert_eq!(anew, seen(true, &[("e1", 4), ("e2", 5), ("r1", 5)]));
    }

    #[test]
    fn an_edge_that_tells_who_began_to_count_is_believed() {
        let mut meter = Meter::default();
        let told = |counting, report: EdgeReport| EdgeReport { counting, ..report };
        look(&mut meter, &told(7, report(1, &[(1, 2, 2)])));
        assert_eq!(look(&mut meter, &told(7, report(2, &[(1, 5, 2)]))), seen(false, &[("e1", 3)]));
        // It has counted more than the one before ever did.
        let anew = look(&mut meter, &told(8, report(3, &[(1, 6, 2)])));
        assert_eq!(anew, seen(true, &[("e1", 6), ("r1", 2)]));
    }

    #[test]
    fn a_counter_that_was_forgotten_gives_no_huge_number() {
        let mut meter = Meter::default();
        look(&mut meter, &report(1, &[(1, 100, 90), (2, 7, 7)]));
        assert_eq!(
            look(&mut meter, &report(1, &[(1, 101, 3), (2, 7, 7)])),
            seen(false, &[("e1", 1), ("r1", 3)])
        );
        let gone = meter.look(&report(1, &[(2, 8, 8)])).gone;
        assert_eq!(gone.iter().map(|series| series.name()).collect::<Vec<_>>(), ["r1", "e1"]);
        assert_eq!(
            look(&mut meter, &report(1, &[(1, 2, 2), (2, 8, 8)])),
            seen(false, &[("e1", 2), ("r1", 2)])
        );
    }
}
