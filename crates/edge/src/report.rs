//! What an edge has acknowledged, and the report made of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use temps_core::model::{EnvironmentId, Measured};
use temps_core::table::{EdgeReport, Table};

use crate::table::Compiled;

/// Which server of possibly several sent a table.
pub(crate) type Session = u64;

/// A table in use or about to be.
#[derive(Debug)]
struct Stamp {
    seq: u64,
    index: u64,
    version: u64,
    session: Session,
    /// Freed here and not by a worker.
    _table: Arc<Compiled>,
}

/// The tables of this edge, in order, and which of them everybody serves.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    served: Option<Stamp>,
    pending: VecDeque<Stamp>,
}

impl Ledger {
    /// Whether a table is newer than the newest here. A server that has just started may be behind; what it knows
    /// from before is not news.
    pub(crate) fn is_news(&self, table: &Table, session: Session) -> bool {
        match self.pending.back().or(self.served.as_ref()) {
            Some(newest) if newest.session == session => {
                (table.index, table.version) > (newest.index, newest.version)
            }
            Some(newest) => table.index >= newest.index,
            None => true,
        }
    }

    pub(crate) fn add(&mut self, seq: u64, table: &Table, session: Session, compiled: Arc<Compiled>) {
        let (index, version) = (table.index, table.version);
        self.pending.push_back(Stamp { seq, index, version, session, _table: compiled });
    }

    /// Everybody serves the table of this number.
    pub(crate) fn acknowledge(&mut self, seq: u64) {
        while self.pending.front().is_some_and(|stamp| stamp.seq <= seq) {
            self.served = self.pending.pop_front();
        }
    }

    /// Index and version, as this server knows them: the versions of another server mean nothing to it.
    pub(crate) fn served(&self, session: Session) -> (u64, u64) {
        match &self.served {
            Some(stamp) if stamp.session == session => (stamp.index, stamp.version),
            Some(stamp) => (stamp.index, 0),
            None => (0, 0),
        }
    }
}

/// Adds up what an edge and the one before it count.
pub(crate) fn add_up(
    mine: EdgeReport,
    before: Option<&EdgeReport>,
    base: &BTreeMap<EnvironmentId, Measured>,
) -> EdgeReport {
    let mut sum = mine;
    if let Some(before) = before {
        for (instance, n) in &before.in_flight {
            *sum.in_flight.entry(*instance).or_insert(0) += n;
        }
        for (environment, releases) in &before.by_release {
            let of = sum.by_release.entry(*environment).or_default();
            releases.iter().for_each(|(release, n)| *of.entry(*release).or_default() += n);
        }
        add_traffic(&mut sum.traffic, &before.traffic);
    }
    add_traffic(&mut sum.traffic, base);
    sum
}

/// Adds counters to counters.
pub(crate) fn add_traffic(
    sum: &mut BTreeMap<EnvironmentId, Measured>,
    more: &BTreeMap<EnvironmentId, Measured>,
) {
    for (environment, measured) in more {
        sum.entry(*environment).or_default().add(measured);
    }
}

/// What of a report is news to whoever was told another: of thousands of environments few have requests just now.
pub(crate) fn news(report: &EdgeReport, told: &EdgeReport) -> EdgeReport {
    let (traffic, by_release) =
        (changes(&report.traffic, &told.traffic), changes(&report.by_release, &told.by_release));
    EdgeReport { traffic, by_release, in_flight: report.in_flight.clone(), ..*report }
}

/// What is another than before; of what is gone, that nothing is there.
fn changes<T: Clone + Default + PartialEq>(
    now: &BTreeMap<EnvironmentId, T>,
    before: &BTreeMap<EnvironmentId, T>,
) -> BTreeMap<EnvironmentId, T> {
    let changed = now.iter().filter(|(id, of)| before.get(id) != Some(of));
    let mut changes: BTreeMap<_, _> = changed.map(|(id, of)| (*id, of.clone())).collect();
    changes.extend(before.keys().filter(|id| !now.contains_key(id)).map(|id| (*id, T::default())));
    changes
}

/// Takes news in: what was not told again is as it was.
pub(crate) fn take_in(told: &mut EdgeReport, news: EdgeReport) {
    let EdgeReport { index, version, in_flight, by_release, traffic, pid, mark, counting } = news;
    (told.index, told.version, told.in_flight) = (index, version, in_flight);
    (told.pid, told.mark, told.counting) = (pid, mark, counting);
    change(&mut told.traffic, traffic);
    change(&mut told.by_release, by_release);
}

fn change<T: Default + PartialEq>(
    told: &mut BTreeMap<EnvironmentId, T>,
    changes: BTreeMap<EnvironmentId, T>,
) {
    for (id, of) in changes {
        if of == T::default() {
            told.remove(&id);
        } else {
            told.insert(id, of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, news, take_in};
    use std::sync::Arc;
    use temps_core::model::{EnvironmentId, Measured, ReleaseId, Traffic};
    use temps_core::table::{EdgeReport, Table};

    /// Of each environment its requests, and so many of r1 in flight.
    fn report(index: u64, requests: &[(u64, u64)]) -> EdgeReport {
        let measured =
            |n| Measured { traffic: Traffic { requests: n, ..Traffic::default() }, ..Measured::default() };
        let traffic = requests.iter().map(|(id, n)| (EnvironmentId(*id), measured(*n))).collect();
        let by_release = requests.iter().map(|(id, n)| (EnvironmentId(*id), [(ReleaseId(1), *n)].into()));
        EdgeReport { index, traffic, by_release: by_release.collect(), ..EdgeReport::default() }
    }

    #[test]
    fn only_what_changed_is_told_and_the_whole_is_known() {
        let mut known = EdgeReport::default();
        let mut told = EdgeReport::default();
        for (next, size) in [
            (report(1, &[(1, 5), (2, 7)]), 2),
            (report(2, &[(1, 5), (2, 9)]), 1),
            (report(3, &[(1, 5), (2, 9)]), 0),
            (report(3, &[(2, 9), (3, 1)]), 2),
        ] {
            let said = news(&next, &told);
            assert_eq!((said.traffic.len(), said.by_release.len()), (size, size));
            take_in(&mut known, said);
            assert_eq!(known, next);
            told = next;
        }
    }

    fn table(index: u64, version: u64) -> Table {
        Table { index, version, ..Table::default() }
    }

    #[test]
    fn a_server_that_is_behind_is_not_followed() {
        let mut ledger = Ledger::default();
        assert!(ledger.is_news(&table(5, 1), 1));
        ledger.add(1, &table(5, 9), 1, Arc::default());
        assert!(!ledger.is_news(&table(5, 9), 1), "the same again");
        assert!(ledger.is_news(&table(5, 10), 1));
        assert!(!ledger.is_news(&table(4, 1), 2), "an older index, from another server");
        assert!(ledger.is_news(&table(5, 1), 2), "what another server sees locally at the same index");
    }

    #[test]
    fn versions_of_another_server_are_not_reported() {
        let mut ledger = Ledger::default();
        ledger.add(1, &table(5, 9), 1, Arc::default());
        assert_eq!(ledger.served(1), (0, 0), "nobody serves it yet");
        ledger.acknowledge(1);
        assert_eq!(ledger.served(1), (5, 9));
        assert_eq!(ledger.served(2), (5, 0));
        ledger.add(2, &table(6, 1), 2, Arc::default());
        ledger.add(3, &table(7, 2), 2, Arc::default());
        ledger.acknowledge(2);
        assert_eq!(ledger.served(2), (6, 1));
    }
}
