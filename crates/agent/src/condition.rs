//! What this node is, and when that is worth telling: pure.
//!
//! How the disks and what runs instances are asked is not known here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use temps_core::model::{NodeFacts, RuntimeKind};

const MIB: u64 = 1 << 20;
/// Free space is told in steps of this, so that it does not change all the time.
const STEP: u64 = 64 * MIB;
/// A change of free space by so much is news.
const NEWS: u64 = 256 * MIB;
/// Below this a node is short of space, which is news as well.
const SHORT: u64 = 1024 * MIB;
/// Trouble that passes sooner is nobody's business.
const LASTING: Duration = Duration::from_secs(3);

/// What this node is.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    runtime: RuntimeKind,
    labels: BTreeMap<String, String>,
    free: Option<u64>,
    /// With the moment when it began.
    trouble: Option<(String, Instant)>,
}

impl Condition {
    pub(crate) fn new(runtime: RuntimeKind, labels: BTreeMap<String, String>) -> Self {
        Self { runtime, labels, free: None, trouble: None }
    }

    /// Space on the fullest disk, in bytes.
    pub(crate) fn set_free(&mut self, free: Option<u64>) {
        self.free = free.map(|bytes| bytes - bytes % STEP);
    }

    /// Why nothing can be started now.
    pub(crate) fn set_trouble(&mut self, trouble: Option<String>, now: Instant) {
        let since = self.trouble.as_ref().map_or(now, |(_, since)| *since);
        self.trouble = trouble.map(|why| (why, since));
    }

    /// What the cluster should know instead of `known`, where that is worth a report.
    pub(crate) fn news(&self, known: &NodeFacts, now: Instant) -> Option<NodeFacts> {
        let trouble = match &self.trouble {
            None => None,
            Some((why, since)) if now.saturating_duration_since(*since) >= LASTING => Some(why.clone()),
            Some(_) => known.trouble.clone(),
        };
        let facts =
            NodeFacts { runtime: Some(self.runtime), labels: self.labels.clone(), free: self.free, trouble };
        let same = facts.runtime == known.runtime
            && facts.labels == known.labels
            && facts.trouble == known.trouble
            && !is_news(known.free, facts.free);
        (!same).then_some(facts)
    }
}

fn is_news(known: Option<u64>, free: Option<u64>) -> bool {
    match (known, free) {
        (Some(known), Some(free)) => known.abs_diff(free) >= NEWS || (known < SHORT) != (free < SHORT),
        // Not asked yet, or not answered now: what was known stands.
        (Some(_) | None, None) => false,
        (None, Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use super::{Condition, MIB};
    use temps_core::model::{NodeFacts, RuntimeKind};

    fn labels() -> BTreeMap<String, String> {
        BTreeMap::from([("disk".to_owned(), "ssd".to_owned())])
    }

    fn known(free: u64) -> NodeFacts {
        let runtime = Some(RuntimeKind::Process);
        NodeFacts { runtime, labels: labels(), free: Some(free * MIB), trouble: None }
    }

    fn condition(free: u64) -> Condition {
        let mut condition = Condition::new(RuntimeKind::Process, labels());
        condition.set_free(Some(free * MIB));
        condition
    }

    #[test]
    fn kind_and_labels_are_told_at_once() {
        let now = Instant::now();
        let fresh = Condition::new(RuntimeKind::Process, labels());
        let told = fresh.news(&NodeFacts::default(), now).expect("news");
        assert_eq!((told.runtime, told.labels), (Some(RuntimeKind::Process), labels()));
        assert_eq!(fresh.news(&known(4096), now), None, "what was not asked yet is no news");
        let mut other = known(4096);
        other.labels.clear();
        assert!(condition(4096).news(&other, now).is_some());
        other = known(4096);
        other.runtime = Some(RuntimeKind::Docker);
        assert!(condition(4096).news(&other, now).is_some());
    }

    #[test]
    fn free_space_is_told_when_it_has_changed_much_or_is_short() {
        let now = Instant::now();
        let rows = [
            (4096, 4096, None),
            (4096, 4096 + 255, None),
            (4096, 4096 + 256, Some(4352)),
            (4096, 4096 - 193, Some(3840)),
            (4096, 4096 - 192, None),
            (1024, 1023, Some(960)),
            (960, 1000, None),
            (960, 1024, Some(1024)),
            (0, 63, None),
        ];
        for (before, free, expected) in rows {
            let told = condition(free).news(&known(before), now).and_then(|facts| facts.free);
            assert_eq!(told, expected.map(|mib: u64| mib * MIB), "{before} -> {free}");
        }
    }

    #[test]
    fn trouble_is_told_when_it_lasts_and_its_end_at_once() {
        let start = Instant::now();
        let why = || Some("the engine does not answer".to_owned());
        let mut condition = condition(4096);
        condition.set_trouble(why(), start);
        assert_eq!(condition.news(&known(4096), start + Duration::from_secs(2)), None);
        condition.set_trouble(why(), start + Duration::from_secs(2));
        let told = condition.news(&known(4096), start + Duration::from_secs(3)).expect("it lasts");
        assert_eq!(told.trouble, why());
        assert_eq!(condition.news(&told, start + Duration::from_secs(9)), None);

        condition.set_trouble(None, start + Duration::from_secs(10));
        let told = condition.news(&told, start + Duration::from_secs(10)).expect("it is over");
        assert_eq!(told.trouble, None);
        // The next one begins anew.
        condition.set_trouble(why(), start + Duration::from_secs(11));
        assert_eq!(condition.news(&told, start + Duration::from_secs(13)), None);
    }
}
