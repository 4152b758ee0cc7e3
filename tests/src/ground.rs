//! What a cluster stands on: processes of this machine, or machines with engines of their own.

use crate::machine;
use crate::trouble::{Result, Trouble};

/// What a cluster stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ground {
    /// All nodes on the loopback interface; instances are local processes.
    #[default]
    Processes,
    /// Each node in a network namespace with a Docker engine; instances are containers.
    Docker,
}

impl Ground {
    /// The one that `TEMPS_GROUND` names, or processes.
    ///
    /// # Errors
    /// When it names something else.
    pub fn asked() -> Result<Self> {
        match std::env::var("TEMPS_GROUND").as_deref() {
            Err(_) | Ok("" | "process") => Ok(Self::Processes),
            Ok("docker") => Ok(Self::Docker),
            Ok(other) => Err(Trouble::new(format!("TEMPS_GROUND is {other}; process and docker are known"))),
        }
    }

    /// The word that nodes have for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Ground::Processes => "process",
            Ground::Docker => "docker",
        }
    }

    /// Whether a cluster can stand on it here.
    ///
    /// # Errors
    /// Why not.
    pub fn possible(self) -> Result {
        match self {
            Ground::Processes => Ok(()),
            Ground::Docker => machine::possible(),
        }
    }
}
