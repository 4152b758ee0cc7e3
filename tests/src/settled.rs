//! When a project is complete, and nothing else is left of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::browser;
use crate::cluster::Cluster;
use crate::load::Target;
use crate::trouble::{Result, Trouble};
use crate::wait;

impl Cluster {
    /// Waits until a project consists of `n` serving instances of one release in `n` places, in the cluster's view
    /// and in the operating system's, and every edge answers with this version.
    ///
    /// # Errors
    /// When it does not within 20 seconds.
    pub fn settled(&self, project: &str, n: usize, version: &str) -> Result {
        self.settled_in(project, n, version, n)
    }

    /// The same, in no fewer than so many places: an instance that was given up with its node, and the one that
    /// replaced it, have the same place, and may both stay when the node returns.
    ///
    /// # Errors
    /// When it does not within 20 seconds.
    pub fn settled_in(&self, project: &str, n: usize, version: &str, places: usize) -> Result {
        let host = format!("{project}.localhost");
        let mut seen = String::new();
        let settled = wait::until("one version, complete and alone", Duration::from_secs(20), || {
            let instances = self.instances(project).unwrap_or_default();
            let slots: BTreeSet<u64> = instances.iter().map(|i| i.slot).collect();
            let releases: BTreeSet<u64> = instances.iter().map(|i| i.release).collect();
            let applications = self.applications(project).len();
            let answer = |t: Target| browser::get(t.address, &host, "/").map(|p| p.version().to_owned());
            let versions: BTreeSet<_> =
                self.edges().into_iter().map(|t| answer(t).unwrap_or_default()).collect();
            seen = format!("{applications} processes, answers of {versions:?}, instances {instances:?}");
            instances.iter().all(|i| i.state == "serving")
                && [instances.len(), applications] == [n; 2]
                && slots.len() >= places
                && releases.len() == 1
                && versions.iter().eq([version])
        });
        settled.map_err(|trouble| Trouble::new(format!("{trouble}: {seen}")))
    }
}
