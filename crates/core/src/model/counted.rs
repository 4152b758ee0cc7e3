//! What edges counted while a deployment was live.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::{NodeId, ReleaseId};
use super::traffic::{Counts, Measured, Past};

/// What edges counted while a deployment was live, by node. Kept as the nodes report it, because each report is
/// the whole count since that edge started: a lost one is made good by the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// In the minutes before it began, as far as the node's server knows them.
    pub past: BTreeMap<NodeId, Past>,
    /// The newest report.
    newest: BTreeMap<NodeId, Measured>,
    /// What of the newest report is from before it began.
    before: BTreeMap<NodeId, Measured>,
    /// What edges counted meanwhile that have ended.
    earlier: BTreeMap<NodeId, Measured>,
    /// Since it began, when watching began.
    at_watch: Option<BTreeMap<NodeId, Measured>>,
}

impl Counted {
    /// Takes in a report; answers what it has that is new.
    pub(crate) fn report(&mut self, node: NodeId, report: &Measured) -> Measured {
        let Some(newest) = self.newest.insert(node, report.clone()) else {
            self.before.insert(node, report.clone());
            return Measured::default();
        };
        if report.is_anew(&newest) {
            let ended = newest.since(self.before.get(&node));
            self.earlier.entry(node).or_default().add(&ended);
            self.before.insert(node, Measured::default());
            return report.clone();
        }
        report.since(Some(&newest))
    }

    /// Notes that watching begins.
    pub(crate) fn watch(&mut self) {
        self.at_watch = Some(self.by_node());
    }

    /// Whether any edge has told anything.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.newest.is_empty()
    }

    /// The releases that were reported.
    pub(crate) fn releases(&self) -> impl Iterator<Item = ReleaseId> {
        self.newest.values().flat_map(|measured| measured.releases.keys().copied())
    }

    /// Since the deployment began, by node.
    #[must_use]
    pub fn by_node(&self) -> BTreeMap<NodeId, Measured> {
        let mut all = self.earlier.clone();
        for (node, newest) in &self.newest {
            all.entry(*node).or_default().add(&newest.since(self.before.get(node)));
        }
        all
    }

    /// Since the deployment began, of all nodes.
    #[must_use]
    pub fn total(&self) -> Measured {
        sum(self.by_node().values())
    }

    /// Of one release since the deployment began, of all nodes. The judge asks at every look, and for no other.
    pub(crate) fn of(&self, release: ReleaseId) -> Counts {
        let mut sum = of(self.earlier.values(), release);
        for (node, newest) in &self.newest {
            let before = self.before.get(node).and_then(|before| before.releases.get(&release));
            if let Some(newest) = newest.releases.get(&release) {
                sum.add(&newest.since(before));
            }
        }
        sum
    }

    /// Of one release in the minutes before the deployment began, of all nodes.
    pub(crate) fn past_of(&self, release: ReleaseId) -> Counts {
        of(self.past.values().map(|past| &past.measured), release)
    }

    /// From its begin until watching began, and from then on; the second is `None` where it has not begun.
    #[must_use]
    pub fn parts(&self) -> (Measured, Option<Measured>) {
        let total = self.total();
        match &self.at_watch {
            None => (total, None),
            Some(at_watch) => {
                let during = sum(at_watch.values());
                let after = total.since(Some(&during));
                (during, Some(after))
            }
        }
    }

    /// In the minutes before it began, of all nodes.
    #[must_use]
    pub fn past(&self) -> Measured {
        sum(self.past.values().map(|past| &past.measured))
    }
}

fn of<'a>(parts: impl Iterator<Item = &'a Measured>, release: ReleaseId) -> Counts {
    let mut sum = Counts::default();
    parts.filter_map(|part| part.releases.get(&release)).for_each(|counts| sum.add(counts));
    sum
}

fn sum<'a>(parts: impl Iterator<Item = &'a Measured>) -> Measured {
    let mut sum = Measured::default();
    parts.for_each(|part| sum.add(part));
    sum
}
