//! An environment whose application is not asked.

use serde::{Deserialize, Serialize};

/// What every request of an environment is answered, with 503, while nothing of it reaches an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// For people, such as until when; at most 500 characters.
    pub message: Option<String>,
    /// When clients may try again, in seconds: 1 to 86,400.
    pub retry_after: u32,
}
