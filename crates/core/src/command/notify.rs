//! What is written to the log about notices.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{ChannelId, EventId, Millis, Opaque, Receiver, Topic};

/// Somebody who is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChannel {
    /// Its name, unique.
    pub name: String,
    /// See [`crate::model::Channel::receiver`].
    pub receiver: Receiver,
    /// See [`crate::model::Channel::secret`].
    pub secret: Opaque,
    /// See [`crate::model::Channel::root`].
    pub root: Option<String>,
    /// See [`crate::model::Channel::projects`].
    pub projects: BTreeSet<String>,
    /// See [`crate::model::Channel::topics`].
    pub topics: BTreeSet<Topic>,
    /// See [`crate::model::Channel::allow_private`].
    pub allow_private: bool,
}

/// What the leader has done about notices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// It tried to tell some.
    Tried(Vec<Attempt>),
    /// At the wall time of this entry some certificate is about to end of which nobody was told.
    Expiring,
}

/// What came of telling one channel one notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Whom.
    pub channel: ChannelId,
    /// What.
    pub notice: EventId,
    /// What came of it; it arrived where `None`.
    pub failure: Option<NotTold>,
}

/// Why a notice did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotTold {
    /// For a person, without the channel's secrets.
    pub why: String,
    /// When the channel is tried again, on the cluster clock.
    pub retry_at: Millis,
}
