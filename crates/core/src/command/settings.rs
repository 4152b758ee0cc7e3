//! Commands about the settings of an environment.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{Setting, Settings};

/// What is changed in the settings of an environment, all at once or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// Name of the project.
    pub project: String,
    /// Name of the environment.
    pub environment: String,
    /// What is set.
    pub set: Settings,
    /// What `temps.toml` says again; nothing of it is in `set`.
    pub unset: BTreeSet<Setting>,
}
