//! What a town is asked, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use temps_wire::proto::{
    AddDomainRequest, AddNotificationRequest, BuildLogRequest, CoveredSetting, DeployRequest,
    DeploymentDetail, DeploymentPreview, Event, EventId, GetHistoryRequest, GetHistoryResponse,
    GetSettingsResponse, InstanceStory, LogLine, Maintenance, NodeDetail, Notification, PromoteRequest,
    RemoveNodeRequest, ResolveImageResponse, RollbackRequest, ScaleRequest, SetAcmeRequest,
    SetSettingsRequest,
};
use tonic::Status;

use super::access;

/// What is asked and what is answered; all nodes share it.
#[derive(Default)]
pub(in crate::words::tests) struct Town {
    pub(in crate::words::tests) token: String,
    /// Names of all calls that changed something, in order, with their idempotency keys.
    pub(in crate::words::tests) changes: Vec<(&'static str, String)>,
    pub(in crate::words::tests) bundles: BTreeSet<String>,
    pub(in crate::words::tests) deploys: Vec<DeployRequest>,
    pub(in crate::words::tests) rollbacks: Vec<RollbackRequest>,
    pub(in crate::words::tests) redeploys: Vec<u64>,
    pub(in crate::words::tests) settings_set: Vec<SetSettingsRequest>,
    /// What is told of settings, and of those that a deployment takes in place of what the file says.
    pub(in crate::words::tests) settings: GetSettingsResponse,
    pub(in crate::words::tests) covered: Vec<CoveredSetting>,
    pub(in crate::words::tests) promotions: Vec<PromoteRequest>,
    pub(in crate::words::tests) scales: Vec<ScaleRequest>,
    pub(in crate::words::tests) variables: BTreeMap<String, String>,
    pub(in crate::words::tests) removed: Vec<String>,
    /// From where events were asked for.
    pub(in crate::words::tests) watched_after: Vec<Option<EventId>>,
    /// The script.
    pub(in crate::words::tests) events: Vec<Event>,
    pub(in crate::words::tests) detail: DeploymentDetail,
    /// What a deployment would do.
    pub(in crate::words::tests) preview: Option<DeploymentPreview>,
    /// Machines.
    pub(in crate::words::tests) machines: Vec<temps_wire::proto::Node>,
    /// What is left on a machine at each look; the last answer stays.
    pub(in crate::words::tests) left: Vec<NodeDetail>,
    pub(in crate::words::tests) removals: Vec<RemoveNodeRequest>,
    pub(in crate::words::tests) domains: Vec<AddDomainRequest>,
    pub(in crate::words::tests) acme: Option<SetAcmeRequest>,
    pub(in crate::words::tests) access: access::Access,
    pub(in crate::words::tests) notifications: Vec<AddNotificationRequest>,
    /// What is listed.
    pub(in crate::words::tests) listed: Vec<Notification>,
    /// Why a test does not arrive.
    pub(in crate::words::tests) test_fails: String,
    pub(in crate::words::tests) maintenance: Option<Maintenance>,
    /// What edges counted over time, and what of that was asked for.
    pub(in crate::words::tests) history: GetHistoryResponse,
    pub(in crate::words::tests) asked_history: Vec<GetHistoryRequest>,
    /// That of i7.
    pub(in crate::words::tests) story: Option<InstanceStory>,
    /// What names of images mean.
    pub(in crate::words::tests) images: BTreeMap<String, ResolveImageResponse>,
    /// Lines of the log of a build, and how often it was asked for.
    pub(in crate::words::tests) build_lines: Vec<LogLine>,
    pub(in crate::words::tests) build_asked: Vec<BuildLogRequest>,
    /// A log of a build breaks after so many lines, once for each number.
    pub(in crate::words::tests) build_breaks: Vec<usize>,
    /// So many questions for it come before it has begun.
    pub(in crate::words::tests) build_begins_after: usize,
    /// Events behind this many come only once the log of the build was read.
    pub(in crate::words::tests) held_after: Option<usize>,
    /// A stream of events breaks after so many, once for each number.
    pub(in crate::words::tests) breaks: Vec<usize>,
    /// After the events, the stream stays open.
    pub(in crate::words::tests) goes_on: bool,
    pub(in crate::words::tests) no_change: bool,
    /// The next changes are refused with these.
    pub(in crate::words::tests) refusals: Vec<Status>,
}
