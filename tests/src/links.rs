//! Links between the nodes of a cluster that are cut and mended. Whoever is outside reaches every node all the time.

use std::net::Ipv4Addr;

use crate::cluster::Cluster;
use crate::trouble::Result;

impl Cluster {
    /// Cuts a node's links to all others, in both directions.
    ///
    /// # Errors
    /// When it shares an interface with them.
    pub fn part(&self, node: usize) -> Result {
        self.nodes[node].place()?.part_from(&self.all_but(node)?)
    }

    /// Mends them.
    ///
    /// # Errors
    /// When they were not cut.
    pub fn rejoin(&self, node: usize) -> Result {
        self.nodes[node].place()?.rejoin(&self.all_but(node)?)
    }

    fn all_but(&self, node: usize) -> Result<Vec<Ipv4Addr>> {
        let others = self.nodes.iter().enumerate().filter(|(at, _)| *at != node);
        others.map(|(_, other)| Ok(other.place()?.address())).collect()
    }
}
