//! Whether a node can be removed for good.

use crate::assignment::grace;
use crate::command::Rejection;
use crate::drain::{called, only_here};
use crate::model::{ClusterState, Instance, Millis, Node, NodeId, NodeStatus, Phase, Seen, Want};
use crate::plan::UNHEARD_STOP;
use crate::text;

/// Whether a node can be removed now. `force`: although data is lost with it.
///
/// # Errors
/// Why not, and what to do.
pub fn check(state: &ClusterState, id: NodeId, force: bool) -> Result<(), Rejection> {
    let node = state.nodes.get(&id);
    let node = node.ok_or_else(|| Rejection::NotFound { what: format!("node {id}") })?;
    let refuse = |why: String| Err(Rejection::Conflict { why });
    let name = &node.name;
    if state.nodes.len() == 1 {
        return refuse(format!("{name} is the only node, and a cluster needs one"));
    }
    if let Some(why) = busy(state, node) {
        return refuse(why);
    }
    let others = state.up().filter(|n| n.id != id).count();
    let majority = (state.nodes.len() - 1) / 2 + 1;
    if others < majority {
        let lost: Vec<_> =
            state.nodes.values().filter(|n| n.status == NodeStatus::Lost && n.id != id).collect();
        let lost: Vec<_> = lost.iter().map(|n| n.name.as_str()).collect();
        return refuse(format!(
            "without {name} the cluster would have no majority, as {} lost; bring it back or remove it first",
            are(&lost)
        ));
    }
    if let Some((process, left)) = may_still_run(state, node) {
        return refuse(format!(
            "{process} is exclusive and may still run on {name}; try again in {}",
            text::duration(left.max(1_000))
        ));
    }
    if force {
        return Ok(());
    }
    let homes: Vec<_> =
        state.environments.values().filter(|e| e.home == Some(id)).map(|e| called(state, Some(e))).collect();
    if !homes.is_empty() {
        return refuse(format!(
            "the volumes of {} are on {name}, and the cluster loses them with it; save them, then use --force",
            homes.join(", ")
        ));
    }
    let only = only_here(state, id);
    let Some(release) = only.first().and_then(|id| state.releases.get(id)) else { return Ok(()) };
    let environment = called(state, state.environments.get(&release.environment));
    let what = format!("only {name} stores what release {} of {environment} runs", release.id);
    refuse(match node.status {
        NodeStatus::Up => format!("{what}; another node is copying it, try again in a moment"),
        NodeStatus::Lost => {
            format!("{what}; bring it back, or use --force, after which it must be deployed anew")
        }
    })
}

/// What has to end or move before a node that counts can go.
fn busy(state: &ClusterState, node: &Node) -> Option<String> {
    if node.status == NodeStatus::Lost {
        return None;
    }
    let name = &node.name;
    let advice = format!("drain it first: `temps nodes drain {name}`");
    let running = state.instances.values().filter(|i| i.node == node.id && i.occupies()).count();
    if running > 0 {
        let noun = if running == 1 { "instance" } else { "instances" };
        return Some(format!("{name} has {running} {noun}; {advice}"));
    }
    let builds = |d: &&crate::model::Deployment| {
        let made = state.releases.get(&d.to).is_none_or(|r| r.artifact.is_some());
        d.phase == Phase::Building && d.builder == Some(node.id) && !made
    };
    let build = state.deployments.values().find(builds);
    if let Some(build) = build {
        return Some(format!("{name} builds the image of deployment {}; {advice}", build.id));
    }
    (!node.draining).then(|| format!("{name} takes instances; {advice}"))
}

/// A process of which never two run at a time and that may not have ended yet on a lost node, and for how long.
fn may_still_run(state: &ClusterState, node: &Node) -> Option<(String, Millis)> {
    let lost = |i: &&Instance| i.node == node.id && i.lost && i.want != Want::Gone && i.seen < Seen::Exited;
    state.instances.values().filter(lost).find_map(|i| {
        let spec = &state.releases.get(&i.release)?.spec;
        let process = spec.processes.get(&i.process).filter(|p| p.exclusive)?;
        let ended = i.lost_at?.saturating_add(grace(spec, process)).saturating_add(UNHEARD_STOP);
        let environment = called(state, state.environments.get(&i.environment));
        let left = ended.checked_sub(state.clock).filter(|left| *left > 0)?;
        Some((format!("process {:?} of {environment}", i.process), left))
    })
}

fn are(names: &[&str]) -> String {
    match names {
        [one] => format!("{one} is"),
        [] => "others are".to_owned(),
        _ => format!("{} are", names.join(" and ")),
    }
}
