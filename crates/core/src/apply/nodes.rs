//! Machines that are emptied, and that leave for good.

use super::{Answer, Change, done, not_found, unchanged};
use crate::command::Rejection;
use crate::model::{Node, NodeId, Want, What};
use crate::{drain, removal};

impl Change<'_> {
    pub(super) fn cordon(&mut self, id: NodeId) -> Answer {
        let node = self.known_node(id)?;
        if node.cordoned {
            return unchanged();
        }
        node.cordoned = true;
        self.tell_all(&What::NodeCordoned { node: id, by: self.by.to_owned() });
        done()
    }

    pub(super) fn uncordon(&mut self, id: NodeId) -> Answer {
        let node = self.known_node(id)?;
        if !node.cordoned && !node.draining {
            return unchanged();
        }
        (node.cordoned, node.draining, node.drained) = (false, false, false);
        self.tell_all(&What::NodeUncordoned { node: id, by: self.by.to_owned() });
        done()
    }

    pub(super) fn drain_node(&mut self, id: NodeId) -> Answer {
        if self.known_node(id)?.draining {
            return unchanged();
        }
        let stuck = drain::stuck(self.state, id);
        if !stuck.is_empty() {
            return Err(Rejection::Conflict { why: drain::refusal(self.state, id, &stuck) });
        }
        let node = self.known_node(id)?;
        (node.cordoned, node.draining, node.drained) = (true, true, false);
        self.tell_all(&What::NodeDraining { node: id, by: self.by.to_owned() });
        done()
    }

    /// Nobody waits for it, and nothing that ran there counts or comes back.
    pub(super) fn remove_node(&mut self, id: NodeId, force: bool) -> Answer {
        removal::check(self.state, id, force)?;
        let Some(node) = self.state.nodes.remove(&id) else { return unchanged() };
        for instance in self.state.instances.values_mut().filter(|i| i.node == id) {
            instance.want = Want::Gone;
        }
        for environment in self.state.environments.values_mut().filter(|e| e.home == Some(id)) {
            environment.home = None;
        }
        self.state.removed.insert(id, node.name.clone());
        self.tell_all(&What::NodeRemoved { node: id, name: node.name, by: self.by.to_owned() });
        self.time_drains();
        done()
    }

    fn known_node(&mut self, id: NodeId) -> Result<&mut Node, Rejection> {
        self.state.nodes.get_mut(&id).ok_or_else(|| not_found(format!("node {id}")))
    }

    /// Tells once that nothing is left on a node that is drained. What comes back to it is moved again.
    pub(super) fn tell_drained(&mut self) {
        let draining = self.state.nodes.values().filter(|n| n.draining);
        let changed: Vec<_> = draining
            .map(|n| (n.id, n.drained, drain::left(self.state, n.id).is_empty()))
            .filter(|(_, told, empty)| told != empty)
            .collect();
        for (id, _, empty) in changed {
            if let Some(node) = self.state.nodes.get_mut(&id) {
                node.drained = empty;
            }
            if empty {
                self.tell_all(&What::NodeDrained { node: id });
            }
        }
    }

    /// Emits an event that concerns everybody: into the timelines of all live deployments, too.
    pub(super) fn tell_all(&mut self, what: &What) {
        self.emit(None, None, what.clone());
        let live = self.state.deployments.values().filter(|d| d.phase.is_live());
        for (deployment, environment) in live.map(|d| (d.id, d.environment)).collect::<Vec<_>>() {
            self.emit(Some(deployment), Some(environment), what.clone());
        }
    }
}
