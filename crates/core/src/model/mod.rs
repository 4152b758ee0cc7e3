//! The nouns: what a cluster consists of.

mod artifact;
mod cluster;
mod deployment;
mod event;
mod id;
mod instance;
mod query;
mod reason;
mod spec;

pub use artifact::{Artifact, Form, RuntimeKind, Source};
pub use cluster::{
    ClusterState, Environment, JoinToken, Node, NodeFacts, NodeStatus, Project, Release, Role, Token,
};
pub use deployment::{Cause, Deployment, Kind, Phase, Progress, Step, Traffic};
pub use event::{Event, EventId, What};
pub use id::{DeploymentId, EnvironmentId, Index, InstanceId, Millis, NodeId, ProjectId, ReleaseId, TokenId};
pub use instance::{Endpoint, Exit, Instance, Seen, Want};
pub use reason::{Reason, Story, Told};
pub use spec::{
    CanaryStep, DEFAULT_PORT, DeployRules, Health, Opaque, Order, Placement, ProcessSpec, RELEASE_PROCESS,
    ReleaseCommand, RollbackRules, RouteRules, Spec, Strategy, Variables,
};
