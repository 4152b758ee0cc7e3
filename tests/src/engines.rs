//! A cluster's containers, as its engines tell them.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::machine::{Container, Engine};
use crate::trouble::{Result, Trouble};
use crate::wait;

/// A container and the place of its node.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The place in the cluster's `nodes`.
    pub node: usize,
    /// The container.
    pub container: Container,
}

impl Cluster {
    /// The engine of a node.
    ///
    /// # Errors
    /// When the node has none.
    pub fn engine(&self, node: usize) -> Result<&Engine> {
        Ok(&self.nodes[node].machine()?.engine)
    }

    /// The containers of a project on all engines, running or not.
    ///
    /// # Errors
    /// When an engine does not answer.
    pub fn containers_of(&self, project: &str) -> Result<Vec<Placed>> {
        let mut all = Vec::new();
        for node in 0..self.nodes.len() {
            let here = self.engine(node)?.containers_of(project)?;
            all.extend(here.into_iter().map(|container| Placed { node, container }));
        }
        Ok(all)
    }

    /// Waits until there are as many containers of a project as there are instances, and no others, not even ended
    /// ones.
    ///
    /// # Errors
    /// When that is not so within `limit`.
    pub fn nothing_left_over(&self, project: &str, instances: usize, limit: Duration) -> Result {
        let mut seen = Vec::new();
        let tidy = wait::until("nothing but the instances", limit, || {
            seen = self.containers_of(project).unwrap_or_default();
            seen.len() == instances && seen.iter().all(|placed| placed.container.runs())
        });
        tidy.map_err(|trouble| Trouble::new(format!("{trouble}: {seen:#?}")))
    }

    /// The place in `nodes` of the node of this name.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn place_of(&self, name: &str) -> Result<usize> {
        let found = self.nodes.iter().position(|node| node.name == name);
        found.ok_or_else(|| Trouble::new(format!("there is no node {name}")))
    }

    /// Takes a node away as a power cut would, its edge and its containers included, and its cable.
    ///
    /// # Errors
    /// When something of it survives.
    pub fn lose(&mut self, node: usize) -> Result {
        let lost = &mut self.nodes[node];
        lost.machine()?.cut_off()?;
        lost.kill()?;
        if let Some(edge) = lost.edge_pid() {
            crate::faults::slay(edge)?;
        }
        lost.machine_mut()?.engine.kill()?;
        lost.instance_pids().into_iter().try_for_each(crate::faults::slay)
    }
}
