//! What happened, in the words that users read. One event is one line of a timeline.

mod words;

use serde::{Deserialize, Serialize};

use super::deployment::{Cause, Phase};
use super::finding::Finding;
use super::id::{DeploymentId, EnvironmentId, Index, InstanceId, Millis, NodeId, ReleaseId};
use super::settings::SettingsChanged;
use crate::text;
use words::{age, ended, in_days};

/// Where an event stands: the log index that caused it, then its place among that entry's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventId {
    /// Log index.
    pub index: Index,
    /// Place, from 0.
    pub place: u32,
}

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the order of everything.
    pub id: EventId,
    /// Wall time of the leader that proposed it, in Unix milliseconds. For display only.
    pub wall: Millis,
    /// The deployment it belongs to, if one.
    pub deployment: Option<DeploymentId>,
    /// The environment it belongs to, if one.
    pub environment: Option<EnvironmentId>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum What {
    /// A deployment was accepted.
    Accepted {
        /// Its release.
        release: ReleaseId,
        /// Size of the bundle or of the source in bytes; 0 where there is none.
        bytes: u64,
        /// What is built or imported, for a person; empty where nothing is.
        #[serde(default)]
        source: String,
        /// Who asked.
        by: String,
        /// The deployment it waits for, if one.
        after: Option<DeploymentId>,
        /// For a rollback: the deployment it goes back to.
        back_to: Option<DeploymentId>,
    },
    /// A node makes its image.
    Building {
        /// Which.
        node: NodeId,
    },
    /// The image is made.
    Built {
        /// Where.
        node: NodeId,
        /// The image's identity for Docker.
        id: String,
        /// Its stored size in bytes.
        bytes: u64,
    },
    /// The release command was asked for.
    ReleaseStarted {
        /// The instance that runs it.
        instance: InstanceId,
        /// Where.
        node: NodeId,
    },
    /// The release command ended well.
    ReleaseDone {
        /// The instance that ran it.
        instance: InstanceId,
        /// Where.
        node: NodeId,
    },
    /// An instance was asked for.
    Starting {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
    },
    /// An instance became ready.
    Healthy {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// Checks it took.
        attempts: u32,
    },
    /// An instance was put into the tables.
    Admitted {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
    },
    /// An instance stopped being healthy.
    Unhealthy {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// The last answer to its health check.
        last_check: String,
    },
    /// An instance was withdrawn.
    Draining {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// Connections in flight at that moment.
        in_flight: u64,
        /// It belongs to the release that is being taken back.
        #[serde(default)]
        new: bool,
    },
    /// Nothing is in flight any more.
    Drained {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
    },
    /// The drain timeout passed and requests were cut.
    DrainTimedOut {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// Requests that were cut.
        cut: u64,
    },
    /// An instance ended as asked and its traces are gone.
    Removed {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// It had to be killed after the grace period.
        killed: bool,
        /// It belongs to the release that is being taken back.
        #[serde(default)]
        new: bool,
    },
    /// An instance ended unasked.
    Crashed {
        /// Which.
        instance: InstanceId,
        /// Where.
        node: NodeId,
        /// `exit code 1`, `signal 9`, or an error.
        how: String,
    },
    /// The new release gets another share of the requests.
    Share {
        /// In percent.
        percent: u32,
        /// For how long; 0 where the next step follows at once.
        hold: Millis,
    },
    /// It waits after its current step.
    Paused {
        /// Who asked.
        by: String,
    },
    /// It goes on.
    Resumed {
        /// Who asked.
        by: String,
    },
    /// It does not wait any longer where it was to wait.
    Promoted {
        /// Nor anywhere after that.
        all: bool,
        /// Who asked.
        by: String,
    },
    /// What the requests to the new release say about it.
    Judged {
        /// What was found.
        finding: Finding,
    },
    /// All instances are replaced; the release is observed.
    Watching {
        /// For how long.
        millis: Millis,
    },
    /// The deployment is taken back.
    Reverting {
        /// Why.
        cause: Cause,
        /// To which release, if there is one.
        to: Option<ReleaseId>,
    },
    /// The last thing to do failed; the release stays all the same.
    Failed {
        /// Why.
        cause: Cause,
        /// Which.
        stays: ReleaseId,
    },
    /// The deployment ended.
    Ended {
        /// How.
        phase: Phase,
        /// Requests that failed between client and application, where traffic is known.
        errors: Option<u64>,
    },
    /// The number of wanted instances changed.
    Scaled {
        /// Of which process.
        process: String,
        /// To how many.
        instances: u32,
    },
    /// Settings of the environment changed.
    SettingsChanged(SettingsChanged),
    /// A name was given to the environment.
    DomainAdded {
        /// Which.
        name: String,
        /// Who asked.
        by: String,
    },
    /// A name was taken from the environment.
    DomainRemoved {
        /// Which.
        name: String,
        /// Who asked.
        by: String,
    },
    /// There is a new certificate.
    CertificateIssued {
        /// For which names.
        names: Vec<String>,
        /// Who signed it.
        issuer: String,
        /// Who gave it; nobody where it was ordered.
        by: Option<String>,
    },
    /// A certificate could not be ordered, for the first time in a row.
    CertificateFailed {
        /// For which name.
        name: String,
        /// Why.
        why: String,
    },
    /// A certificate ends soon, and nothing renews it.
    CertificateExpiring {
        /// For which names.
        names: Vec<String>,
        /// So many whole days are left.
        days: u64,
    },
    /// The edges answer the environment's requests from now on, and not its application.
    MaintenanceBegan {
        /// Who asked.
        by: String,
    },
    /// The application answers again.
    MaintenanceEnded {
        /// Who asked.
        by: String,
    },
    /// A node was declared lost.
    NodeLost {
        /// Which.
        node: NodeId,
    },
    /// Exactly as many nodes are left as it takes to change anything.
    QuorumAtRisk {
        /// The node that was lost last.
        node: NodeId,
        /// Nodes that count.
        up: u64,
        /// All nodes.
        of: u64,
    },
    /// The fullest disk of a node that deployments need is nearly full.
    DiskLow {
        /// Which.
        node: NodeId,
        /// Free space on it in bytes, coarsely.
        free: u64,
    },
    /// A lost node returned.
    NodeReturned {
        /// Which.
        node: NodeId,
    },
    /// A node joined the cluster.
    NodeJoined {
        /// Which.
        node: NodeId,
    },
    /// Nothing new is placed on a node.
    NodeCordoned {
        /// Which.
        node: NodeId,
        /// Who asked.
        by: String,
    },
    /// A node takes instances again.
    NodeUncordoned {
        /// Which.
        node: NodeId,
        /// Who asked.
        by: String,
    },
    /// What runs on a node is moved elsewhere.
    NodeDraining {
        /// Which.
        node: NodeId,
        /// Who asked.
        by: String,
    },
    /// Nothing is left on a node that is drained.
    NodeDrained {
        /// Which.
        node: NodeId,
    },
    /// A node was removed for good.
    NodeRemoved {
        /// Which.
        node: NodeId,
        /// Its name: the cluster knows no node of that number any more.
        name: String,
        /// Who asked.
        by: String,
    },
}

impl What {
    /// The instance it is about, if one.
    #[must_use]
    pub fn instance(&self) -> Option<(InstanceId, NodeId)> {
        match self {
            What::Starting { instance, node }
            | What::Healthy { instance, node, .. }
            | What::Admitted { instance, node }
            | What::Unhealthy { instance, node, .. }
            | What::Draining { instance, node, .. }
            | What::Drained { instance, node }
            | What::DrainTimedOut { instance, node, .. }
            | What::Removed { instance, node, .. }
            | What::ReleaseStarted { instance, node }
            | What::ReleaseDone { instance, node }
            | What::Crashed { instance, node, .. } => Some((*instance, *node)),
            What::Accepted { .. }
            | What::Building { .. }
            | What::Built { .. }
            | What::Share { .. }
            | What::Paused { .. }
            | What::Resumed { .. }
            | What::Promoted { .. }
            | What::Judged { .. }
            | What::Watching { .. }
            | What::Reverting { .. }
            | What::Failed { .. }
            | What::Ended { .. }
            | What::Scaled { .. }
            | What::SettingsChanged(_)
            | What::DomainAdded { .. }
            | What::DomainRemoved { .. }
            | What::CertificateIssued { .. }
            | What::CertificateFailed { .. }
            | What::CertificateExpiring { .. }
            | What::MaintenanceBegan { .. }
            | What::MaintenanceEnded { .. }
            | What::NodeLost { .. }
            | What::QuorumAtRisk { .. }
            | What::DiskLow { .. }
            | What::NodeReturned { .. }
            | What::NodeJoined { .. }
            | What::NodeCordoned { .. }
            | What::NodeUncordoned { .. }
            | What::NodeDraining { .. }
            | What::NodeDrained { .. }
            | What::NodeRemoved { .. } => None,
        }
    }

    /// The text of the timeline line, without time and instance; nodes are called by their numbers.
    #[must_use]
    pub fn line(&self) -> String {
        self.line_with(&|node| node.to_string())
    }

    /// As [`What::line`], with nodes called as `name` says. The wording is the article's where the article
    /// has the line.
    #[must_use]
    pub fn line_with(&self, name: &dyn Fn(NodeId) -> String) -> String {
        match self {
            What::Accepted { release, bytes, source, by, after, back_to } => {
                let mut line = match back_to {
                    Some(to) => format!("Rollback to {to} accepted (release {release}"),
                    None if source.is_empty() => {
                        format!("Release {release} stored (bundle: {}", text::bytes(*bytes))
                    }
                    None => format!("Release {release} accepted ({source}"),
                };
                line.push_str(&format!(", by {by})"));
                if let Some(after) = after {
                    line.push_str(&format!(", waiting for {after}"));
                }
                line
            }
            What::Building { node } => format!("Build started on {}", name(*node)),
            What::Built { bytes, .. } => format!("Build completed (image: {})", text::bytes(*bytes)),
            What::ReleaseStarted { .. } => "Release command started".to_owned(),
            What::ReleaseDone { .. } => "Release command completed".to_owned(),
            What::Starting { .. } => "New container starting".to_owned(),
            What::Healthy { attempts, .. } => format!("Health check passed (attempt {attempts})"),
            What::Admitted { .. } => "Traffic shifting to new container".to_owned(),
            What::Unhealthy { last_check, .. } => format!("Health check failing ({last_check})"),
            What::Draining { in_flight, new, .. } => {
                format!("{} container draining ({in_flight} active connections)", age(*new))
            }
            What::Drained { .. } => "All connections drained".to_owned(),
            What::DrainTimedOut { cut, .. } => format!("Drain timeout passed, {cut} connections cut"),
            What::Removed { killed: false, new, .. } => format!("{} container removed", age(*new)),
            What::Removed { killed: true, new, .. } => {
                format!("{} container removed (warning: killed after the stop grace)", age(*new))
            }
            What::Crashed { how, .. } => format!("Container ended by itself ({how})"),
            What::Share { percent: 100, .. } => "All requests go to new containers".to_owned(),
            What::Share { percent, hold } => {
                format!("{percent}% of requests go to new containers for {}", text::duration(*hold))
            }
            What::Paused { by } => format!("Paused by {by}, waits after this step"),
            What::Resumed { by } => format!("Resumed by {by}"),
            What::Promoted { all: false, by } => format!("Promoted to the next step by {by}"),
            What::Promoted { all: true, by } => format!("Promoted past all holds by {by}"),
            What::Judged { finding } => finding.sentence(),
            What::Watching { millis } => {
                format!("All containers replaced, watching for {}", text::duration(*millis))
            }
            What::Reverting { cause, to: Some(to) } => {
                format!("Rolling back to {to}: {}", cause.sentence_with(name))
            }
            What::Reverting { cause, to: None } => {
                format!("Stopping, there is no release to go back to: {}", cause.sentence_with(name))
            }
            What::Failed { cause, stays } => {
                format!("Release {stays} stays, but {}", cause.sentence_with(name))
            }
            What::Ended { phase, errors } => ended(*phase, *errors),
            What::Scaled { process, instances } => format!("Scaled {process} to {instances}"),
            What::SettingsChanged(changed) => changed.line(),
            What::DomainAdded { name, by } => format!("Domain {name} added by {by}"),
            What::DomainRemoved { name, by } => format!("Domain {name} removed by {by}"),
            What::CertificateIssued { names, issuer, by: Some(by) } => {
                format!("Certificate for {} by {issuer} given by {by}", names.join(", "))
            }
            What::CertificateIssued { names, issuer, by: None } => {
                format!("Certificate for {} issued by {issuer}", names.join(", "))
            }
            What::CertificateFailed { name, why } => format!("No certificate for {name}: {why}"),
            What::CertificateExpiring { names, days } => {
                format!("Certificate for {} ends {}, and nothing renews it", names.join(", "), in_days(*days))
            }
            What::MaintenanceBegan { by } => {
                format!("Maintenance begun by {by}: requests are answered 503")
            }
            What::MaintenanceEnded { by } => format!("Maintenance ended by {by}"),
            What::NodeLost { node } => format!("Node {} lost", name(*node)),
            What::QuorumAtRisk { up, of, .. } => {
                format!("Quorum at risk: {up} of {of} nodes are left, all of them needed to change anything")
            }
            What::DiskLow { node, free } => {
                format!("Disk of node {} nearly full ({} free)", name(*node), text::bytes(*free))
            }
            What::NodeReturned { node } => format!("Node {} returned", name(*node)),
            What::NodeJoined { node } => format!("Node {} joined", name(*node)),
            What::NodeCordoned { node, by } => format!("Node {} cordoned by {by}", name(*node)),
            What::NodeUncordoned { node, by } => format!("Node {} uncordoned by {by}", name(*node)),
            What::NodeDraining { node, by } => {
                format!("Node {} draining, asked by {by}: what runs there moves", name(*node))
            }
            What::NodeDrained { node } => format!("Node {} drained, nothing is left there", name(*node)),
            What::NodeRemoved { name, by, .. } => format!("Node {name} removed by {by}"),
        }
    }
}
