//! What is around every page: where one can go, and how the cluster is.

use temps_core::assignment::trailing;
use temps_core::model::{ClusterState, Grant, Node, NodeStatus, Role};
use temps_ledger::wall;
use temps_wire::machine;

use super::machines;
use super::visitor::Visitor;
use crate::desk::Desk;
use crate::views;

/// Pages, and whether it takes a role for everything to see them.
const PAGES: [(&str, &str, Option<Role>); 7] = [
    ("/", "Projects", None),
    ("/deployments", "Deployments", None),
    ("/nodes", "Nodes", None),
    ("/domains", "Domains", None),
    ("/notifications", "Notifications", Some(Role::Viewer)),
    ("/access", "Access", Some(Role::Admin)),
    ("/audit", "Audit", Some(Role::Admin)),
];
/// A certificate that ends sooner is told of in the strip, in days.
const SOON: u64 = 21;

/// What is around a page.
pub(super) struct Frame {
    at: &'static str,
    grant: Grant,
    pub(super) who: String,
    pub(super) word: String,
    pub(super) nodes: Vec<Tag>,
    /// The node that shows the page.
    pub(super) here: String,
    pub(super) quorum: bool,
    /// With one more node lost nothing can be changed.
    pub(super) at_risk: bool,
    pub(super) term: u64,
    pub(super) index: u64,
    /// Everything that happened up to this index of the log is on the page.
    pub(super) shown: u64,
    /// The forms of this page, each of which is sent once.
    pub(super) key: String,
    /// How many entries of the log this node had not applied yet when it was asked. Of other nodes it is not known.
    pub(super) behind: u64,
    /// What about certificates needs a look; empty where nothing does.
    pub(super) certificates: String,
    /// Where other nodes show the same, by name.
    pub(super) doors: Vec<(String, String)>,
    /// The same for the script, as JSON.
    pub(super) others: String,
}

/// A node in the strip.
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) leads: bool,
    /// What is to be said of it; empty where it simply takes part.
    pub(super) word: String,
    pub(super) tone: &'static str,
    /// Its edge does not serve yet what a deployment or a certificate waits for.
    pub(super) trails: bool,
    /// Space left on its fullest disk; empty where it is not known.
    pub(super) free: String,
}

impl Frame {
    /// `at`: the page that is shown, or the one above it.
    pub(super) async fn new(visitor: &Visitor, at: &'static str) -> Self {
        let desk = &visitor.desk;
        let hand = desk.at_hand().await;
        let leadership = *desk.ledger.leadership().borrow();
        let state = hand.state;
        let grant = visitor.caller.grant.clone();
        let sees_all = grant.everywhere().is_some();
        let leads = |node: &Node| sees_all && leadership.leader == Some(node.id);
        let trailing = trailing(&state);
        let tag = |node: &Node| {
            let shown = Tag { leads: leads(node), trails: trailing.contains(&node.id), ..Tag::of(node) };
            if sees_all { shown } else { shown.for_strangers(node.status) }
        };
        let nodes = state.nodes.values().map(tag).collect();
        let doors: Vec<_> = others(desk, &state).map(|node| (node.name.clone(), origin(node))).collect();
        let origins: Vec<&str> = doors.iter().map(|(_, origin)| origin.as_str()).collect();
        Self {
            at,
            who: visitor.caller.name.clone(),
            word: visitor.word.clone(),
            nodes,
            here: desk.name(&state),
            quorum: hand.fresh,
            at_risk: state.nodes.len() > 2 && state.up().count() == state.nodes.len() / 2 + 1,
            term: leadership.term,
            index: state.index,
            shown: visitor.index,
            key: format!("{:032x}", rand::random::<u128>()),
            behind: state.index.saturating_sub(visitor.index),
            certificates: if sees_all { certificates(&state) } else { String::new() },
            others: serde_json::to_string(&origins).unwrap_or_default(),
            doors,
            grant,
        }
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let seen = |least: Option<Role>| least.is_none_or(|least| self.grant.everywhere() >= Some(least));
        PAGES.into_iter().filter(move |(.., least)| seen(*least)).map(|(path, name, _)| (path, name))
    }

    pub(super) fn is_at(&self, path: &str) -> bool {
        self.at == path
    }

    /// Whether the reader may see what belongs to the cluster and to no project.
    pub(super) fn sees_all(&self) -> bool {
        self.grant.everywhere().is_some()
    }

    /// Whether the reader may change things of the cluster.
    pub(super) fn is_admin(&self) -> bool {
        self.grant.everywhere() >= Some(Role::Admin)
    }

    /// Whether the reader may deploy anything, projects that are not there yet included.
    pub(super) fn deploys_all(&self) -> bool {
        self.grant.everywhere() >= Some(Role::Deployer)
    }

    /// Whether the reader may deploy in any project.
    pub(super) fn deploys_some(&self) -> bool {
        self.grant.greatest() >= Some(Role::Deployer)
    }

    /// Whether the reader may deploy in a project.
    pub(super) fn deploys(&self, project: &str) -> bool {
        self.grant.within(project) >= Some(Role::Deployer)
    }
}

impl Tag {
    fn of(node: &Node) -> Self {
        let shown = views::machine(node);
        let lost = match node.status {
            NodeStatus::Lost => Some("lost"),
            NodeStatus::Up => None,
        };
        Self {
            word: lost.into_iter().chain(machine::marks(&shown)).collect::<Vec<_>>().join(", "),
            tone: machines::tone(&shown),
            free: machine::free(&shown),
            name: shown.name,
            leads: false,
            trails: false,
        }
    }

    /// Whoever sees projects alone is told whether a node is up.
    fn for_strangers(self, status: NodeStatus) -> Self {
        let (word, tone) = match status {
            NodeStatus::Lost => ("lost".to_owned(), "bad"),
            NodeStatus::Up => (String::new(), "good"),
        };
        Self { name: self.name, word, tone, leads: false, trails: false, free: String::new() }
    }
}

fn certificates(state: &ClusterState) -> String {
    let soon = wall() + SOON * 24 * 60 * 60 * 1_000;
    let ending = state.tls.certificates.values().filter(|c| c.not_after < soon).count();
    let failing = state.tls.orders.values().filter(|order| order.failure.is_some()).count();
    let mut told = Vec::new();
    if ending > 0 {
        told.push(format!("{ending} end within {SOON} days"));
    }
    if failing > 0 {
        told.push(format!("{failing} cannot be ordered"));
    }
    told.join(", ")
}

fn others<'a>(desk: &Desk, state: &'a ClusterState) -> impl Iterator<Item = &'a Node> {
    let own = desk.ledger.node();
    state.nodes.values().filter(move |node| node.id != own)
}

fn origin(node: &Node) -> String {
    format!("https://{}", node.control)
}

/// Where other nodes show the same.
pub(super) fn origins(desk: &Desk) -> Vec<String> {
    others(desk, &desk.ledger.state()).map(origin).collect()
}
