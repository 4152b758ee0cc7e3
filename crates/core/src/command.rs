//! What can be written to the log, and what the log answers.

mod access;
mod answer;
mod join;
mod notify;
mod settings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    Acme, Artifact, Cause, Certificate, CertificateId, DeploymentId, Endpoint, EnvironmentId, Exit, Index,
    InstanceId, Maintenance, Measured, Millis, NodeFacts, NodeId, Opaque, Past, Phase, Reason, ReleaseId,
    Seen, Source, Spec, Variables,
};

pub use access::{Access, NewCode, NewToken};
pub use answer::{Made, Outcome, Receipt, Rejection};
pub use join::NewNode;
pub use notify::{Attempt, NewChannel, NotTold, Notify};
pub use settings::SettingsChange;

/// The format version of [`Entry`]; a node refuses entries of a newer one.
pub const ENTRY_VERSION: u16 = 6;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`ENTRY_VERSION`] of the writer.
    pub version: u16,
    /// The leader's cluster clock when it proposed.
    pub clock: Millis,
    /// The leader's wall clock when it proposed, Unix milliseconds. Only for display.
    pub wall: Millis,
    /// Two entries with one key take effect once, and get one answer.
    pub key: Option<String>,
    /// Who asked: the name of a token or a person, `node n2`, or `planner`; behind it, where it is known, from
    /// where: `anna from 192.0.2.7`.
    pub by: String,
    /// What to change.
    pub command: Command,
}

/// What to change.
#[expect(clippy::large_enum_variant, reason = "commands are written and read one at a time")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The first entry of a cluster: domain and first token. Later ones are refused.
    Found {
        /// The domain under which environments get names.
        domain: String,
        /// Hash of the first admin token.
        token_hash: String,
    },
    /// A machine joins, using a join token; the founder has none.
    AddNode(NewNode),
    /// A machine tells its addresses and version again after a start.
    UpdateNode {
        /// Which.
        node: NodeId,
        /// See [`crate::model::Node::control`].
        control: String,
        /// See [`crate::model::Node::edge_peer`].
        edge_peer: String,
        /// See [`crate::model::Node::edge_http`].
        edge_http: String,
        /// Version of its binary.
        version: String,
    },
    /// Creates a join token.
    CreateJoinToken {
        /// SHA-256 of its secret, in hex.
        hash: String,
        /// How long it is valid.
        ttl: Millis,
        /// How many machines may use it.
        uses: u32,
    },
    /// Creates an API token.
    CreateToken(NewToken),
    /// Who may ask, and for what.
    Access(Access),
    /// Creates a project. Deploying to an unknown project does the same.
    CreateProject {
        /// Its name.
        name: String,
    },
    /// Moves an environment to a new release; creates project and environment where needed.
    Deploy {
        /// Name of the project.
        project: String,
        /// Name of the environment.
        environment: String,
        /// What runs, or from what it is made.
        source: Source,
        /// How it runs.
        spec: Spec,
        /// Cancel the running deployment instead of waiting for it.
        supersede: bool,
    },
    /// Moves an environment back to the release of a succeeded deployment.
    Rollback {
        /// Name of the project.
        project: String,
        /// Name of the environment.
        environment: String,
        /// Which deployment; the last succeeded one of another release where `None`.
        to: Option<DeploymentId>,
    },
    /// Moves an environment to a new release of what a deployment brought, with what is set by now.
    Redeploy {
        /// Which.
        deployment: DeploymentId,
    },
    /// Ends a deployment: a queued one at once, a running one by going back.
    Cancel {
        /// Which.
        deployment: DeploymentId,
    },
    /// Lets a deployment wait after its current step, without a deadline.
    Pause {
        /// Which.
        deployment: DeploymentId,
    },
    /// Lets a paused deployment go on.
    Resume {
        /// Which.
        deployment: DeploymentId,
    },
    /// Ends the hold of a deployment's current step, and resumes it.
    Promote {
        /// Which.
        deployment: DeploymentId,
        /// The holds of all later steps, too.
        all: bool,
    },
    /// Changes the number of wanted instances.
    Scale {
        /// Name of the project.
        project: String,
        /// Name of the environment.
        environment: String,
        /// Wanted instances by process; each at least 1.
        instances: BTreeMap<String, u32>,
    },
    /// Changes variables for the next release; `None` removes.
    SetVariables {
        /// Name of the project.
        project: String,
        /// Name of the environment.
        environment: String,
        /// Values to set.
        set: Variables,
        /// Names to remove.
        remove: Vec<String>,
    },
    /// Changes what later deployments of an environment take in place of what their file says.
    SetSettings(SettingsChange),
    /// Has all requests of an environment answered by the edges, or by its application again.
    SetMaintenance {
        /// Name of the project.
        project: String,
        /// Name of the environment.
        environment: String,
        /// What they are answered; `None` ends it.
        on: Option<Maintenance>,
    },
    /// Gives an environment one more name.
    AddDomain {
        /// Name of the project.
        project: String,
        /// Name of the environment.
        environment: String,
        /// The name, normalised.
        name: String,
    },
    /// Takes a name that was added, and certificates that are for no other name of an environment.
    RemoveDomain {
        /// Which.
        name: String,
    },
    /// Keeps a certificate that a person gave.
    PutCertificate(Certificate),
    /// Where certificates are ordered from now on; nowhere where `None`.
    SetAcme {
        /// Where, without an account: that of the same directory and contact is kept.
        acme: Option<Acme>,
    },
    /// Orders a certificate at once that could not be had before.
    RetryCertificate {
        /// For which name.
        name: String,
    },
    /// What the leader has done about certificates.
    Certify(Certify),
    /// Has somebody told what happens from now on.
    AddChannel(NewChannel),
    /// Ends that; what was on its way is forgotten.
    RemoveChannel {
        /// Its name.
        name: String,
    },
    /// Has one channel told something at once, to see whether it arrives.
    TestChannel {
        /// Its name.
        name: String,
    },
    /// No new instances are placed on a node; what runs there goes on.
    CordonNode {
        /// Which.
        node: NodeId,
    },
    /// Instances are placed on a node again, and those that are there stay.
    UncordonNode {
        /// Which.
        node: NodeId,
    },
    /// Moves everything that runs on a node elsewhere, and places nothing new there.
    DrainNode {
        /// Which.
        node: NodeId,
    },
    /// Removes a node for good: one on which nothing runs, or that is lost.
    RemoveNode {
        /// Which.
        node: NodeId,
        /// Although data is lost with it.
        force: bool,
    },
    /// What the planner decided on the state of revision `seen`.
    Plan {
        /// [`crate::model::ClusterState::revision`] that the planner saw.
        seen: u64,
        /// What to do, in order.
        actions: Vec<Action>,
    },
    /// What a node has seen.
    Report {
        /// Which node.
        node: NodeId,
        /// Which start of its server; a newer start has a larger number.
        boot: u64,
        /// Number of the report since that start; older ones than the newest are dropped.
        seq: u64,
        /// What it has seen.
        observations: Vec<Observation>,
    },
    /// The leader has not heard these nodes for longer than their lease, and hears those again.
    Liveness {
        /// Nodes to count as lost.
        lost: Vec<NodeId>,
        /// Nodes that count again.
        back: Vec<NodeId>,
    },
    /// What the leader has done about notices.
    Notify(Notify),
}

/// What the leader has done about certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certify {
    /// It has an account now.
    Account {
        /// At the server with this directory.
        directory: String,
        /// The account, sealed.
        account: Opaque,
    },
    /// Edges are to answer this from now on.
    Challenge {
        /// For which name.
        name: String,
        /// The part of the path that is asked by HTTP.
        token: String,
        /// What is answered.
        authorization: String,
    },
    /// A name is not ours as far as the server can see, or it could not be asked.
    Failed {
        /// Which name.
        name: String,
        /// Why, for a person.
        why: String,
        /// When it is tried again, in Unix milliseconds.
        retry_at: Millis,
    },
    /// A certificate was issued; it takes the place of one for the same names.
    Issued(Certificate),
    /// A certificate is to be renewed at another time.
    Renewal {
        /// Which.
        certificate: CertificateId,
        /// When, in Unix milliseconds.
        at: Millis,
    },
}

/// One decision of the planner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A queued deployment begins.
    Begin {
        /// Which.
        deployment: DeploymentId,
    },
    /// A node is to make the image of a deployment.
    Build {
        /// Which deployment.
        deployment: DeploymentId,
        /// Where.
        node: NodeId,
    },
    /// The release command of a deployment is to run, once.
    RunReleaseCommand {
        /// Which deployment.
        deployment: DeploymentId,
        /// Where.
        node: NodeId,
    },
    /// A deployment goes on to its next phase, for which everything is there.
    Proceed {
        /// Which.
        deployment: DeploymentId,
    },
    /// An instance is to run.
    Start {
        /// For which environment.
        environment: EnvironmentId,
        /// For which deployment, if one.
        deployment: Option<DeploymentId>,
        /// What it runs.
        release: ReleaseId,
        /// Which process.
        process: String,
        /// Its place.
        slot: u32,
        /// Where.
        node: NodeId,
        /// Why.
        #[serde(default)]
        why: Option<Reason>,
    },
    /// A ready instance is put into the tables.
    Admit {
        /// Which.
        instance: InstanceId,
    },
    /// An instance is withdrawn from the tables.
    Drain {
        /// Which.
        instance: InstanceId,
        /// Why.
        #[serde(default)]
        why: Option<Reason>,
    },
    /// A drained, timed-out or never admitted instance is stopped.
    Stop {
        /// Which.
        instance: InstanceId,
        /// Why.
        #[serde(default)]
        why: Option<Reason>,
    },
    /// The current step of a process is complete.
    Advance {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Which process.
        process: String,
    },
    /// The current step's counts are reached and its hold begins.
    Hold {
        /// Of which deployment.
        deployment: DeploymentId,
        /// Which process.
        process: String,
    },
    /// All steps are complete.
    Watch {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// The deployment is taken back.
    Revert {
        /// Which.
        deployment: DeploymentId,
        /// Why.
        cause: Cause,
    },
    /// The last thing to do of a deployment failed; its release stays.
    Fail {
        /// Which.
        deployment: DeploymentId,
        /// Why.
        cause: Cause,
    },
    /// The deployment ends.
    End {
        /// Which.
        deployment: DeploymentId,
        /// How; a terminal phase.
        phase: Phase,
    },
}

/// One thing a node has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// An instance changed.
    Instance {
        /// Which.
        instance: InstanceId,
        /// What is true of it now.
        seen: Seen,
        /// Its address, from the moment it runs.
        endpoint: Option<Endpoint>,
        /// Health checks made until now.
        attempts: u32,
        /// The last answer to a health check.
        last_check: Option<String>,
        /// The last lines of its log when a check failed, at most 20.
        #[serde(default)]
        log_tail: Vec<String>,
        /// How it ended, where it did.
        exit: Option<Exit>,
    },
    /// This node's edge has withdrawn an instance of this node: with so much in flight.
    Draining {
        /// Which.
        instance: InstanceId,
        /// Requests and streams in flight.
        in_flight: u64,
    },
    /// Nothing is in flight for an instance that every live edge has withdrawn.
    Drained {
        /// Which.
        instance: InstanceId,
    },
    /// An instance is being stopped by the drain timeout with this much in flight.
    Cut {
        /// Which.
        instance: InstanceId,
        /// Requests and streams in flight.
        in_flight: u64,
    },
    /// This node's edge serves the table of this log index.
    Applied {
        /// That index.
        index: Index,
    },
    /// This node stores or no longer stores an artifact.
    Artifact {
        /// Its digest.
        digest: String,
        /// Whether it is stored.
        stored: bool,
    },
    /// This node has made the image of a deployment, and stores it.
    Built {
        /// Which deployment.
        deployment: DeploymentId,
        /// The stored image.
        image: Artifact,
    },
    /// This node could not make the image of a deployment, and trying again would not help.
    NotBuilt {
        /// Which deployment.
        deployment: DeploymentId,
        /// What went wrong, for a person.
        why: String,
        /// The last lines of the build log, at most 20.
        log_tail: Vec<String>,
    },
    /// What this node is now.
    Facts(NodeFacts),
    /// Cumulative traffic of an environment at this node's edge.
    Traffic {
        /// Which environment.
        environment: EnvironmentId,
        /// Counts since the edge started.
        measured: Measured,
    },
    /// What this node's edge counted of an environment in the time before a deployment began.
    Past {
        /// Which deployment.
        deployment: DeploymentId,
        /// What was counted.
        past: Past,
    },
}
