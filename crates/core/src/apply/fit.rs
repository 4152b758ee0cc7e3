//! Whether the cluster has a place for a release: told before anything begins.

use super::{Change, invalid};
use crate::command::Rejection;
use crate::model::{Environment, Node, RuntimeKind, Source, Spec};
use crate::text;

/// Space that stays free on a node beyond what a deployment needs, in bytes: for logs and for the cluster's own
/// records.
const MARGIN: u64 = 256 << 20;

impl Change<'_> {
    pub(super) fn check_nodes(
        &self,
        known: Option<&Environment>,
        source: &Source,
        spec: &Spec,
    ) -> Result<(), Rejection> {
        self.check_places(known, source, spec)?;
        self.check_space(known, source, spec)
    }

    /// There are nodes that may run it; whether they have space for what is new there is not asked.
    pub(super) fn check_places(
        &self,
        known: Option<&Environment>,
        source: &Source,
        spec: &Spec,
    ) -> Result<(), Rejection> {
        let runtime = source.runtime();
        let all = || self.state.nodes.values();
        if all().next().is_none() {
            return Ok(());
        }
        if !all().any(|n| n.can_run(runtime)) {
            return Err(invalid(match runtime {
                RuntimeKind::Docker => {
                    "no node of this cluster runs containers; install Docker on the nodes and set runtime = \"docker\", or deploy a bundle"
                }
                RuntimeKind::Process => {
                    "the nodes of this cluster run containers, not local processes; deploy an image or a directory with a Dockerfile"
                }
            }));
        }
        let require = &spec.placement.require;
        if !all().any(|n| n.can_run(runtime) && n.has_labels(require)) {
            return Err(invalid(format!(
                "no node has the labels that placement.require names ({}); there are: {}",
                labels(require),
                all()
                    .map(|n| format!("{} ({})", n.name, labels(&n.facts.labels)))
                    .collect::<Vec<_>>()
                    .join(", "),
            )));
        }
        let able = || all().filter(|n| n.can_run(runtime) && n.has_labels(require));
        if able().all(|n| n.cordoned) {
            let names: Vec<_> = able().map(|n| n.name.as_str()).collect();
            return Err(invalid(format!(
                "every node that could run it is cordoned ({}); take one back with `temps nodes uncordon`",
                names.join(", ")
            )));
        }
        let home = known.and_then(|e| e.home).filter(|_| !spec.volumes.is_empty());
        if let Some(home) = home.and_then(|id| self.state.nodes.get(&id)).filter(|n| n.cordoned) {
            return Err(invalid(format!(
                "its volumes are on {}, which is cordoned; take it back with `temps nodes uncordon {}`",
                home.name, home.name
            )));
        }
        Ok(())
    }

    /// A deployment that would fill a disk is refused while everything still works.
    fn check_space(
        &self,
        known: Option<&Environment>,
        source: &Source,
        spec: &Spec,
    ) -> Result<(), Rejection> {
        let running = known.and_then(|e| self.state.release(e.current)).and_then(|r| r.artifact.as_ref());
        // What an image will need is not known before it is made; the one before is the best guess. It is stored
        // packed, and unpacked in the engine.
        let made = match source {
            Source::Bundle { .. } => 0,
            Source::Build { .. } | Source::Image { .. } => running.map_or(0, |a| a.size().saturating_mul(3)),
        };
        let given = source.stored().map_or(0, |a| a.bytes.saturating_mul(2));
        let needed = given.saturating_add(made).saturating_add(MARGIN);
        let full = |n: &&Node| n.facts.free.is_some_and(|free| free < needed);
        let able = self
            .state
            .up()
            .filter(|n| !n.cordoned && n.can_run(source.runtime()) && n.has_labels(&spec.placement.require));
        let full: Vec<_> = able.filter(full).collect();
        let Some(first) = full.first() else { return Ok(()) };
        let each = |n: &&Node| format!("{} has {} free", n.name, text::bytes(n.facts.free.unwrap_or(0)));
        Err(invalid(format!(
            "no space on node {}: a deployment needs {} and {}; free some, or cordon the node",
            first.name,
            text::bytes(needed),
            full.iter().map(each).collect::<Vec<_>>().join(", "),
        )))
    }
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return "no labels".to_owned();
    }
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
