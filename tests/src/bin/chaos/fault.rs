//! What goes wrong during a deployment.

use std::time::Duration;

use temps_tests::cluster::Cluster;
use temps_tests::ground::Ground;
use temps_tests::load::{Load, Struck};
use temps_tests::trouble::Result;
use temps_tests::{hands, wait};

use crate::PROJECTS;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The node's server is killed, and started again later.
    #[default]
    Server,
    /// The node's engine is stopped, and started again later; its containers live on.
    EngineStopped,
    /// The node's engine is killed, and started again later; its containers live on.
    EngineKilled,
    /// Somebody removes a container.
    Removed,
    /// Somebody removes a container of each application, and starts the other's image at its address.
    Swapped,
}

/// What was done, and what has to be put away.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) told: String,
    /// Containers of the deployed application that were removed.
    pub(crate) removed: usize,
    /// Both strangers got the address of what was removed.
    pub(crate) swapped: bool,
    strangers: Vec<String>,
    victim: usize,
}

impl Fault {
    pub(crate) fn all(ground: Ground) -> Vec<Self> {
        match ground {
            Ground::Processes => vec![Fault::Server],
            Ground::Docker => {
                vec![Fault::Server, Fault::EngineStopped, Fault::EngineKilled, Fault::Removed, Fault::Swapped]
            }
        }
    }

    /// Does it, to a node, and where something is away, for a time.
    pub(crate) fn strike(
        self,
        cluster: &mut Cluster,
        victim: usize,
        away: Duration,
        loads: &[Load],
    ) -> Result<Done> {
        let told = |what: &str| Done { told: format!("{what} for {away:.1?}"), victim, ..Done::default() };
        match self {
            Fault::Server => {
                cluster.nodes[victim].kill()?;
                wait::nap(away)?;
                cluster.nodes[victim].restart()?;
                Ok(told("server killed"))
            }
            Fault::EngineStopped => {
                let engine = &mut cluster.nodes[victim].machine_mut()?.engine;
                engine.stop()?;
                wait::nap(away)?;
                engine.start()?;
                Ok(told("engine stopped"))
            }
            Fault::EngineKilled => {
                let engine = &mut cluster.nodes[victim].machine_mut()?.engine;
                engine.kill()?;
                wait::nap(away)?;
                engine.start()?;
                Ok(told("engine killed"))
            }
            Fault::Removed => {
                let engine = &cluster.nodes[victim].machine()?.engine;
                let Some(container) = hands::running(engine, PROJECTS[0])? else {
                    return Ok(Done { told: "nothing to remove".to_owned(), victim, ..Done::default() });
                };
                loads[0].strike(Struck::Instances, || hands::remove(engine, &container))?;
                let told = format!("{} removed by hand", container.name);
                Ok(Done { told, removed: 1, victim, ..Done::default() })
            }
            Fault::Swapped => {
                let engine = &cluster.nodes[victim].machine()?.engine;
                let Some(swap) = hands::swap(engine, PROJECTS, [&loads[0], &loads[1]])? else {
                    return Ok(Done { told: "nothing to swap".to_owned(), victim, ..Done::default() });
                };
                let how = if swap.complete { "swapped" } else { "removed, and not swapped" };
                Ok(Done {
                    told: format!("addresses of {} {how}", swap.removed.join(" and ")),
                    removed: 1,
                    swapped: swap.complete,
                    strangers: swap.strangers,
                    victim,
                })
            }
        }
    }
}

impl Done {
    /// Takes the strangers away again.
    pub(crate) fn clear(&self, cluster: &Cluster) -> Result {
        let engine = &cluster.nodes[self.victim].machine();
        self.strangers.iter().try_for_each(|id| match engine {
            Ok(machine) => machine.engine.remove(id),
            Err(_) => Ok(()),
        })
    }
}
