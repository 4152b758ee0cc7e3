//! To whom notices go, and those that somebody has still to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::deployment::Phase;
use super::event::EventId;
use super::id::{CertificateId, ChannelId, DeploymentId, Millis, NodeId};
use super::spec::Opaque;

/// Everything about notices. What has still to be told is state, so a new leader goes on where the last one was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notifications {
    /// The last number given to a channel.
    pub last: u64,
    /// To whom notices go.
    pub channels: BTreeMap<ChannelId, Channel>,
    /// Notices that some channel has still to be told.
    pub notices: BTreeMap<EventId, Notice>,
    /// Certificates of which was told that they end within so many days.
    pub warned: BTreeMap<CertificateId, u32>,
    /// Machines of which was told that their disk is nearly full.
    pub short_of_space: BTreeSet<NodeId>,
}

impl Notifications {
    /// The channel of that name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<(ChannelId, &Channel)> {
        self.channels.iter().find(|(_, channel)| channel.name == name).map(|(id, channel)| (*id, channel))
    }
}

/// What a notice is about; people choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A deployment or rollback was accepted.
    Started,
    /// A deployment is live.
    Succeeded,
    /// A deployment was taken back.
    RolledBack,
    /// A deployment failed, and could not be taken back.
    Failed,
    /// A person cancelled a deployment.
    Cancelled,
    /// A machine does not answer any more.
    NodeLost,
    /// A lost machine answers again.
    NodeReturned,
    /// Nothing is left on a machine that is drained.
    NodeDrained,
    /// A machine was removed for good.
    NodeRemoved,
    /// With one more machine lost, nothing can be changed any more.
    QuorumAtRisk,
    /// A certificate could not be ordered.
    CertificateFailed,
    /// A certificate ends soon, and nothing renews it.
    CertificateExpiring,
    /// The disk of a machine is nearly full.
    DiskLow,
    /// Somebody asked for a notice, to see whether it arrives.
    Test,
}

impl Topic {
    /// All that can be chosen.
    pub const ALL: [Topic; 13] = [
        Topic::Started,
        Topic::Succeeded,
        Topic::RolledBack,
        Topic::Failed,
        Topic::Cancelled,
        Topic::NodeLost,
        Topic::NodeReturned,
        Topic::NodeDrained,
        Topic::NodeRemoved,
        Topic::QuorumAtRisk,
        Topic::CertificateFailed,
        Topic::CertificateExpiring,
        Topic::DiskLow,
    ];

    /// The word that users see and type.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Topic::Started => "started",
            Topic::Succeeded => "succeeded",
            Topic::RolledBack => "rolled_back",
            Topic::Failed => "failed",
            Topic::Cancelled => "cancelled",
            Topic::NodeLost => "node_lost",
            Topic::NodeReturned => "node_returned",
            Topic::NodeDrained => "node_drained",
            Topic::NodeRemoved => "node_removed",
            Topic::QuorumAtRisk => "quorum_at_risk",
            Topic::CertificateFailed => "certificate_failed",
            Topic::CertificateExpiring => "certificate_expiring",
            Topic::DiskLow => "disk_low",
            Topic::Test => "test",
        }
    }

    /// The topic of a word, of those that can be chosen.
    #[must_use]
    pub fn of(word: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.word() == word)
    }
}

/// Somebody who is told, and how that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name, unique.
    pub name: String,
    /// Where it leads, without its secrets.
    pub receiver: Receiver,
    /// A [`ChannelSecret`], sealed.
    pub secret: Opaque,
    /// A root certificate in PEM for the receiver's own, beside the public ones.
    #[serde(default)]
    pub root: Option<String>,
    /// Only what concerns these projects, by name; everything where empty.
    pub projects: BTreeSet<String>,
    /// Only these topics; all where empty.
    pub topics: BTreeSet<Topic>,
    /// The receiver may have an address of a private network, and may be reached without TLS.
    pub allow_private: bool,
    /// Who added it.
    pub by: String,
    /// What it has still to be told, with how often that was tried.
    #[serde(default)]
    pub pending: BTreeMap<EventId, u32>,
    /// How often telling it failed in a row.
    #[serde(default)]
    pub failing: u32,
    /// Not before this moment it is tried again, on the cluster clock.
    #[serde(default)]
    pub retry_at: Millis,
    /// Notices that it received, in all.
    #[serde(default)]
    pub sent: u64,
    /// Notices that were given up after [`GIVE_UP`], in all.
    #[serde(default)]
    pub given_up: u64,
    /// Notices that were dropped as too many waited, in all.
    #[serde(default)]
    pub dropped: u64,
    /// What it received last.
    #[serde(default)]
    pub last_sent: Option<Sent>,
    /// Why it could not be told, the last time that was so.
    #[serde(default)]
    pub last_failure: Option<Mishap>,
    /// What came of the last test.
    #[serde(default)]
    pub tested: Option<Tested>,
}

/// A notice that a channel has not received within this time is given up.
pub const GIVE_UP: Millis = 24 * 60 * 60 * 1_000;
/// The most notices that wait for one channel; with more the oldest are dropped. Nobody reads more than these after a
/// day, and each is a part of the state that nodes copy.
pub const PENDING_MAX: usize = 2_000;

impl Channel {
    /// Whether it is to be told. Who named projects is told of those, and not of the machines below them.
    #[must_use]
    pub fn wants(&self, notice: &Notice) -> bool {
        (self.topics.is_empty() || self.topics.contains(&notice.topic))
            && (self.projects.is_empty() || self.projects.contains(&notice.project))
    }
}

/// Where a channel leads, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Receiver {
    /// An incoming webhook of Slack, or of what understands its messages.
    Slack {
        /// The host of its URL.
        host: String,
        /// Into which channel, where that is not left to the webhook.
        channel: Option<String>,
    },
    /// Mail.
    Email {
        /// The server that takes it.
        host: String,
        /// At which port.
        port: u16,
        /// How the connection to that is protected.
        security: MailSecurity,
        /// As whom to log in there.
        user: Option<String>,
        /// The address it comes from.
        from: String,
        /// The addresses it goes to.
        to: Vec<String>,
    },
    /// A program: signed JSON by POST.
    Webhook {
        /// The host of its URL.
        host: String,
    },
}

impl Receiver {
    /// The word that users see and type.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Receiver::Slack { .. } => "slack",
            Receiver::Email { .. } => "email",
            Receiver::Webhook { .. } => "webhook",
        }
    }
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailSecurity {
    /// It begins in the clear and must turn to TLS before anything is said (RFC 3207).
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all.
    None,
}

/// What a channel needs and nobody may see.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSecret {
    /// The URL of a webhook: who knows it can write there.
    pub url: Option<String>,
    /// The key by which a receiver knows that a webhook is ours, `whsec_` and base64.
    pub signing: Option<String>,
    /// The password at a mail server.
    pub password: Option<String>,
}

impl fmt::Debug for ChannelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Something that people are told. It is written when it happens, so that it stays whole when what it is about is
/// forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about.
    pub topic: Topic,
    /// When it happened, by the wall clock of the leader, in Unix milliseconds.
    pub wall: Millis,
    /// When it happened, on the cluster clock.
    pub at: Millis,
    /// The project it concerns; empty for none.
    pub project: String,
    /// The environment it concerns; empty for none.
    pub environment: String,
    /// The deployment it concerns.
    pub deployment: Option<Outcome>,
    /// One sentence.
    pub title: String,
    /// What else a person should know, such as `Why: exit code 1`.
    pub lines: Vec<String>,
}

/// How a deployment stood when a notice was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its number.
    pub number: DeploymentId,
    /// Where it stood.
    pub phase: Phase,
    /// Why it was taken back; empty where it was not.
    pub reason: String,
}

/// A notice that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Which.
    pub notice: EventId,
    /// Its title.
    pub title: String,
    /// When, in Unix milliseconds.
    pub wall: Millis,
}

/// A notice that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mishap {
    /// Which.
    pub notice: EventId,
    /// Its title.
    pub title: String,
    /// When, in Unix milliseconds.
    pub wall: Millis,
    /// Why, for a person.
    pub why: String,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// Its notice.
    pub notice: EventId,
    /// Why it did not arrive; it did where `None`.
    pub failure: Option<String>,
}
