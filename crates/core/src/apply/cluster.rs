//! Nodes, and the tokens with which they join.

use super::planned::UNHEARD;
use super::{Answer, Change, done, invalid, not_found, unchanged, validate};
use crate::command::{Made, NewNode, NewToken, Outcome, Rejection};
use crate::model::{JoinToken, Millis, Node, NodeId, NodeStatus, Role, TokenId, Want, What};

impl Change<'_> {
    pub(super) fn found(&mut self, domain: &str, token_hash: &str) -> Answer {
        if !self.state.domain.is_empty() {
            return Err(Rejection::Conflict { why: "this cluster was founded already".to_owned() });
        }
        self.state.domain =
            crate::host::normalise(domain).map_err(|e| invalid(format!("domain {domain:?}: {e}")))?;
        let first = NewToken {
            name: "admin".to_owned(),
            hash: token_hash.to_owned(),
            grant: Role::Admin.into(),
            ttl: None,
        };
        self.create_token(&first)
    }

    pub(super) fn add_node(&mut self, new: &NewNode) -> Answer {
        if let Some(known) = self.state.nodes.values().find(|n| n.fingerprint == new.fingerprint) {
            return Ok(Outcome::NoChange(Made::Node(known.id)));
        }
        validate::name("node", &new.name)?;
        if self.state.nodes.values().any(|n| n.name == new.name) {
            let why = format!("a node named {:?} is in the cluster; choose another name", new.name);
            return Err(Rejection::Conflict { why });
        }
        self.use_join_token(new.token_hash.as_deref())?;
        self.state.last.node += 1;
        let id = NodeId(self.state.last.node);
        let node = Node {
            id,
            name: new.name.clone(),
            control: new.control.clone(),
            edge_peer: new.edge_peer.clone(),
            edge_http: new.edge_http.clone(),
            version: new.version.clone(),
            status: NodeStatus::Up,
            cordoned: false,
            draining: false,
            drained: false,
            applied: 0,
            boot: 0,
            seq: 0,
            artifacts: std::collections::BTreeSet::new(),
            fingerprint: new.fingerprint.clone(),
            facts: crate::model::NodeFacts::default(),
        };
        self.state.nodes.insert(id, node);
        self.emit(None, None, What::NodeJoined { node: id });
        Ok(Outcome::Done(Made::Node(id)))
    }

    fn use_join_token(&mut self, hash: Option<&str>) -> Result<(), Rejection> {
        let Some(hash) = hash else {
            return if self.state.nodes.is_empty() { Ok(()) } else { Err(denied("a join token is needed")) };
        };
        let clock = self.state.clock;
        let token = self.state.join_tokens.values_mut().find(|t| t.hash == hash);
        let token = token.ok_or_else(|| denied("the join token is unknown or was rotated"))?;
        if token.uses == 0 {
            return Err(denied("the join token was used already"));
        }
        if token.expires_at <= clock {
            return Err(denied("the join token has expired"));
        }
        token.uses -= 1;
        Ok(())
    }

    pub(super) fn update_node(&mut self, id: NodeId, facts: [&String; 4]) -> Answer {
        let node = self.state.nodes.get_mut(&id).ok_or_else(|| not_found(format!("node {id}")))?;
        let [control, edge_peer, edge_http, version] = facts.map(Clone::clone);
        let mut updated = node.clone();
        updated.control = control;
        updated.edge_peer = edge_peer;
        updated.edge_http = edge_http;
        updated.version = version;
        if *node == updated {
            return unchanged();
        }
        *node = updated;
        done()
    }

    pub(super) fn create_join_token(&mut self, hash: &str, ttl: Millis, uses: u32) -> Answer {
        if ttl == 0 || uses == 0 {
            return Err(invalid("a join token needs a time to live and a number of uses above 0"));
        }
        let id = self.next_token();
        let expires_at = self.state.clock.saturating_add(ttl);
        self.state.join_tokens.insert(id, JoinToken { id, hash: hash.to_owned(), expires_at, uses });
        Ok(Outcome::Done(Made::Token(id)))
    }

    pub(super) fn next_token(&mut self) -> TokenId {
        self.state.last.token += 1;
        TokenId(self.state.last.token)
    }

    pub(super) fn liveness(&mut self, lost: &[NodeId], back: &[NodeId]) -> Outcome {
        let (mut changed, mut gone) = (false, Vec::new());
        for (ids, status) in [(lost, NodeStatus::Lost), (back, NodeStatus::Up)] {
            for id in ids {
                let Some(node) = self.state.nodes.get_mut(id).filter(|n| n.status != status) else {
                    continue;
                };
                node.status = status;
                changed = true;
                if status == NodeStatus::Lost {
                    gone.push(*id);
                }
                let clock = self.state.clock;
                let mut draining = Vec::new();
                for instance in self.state.instances.values_mut().filter(|i| i.node == *id) {
                    instance.lost = status == NodeStatus::Lost;
                    instance.lost_at = instance.lost.then_some(clock);
                    // Its edge served on by an old table: what it has begun gets the whole drain timeout.
                    if instance.want == Want::Drain {
                        instance.drain_timed = false;
                        draining.push(instance.id);
                    }
                }
                for instance in draining {
                    self.give_time(instance, UNHEARD);
                }
                let what = match status {
                    NodeStatus::Lost => What::NodeLost { node: *id },
                    NodeStatus::Up => What::NodeReturned { node: *id },
                };
                self.tell_all(&what);
            }
        }
        self.note_quorum(&gone);
        self.time_drains();
        if changed { Outcome::Done(Made::Nothing) } else { Outcome::NoChange(Made::Nothing) }
    }
}

fn denied(why: &str) -> Rejection {
    Rejection::Denied { why: format!("{why}; make a new one with `temps cluster token`") }
}
