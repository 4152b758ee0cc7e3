//! Whether a deployment with a fault in it ended as it must.

use std::collections::{BTreeMap, BTreeSet};

use temps_tests::cluster::Cluster;
use temps_tests::deployment::{Deployment, Event, Instance};

use super::scenario::Play;
use crate::round::INSTANCES;

/// What was wrong, and how it is counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A good release was taken back.
    FalseRollback(String),
    /// Something was started or ended more than once.
    Doubled(String),
    /// Anything else.
    End(String),
}

/// All that is known of a deployment that has ended.
pub(super) struct Case<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) play: &'a Play,
    /// The instances before it.
    pub(super) before: &'a [Instance],
    /// A node may have been lost after its end.
    pub(super) loses: bool,
    pub(super) deployment: &'a Deployment,
    /// What the command that followed it told, its exit code, and what it said.
    pub(super) told: &'a [Event],
    pub(super) ran: (i32, String),
}

impl Case<'_> {
    pub(super) fn wrong(&self) -> Option<Wrong> {
        let deployment = self.deployment;
        let lost: Vec<&str> = deployment.events.iter().filter_map(|event| node_in(event, "lost")).collect();
        let expected = self.play.expected(&lost);
        let phase = deployment.phase.as_str();
        if !expected.contains(&phase) {
            let told = format!("{phase} instead of {}: {}", expected.join(" or "), deployment.reason);
            let taken_back = expected == ["succeeded"] && deployment.has("reverting");
            return Some(if taken_back { Wrong::FalseRollback(told) } else { Wrong::End(told) });
        }
        if deployment.count("ended") != 1 {
            return Some(Wrong::Doubled(format!("it ended {} times", deployment.count("ended"))));
        }
        let mut doubled = deployment.started_twice();
        doubled.extend(unexplained(self.before, deployment));
        if !doubled.is_empty() {
            return Some(Wrong::Doubled(doubled.join(", ")));
        }
        let code = if phase == "succeeded" { 0 } else { 3 };
        if self.ran.0 != code {
            return Some(Wrong::End(format!("the command ended with {:?}", self.ran)));
        }
        if self.told != deployment.events {
            return Some(Wrong::End(format!("the command told another story: {:#?}", self.told)));
        }
        let places = if lost.is_empty() && !self.loses { places(self.before) } else { 1 };
        let version = self.play.version_after(deployment);
        let settled = self.cluster.settled_in("hello", INSTANCES, version, places);
        settled.err().map(|trouble| trouble.to_string()).or_else(|| self.other_timeline()).map(Wrong::End)
    }

    /// Nodes that tell the timeline in other words.
    fn other_timeline(&self) -> Option<String> {
        let number = self.deployment.number.to_string();
        let ask = |node| self.cluster.cli_at(&[node]).text(&["deployments", "timeline", &number]);
        let all: Vec<_> = (0..self.cluster.nodes.len()).map(ask).collect();
        let mut texts = BTreeSet::new();
        for text in all {
            match text {
                Ok(text) => texts.insert(text),
                Err(trouble) => return Some(trouble.to_string()),
            };
        }
        (texts.len() != 1).then(|| format!("the nodes tell different timelines: {texts:#?}"))
    }
}

/// In how many places instances are: fewer than there are instances after a node was lost and has returned. A release
/// that stays through a deployment stays so.
fn places(instances: &[Instance]) -> usize {
    instances.iter().map(|instance| instance.slot).collect::<BTreeSet<_>>().len()
}

/// The node that an event says was lost, or has returned.
fn node_in<'a>(event: &'a Event, what: &str) -> Option<&'a str> {
    let of_kind = event.kind.strip_prefix("node_") == Some(what);
    event.text.strip_prefix("Node ")?.strip_suffix(what).map(str::trim_end).filter(|_| of_kind)
}

/// Instances that were started in a place of which an instance had neither left nor was on a lost node. That one leaves
/// is told when its own node has begun with it: what replaces it after the loss of a node may be told before.
fn unexplained(before: &[Instance], deployment: &Deployment) -> Vec<String> {
    let known: BTreeMap<&str, &Instance> =
        before.iter().chain(&deployment.instances).map(|instance| (instance.id.as_str(), instance)).collect();
    let mut places: BTreeMap<(u64, u64), Vec<&Instance>> = BTreeMap::new();
    for instance in before {
        places.entry((instance.release, instance.slot)).or_default().push(instance);
    }
    let leaving = |event: &&Event| matches!(event.kind.as_str(), "draining" | "removed" | "crashed");
    let leave: BTreeSet<&str> =
        deployment.events.iter().filter(leaving).map(|event| event.instance.as_str()).collect();
    let (mut left, mut lost, mut found) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for event in &deployment.events {
        let id = event.instance.as_str();
        lost.extend(node_in(event, "lost"));
        if let Some(node) = node_in(event, "returned") {
            lost.remove(node);
        }
        match (event.kind.as_str(), known.get(id)) {
            ("draining" | "removed" | "crashed", _) => drop(left.insert(id)),
            ("starting", None) => found.push(format!("{id} is nowhere")),
            ("starting", Some(new)) => {
                let there = places.entry((new.release, new.slot)).or_default();
                let gone = if lost.is_empty() { &left } else { &leave };
                let holds =
                    |old: &&&Instance| !gone.contains(old.id.as_str()) && !lost.contains(old.node.as_str());
                if let Some(old) = there.iter().find(holds) {
                    found.push(format!("{id} was started beside {}, in the same place", old.id));
                }
                there.push(new);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use temps_tests::deployment::{Deployment, Event, Instance};

    use super::unexplained;

    fn instance(id: &str, node: &str, release: u64, slot: u64) -> Instance {
        Instance { id: id.to_owned(), node: node.to_owned(), release, slot, ..Instance::default() }
    }

    fn event(line: &str) -> Event {
        let (kind, about) = line.split_once(' ').unwrap_or((line, ""));
        let text = format!("Node {about} {}", kind.trim_start_matches("node_"));
        Event { kind: kind.to_owned(), text, instance: about.to_owned(), ..Event::default() }
    }

    #[test]
    fn a_start_needs_a_free_place() {
        let before = [instance("i1", "n1", 1, 0)];
        for (lines, doubled) in [
            (&["starting i2", "draining i1"][..], 0),
            (&["starting i2", "starting i3"], 1),
            (&["starting i2", "node_lost n2", "starting i3"], 0),
            (&["starting i2", "node_lost n1", "starting i3"], 1),
            (&["starting i2", "node_lost n2", "node_returned n2", "starting i3"], 1),
            (&["starting i2", "crashed i2", "starting i3"], 0),
            (&["starting i4"], 1),
            (&["draining i1", "starting i4"], 0),
            (&["node_lost n1", "starting i4"], 0),
            (&["node_lost n3", "starting i4", "draining i1"], 0),
            (&["starting i4", "draining i1", "node_lost n3"], 1),
            (&["starting i9"], 1),
        ] {
            let deployment = Deployment {
                events: lines.iter().copied().map(event).collect(),
                instances: vec![
                    instance("i2", "n2", 2, 0),
                    instance("i3", "n3", 2, 0),
                    instance("i4", "n2", 1, 0),
                ],
                ..Deployment::default()
            };
            assert_eq!(unexplained(&before, &deployment).len(), doubled, "{lines:?}");
        }
    }
}
