//! The nouns: what a cluster consists of.

mod artifact;
mod audit;
mod cluster;
mod counted;
mod deployment;
mod event;
mod evidence;
mod finding;
mod id;
mod instance;
mod maintenance;
mod notify;
mod people;
mod query;
mod reason;
mod settings;
mod spec;
mod tls;
mod traffic;

pub use artifact::{Artifact, Form, RuntimeKind, Source};
pub use audit::{Audit, AuditEntry, AuditKind, AuditOutcome};
pub use cluster::{
    ClusterState, Environment, JoinToken, Node, NodeFacts, NodeStatus, Project, Release, Role, Token,
};
pub use counted::Counted;
pub use deployment::{Cause, Deployment, Kind, Phase, Progress, Step};
pub use event::{Event, EventId, What};
pub use evidence::{Allowed, Evidence, MILLION, Pair, Score, Second, Share};
pub use finding::{Finding, Verdict, percent};
pub use id::{
    CertificateId, ChannelId, DeploymentId, EnvironmentId, Index, InstanceId, Millis, NodeId, PersonId,
    ProjectId, ReleaseId, SessionId, TokenId,
};
pub use instance::{Endpoint, Exit, Instance, Seen, Want};
pub use maintenance::Maintenance;
pub use notify::{
    Channel, ChannelSecret, GIVE_UP, MailSecurity, Mishap, Notice, Notifications, Outcome, PENDING_MAX,
    Receiver, Sent, Tested, Topic,
};
pub use people::{Code, Grant, People, Person, SESSION_COOKIE, SESSION_IDLE, SESSION_LONGEST, Session};
pub use reason::{Reason, Story, Told};
pub use settings::{
    Covered, HEALTH_TIMEOUT_MAX, Instead, Kind as SettingKind, Setting, Settings, SettingsChanged, Value,
};
pub use spec::{
    CanaryStep, DEFAULT_PORT, DeployRules, Health, Https, Opaque, Order, Placement, ProcessSpec, Protocol,
    RELEASE_PROCESS, ReleaseCommand, RollbackRules, RouteRules, Schema, Spec, Strategy, Variables,
};
pub use tls::{Acme, Certificate, CertificateFrom, Challenge, Order as CertificateOrder, Tls};
pub use traffic::{CLASSES, Counts, Measured, Past, Times, Traffic, class_of};
