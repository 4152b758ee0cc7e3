//! Telling the cluster what is true on this node: pure, and without a ledger.
//!
//! Facts are not queued. Each time, what is true now and not known yet makes one report; while a report
//! is under way there is no other. So reports are ordered, a newer fact takes the place of an older one
//! that was not told, and nothing is lost when a report is: what is still true is told again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use temps_core::command::{Command, Observation};
use temps_core::model::{DeploymentId, EnvironmentId, InstanceId, NodeId};

/// Time between reports while they fail.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What a fact is about. A report has its facts in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The beginning of a drain.
    Draining(InstanceId),
    /// Its end.
    Drained(InstanceId),
    /// What was cut by the drain timeout.
    Cut(InstanceId),
    /// How an instance is.
    Instance(InstanceId),
    /// Which table the edge serves.
    Applied,
    /// Whether an artifact is stored.
    Artifact(String),
    /// What came of a build.
    Build(DeploymentId),
    /// What this node is.
    Node,
    /// Traffic of an environment.
    Traffic(EnvironmentId),
    /// What was counted before a deployment.
    Past(DeploymentId),
}

/// Something that is true and that the cluster should know.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) key: Key,
    pub(crate) observation: Observation,
    /// Time after the last answer about the same key before something different is told.
    pub(crate) pause: Duration,
    /// Time after an answer before the same is told again; for what the state still does not show.
    pub(crate) repeat: Option<Duration>,
}

/// What was told, and what is being told.
#[derive(Debug)]
pub(crate) struct Outbox {
    node: NodeId,
    boot: u64,
    seq: u64,
    answered: BTreeMap<Key, (Observation, Instant)>,
    under_way: Option<Vec<(Key, Observation)>>,
    not_before: Option<Instant>,
}

impl Outbox {
    /// `boot` is larger than at any start of this node's server before.
    pub(crate) fn new(node: NodeId, boot: u64) -> Self {
        Self { node, boot, seq: 0, answered: BTreeMap::new(), under_way: None, not_before: None }
    }

    /// The next report, where one is due. `known_boot` is the newest start that the cluster knows of: a
    /// wall clock that went back must not make this node mute.
    pub(crate) fn next(&mut self, facts: Vec<Fact>, known_boot: u64, now: Instant) -> Option<Command> {
        self.answered.retain(|key, _| facts.iter().any(|fact| fact.key == *key));
        if self.under_way.is_some() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let mut due: Vec<Fact> = facts.into_iter().filter(|fact| self.is_due(fact, now)).collect();
        if due.is_empty() {
            return None;
        }
        due.sort_by(|a, b| a.key.cmp(&b.key));
        if known_boot > self.boot {
            (self.boot, self.seq) = (known_boot + 1, 0);
        }
        self.seq += 1;
        let observations = due.iter().map(|fact| fact.observation.clone()).collect();
        self.under_way = Some(due.into_iter().map(|fact| (fact.key, fact.observation)).collect());
        Some(Command::Report { node: self.node, boot: self.boot, seq: self.seq, observations })
    }

    fn is_due(&self, fact: &Fact, now: Instant) -> bool {
        let Some((told, at)) = self.answered.get(&fact.key) else { return true };
        let since = now.duration_since(*at);
        if *told == fact.observation { fact.repeat.is_some_and(|r| since >= r) } else { since >= fact.pause }
    }

    /// The log has answered the report that was under way.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.not_before = None;
        for (key, observation) in self.under_way.take().unwrap_or_default() {
            self.answered.insert(key, (observation, now));
        }
    }

    /// The log gave no answer: whether the report was written is unknown.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.under_way = None;
        self.not_before = Some(now + TRY_AGAIN);
    }

    /// Whether the last thing that was true of `key` was told and answered.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.answered.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Fact, Key, Outbox, TRY_AGAIN};
    use temps_core::command::{Command, Observation};
    use temps_core::model::{InstanceId, NodeId};

    fn fact(in_flight: u64) -> Fact {
        Fact {
            key: Key::Draining(InstanceId(7)),
            observation: Observation::Draining { instance: InstanceId(7), in_flight },
            pause: Duration::from_secs(1),
            repeat: Some(Duration::from_secs(10)),
        }
    }

    fn applied(index: u64) -> Fact {
        let observation = Observation::Applied { index };
        Fact { key: Key::Applied, observation, pause: Duration::ZERO, repeat: None }
    }

    fn sent(command: Option<Command>) -> Option<(u64, u64, Vec<Observation>)> {
        match command? {
            Command::Report { node: NodeId(2), boot, seq, observations } => Some((boot, seq, observations)),
            other => unreachable!("not a report of this node: {other:?}"),
        }
    }

    #[test]
    fn one_report_at_a_time_with_what_is_true_by_then() {
        let mut outbox = Outbox::new(NodeId(2), 5);
        let now = Instant::now();
        let first = sent(outbox.next(vec![applied(1)], 0, now)).expect("due");
        assert_eq!(first, (5, 1, vec![applied(1).observation]));
        assert_eq!(outbox.next(vec![applied(2), fact(1)], 0, now), None);
        outbox.answered(now);
        let (_, seq, told) = sent(outbox.next(vec![applied(3), fact(2)], 0, now)).expect("due");
        assert_eq!((seq, told), (2, vec![fact(2).observation, applied(3).observation]));
    }

    #[test]
    fn what_got_no_answer_is_told_again_under_a_new_number_unless_it_changed() {
        let mut outbox = Outbox::new(NodeId(2), 5);
        let now = Instant::now();
        assert!(outbox.next(vec![fact(1)], 0, now).is_some());
        outbox.failed(now);
        assert!(!outbox.knows(&fact(1).key));
        assert_eq!(outbox.next(vec![fact(2)], 0, now), None);
        let (_, seq, told) = sent(outbox.next(vec![fact(2)], 0, now + TRY_AGAIN)).expect("due");
        assert_eq!((seq, told), (2, vec![fact(2).observation]));
        outbox.answered(now);
        assert!(outbox.knows(&fact(1).key));
    }

    #[test]
    fn what_was_answered_is_quiet() {
        let mut outbox = Outbox::new(NodeId(2), 5);
        let now = Instant::now();
        assert!(outbox.next(vec![fact(1), applied(1)], 0, now).is_some());
        outbox.answered(now);
        assert_eq!(outbox.next(vec![fact(1), applied(1)], 0, now), None);
        assert_eq!(outbox.next(vec![fact(2), applied(1)], 0, now), None);
        let later = now + Duration::from_secs(1);
        assert!(outbox.next(vec![fact(2), applied(1)], 0, later).is_some());
        outbox.answered(later);
        let much_later = later + Duration::from_secs(10);
        let (_, _, told) = sent(outbox.next(vec![fact(2), applied(1)], 0, much_later)).expect("due");
        assert_eq!(told, [fact(2).observation]);
    }

    #[test]
    fn a_clock_that_went_back_does_not_make_the_node_mute() {
        let mut outbox = Outbox::new(NodeId(2), 5);
        let now = Instant::now();
        let (boot, seq, _) = sent(outbox.next(vec![applied(1)], 9, now)).expect("due");
        assert_eq!((boot, seq), (10, 1));
    }
}
