//! Every operation, who may ask for it, and who answers: the one place where that is declared.
//!
//! An operation that is not in the table, or has no role there, does not compile.

use temps_core::model::Role;
use temps_wire::proto::temps_server::Temps;
use temps_wire::proto::{
    Accepted, AddDomainRequest, AddNotificationRequest, AddNotificationResponse, BuildLogRequest,
    BundleChunk, CancelRequest, ClusterStatusRequest, ClusterStatusResponse, CordonNodeRequest,
    CreateJoinTokenRequest, CreateJoinTokenResponse, CreateProjectRequest, CreateProjectResponse,
    CreateTokenRequest, CreateTokenResponse, DeployRequest, DeploymentDetail, DeploymentMetrics,
    DeploymentPreview, DomainChanged, DrainNodeRequest, Event, ExplainInstanceRequest, GetDeploymentRequest,
    GetMetricsRequest, GetNodeRequest, HasBundleRequest, HasBundleResponse, InstanceStory,
    ListDeploymentsRequest, ListDeploymentsResponse, ListDomainsRequest, ListDomainsResponse,
    ListNodesRequest, ListNodesResponse, ListNotificationsRequest, ListNotificationsResponse,
    ListProjectsRequest, ListProjectsResponse, ListVariablesRequest, ListVariablesResponse, LogLine,
    LogsRequest, NodeChanged, NodeDetail, PauseRequest, PromoteRequest, PutBundleResponse,
    RemoveDomainRequest, RemoveNodeRequest, RemoveNotificationRequest, RemoveNotificationResponse,
    ResolveImageRequest, ResolveImageResponse, ResumeRequest, RollbackRequest, ScaleRequest, ScaleResponse,
    SetAcmeRequest, SetMaintenanceRequest, SetMaintenanceResponse, SetVariablesRequest, SetVariablesResponse,
    StatusRequest, StatusResponse, TestNotificationRequest, TestNotificationResponse, UncordonNodeRequest,
    VerifyDomainRequest, VerifyDomainResponse, WatchDeploymentRequest, WhoAmIRequest, WhoAmIResponse,
};
use tonic::{Request, Response, Status, Streaming};

use crate::caller::Claim;
use crate::desk::{Desk, Lines};
use crate::{
    build_log, bundles, changes, domains, images, logs, metrics, nodes, notifications, reads, story, watch,
};

macro_rules! operations {
    ($($operation:ident: $asked:ty => $answer:ty, $role:ident, $what:literal, $handler:path;)*) => {
        #[tonic::async_trait]
        impl Temps for Desk {
            type WatchDeploymentStream = Lines<Event>;
            type BuildLogStream = Lines<LogLine>;
            type LogsStream = Lines<LogLine>;

            $(
                async fn $operation(&self, request: Request<$asked>) -> Result<Response<$answer>, Status> {
                    let claim = Claim::of(&request)?;
                    let caller = self.admit(claim, Role::$role, $what).await?;
                    $handler(self, caller, request.into_inner()).await.map(Response::new)
                }
            )*
        }

        /// Every operation with its least role.
        #[cfg(test)]
        pub(crate) const ROLES: &[(&str, Role)] = &[$((stringify!($operation), Role::$role)),*];
    };
}

operations! {
    who_am_i: WhoAmIRequest => WhoAmIResponse, Viewer, "asking who one is", reads::who_am_i;
    list_deployments: ListDeploymentsRequest => ListDeploymentsResponse, Viewer, "reading", reads::list_deployments;
    get_deployment: GetDeploymentRequest => DeploymentDetail, Viewer, "reading", reads::get_deployment;
    get_metrics: GetMetricsRequest => DeploymentMetrics, Viewer, "reading", metrics::get_metrics;
    preview_deployment: DeployRequest => DeploymentPreview, Deployer, "deploying", metrics::preview_deployment;
    watch_deployment: WatchDeploymentRequest => Lines<Event>, Viewer, "watching", watch::watch_deployment;
    build_log: BuildLogRequest => Lines<LogLine>, Viewer, "reading logs", build_log::build_log;
    status: StatusRequest => StatusResponse, Viewer, "reading", reads::status;
    logs: LogsRequest => Lines<LogLine>, Viewer, "reading logs", logs::logs;
    // The values need a deployer; its handler checks that.
    list_variables: ListVariablesRequest => ListVariablesResponse, Viewer, "reading", reads::list_variables;
    list_projects: ListProjectsRequest => ListProjectsResponse, Viewer, "reading", reads::list_projects;
    list_nodes: ListNodesRequest => ListNodesResponse, Viewer, "reading", reads::list_nodes;
    cluster_status: ClusterStatusRequest => ClusterStatusResponse, Viewer, "reading", reads::cluster_status;
    has_bundle: HasBundleRequest => HasBundleResponse, Deployer, "deploying", bundles::has_bundle;
    put_bundle: Streaming<BundleChunk> => PutBundleResponse, Deployer, "deploying", bundles::put_bundle;
    resolve_image: ResolveImageRequest => ResolveImageResponse, Deployer, "deploying", images::resolve_image;
    deploy: DeployRequest => Accepted, Deployer, "deploying", changes::deploy;
    rollback: RollbackRequest => Accepted, Deployer, "rolling back", changes::rollback;
    cancel: CancelRequest => Accepted, Deployer, "cancelling", changes::cancel;
    pause: PauseRequest => Accepted, Deployer, "pausing", changes::pause;
    resume: ResumeRequest => Accepted, Deployer, "resuming", changes::resume;
    promote: PromoteRequest => Accepted, Deployer, "promoting", changes::promote;
    scale: ScaleRequest => ScaleResponse, Deployer, "scaling", changes::scale;
    set_variables: SetVariablesRequest => SetVariablesResponse, Deployer, "setting variables", changes::set_variables;
    create_project: CreateProjectRequest => CreateProjectResponse, Deployer, "creating a project", changes::create_project;
    create_token: CreateTokenRequest => CreateTokenResponse, Admin, "creating a token", changes::create_token;
    create_join_token: CreateJoinTokenRequest => CreateJoinTokenResponse, Admin, "creating a join token", changes::create_join_token;
    set_maintenance: SetMaintenanceRequest => SetMaintenanceResponse, Deployer, "setting maintenance", changes::set_maintenance;
    list_domains: ListDomainsRequest => ListDomainsResponse, Viewer, "reading", domains::list;
    add_domain: AddDomainRequest => DomainChanged, Deployer, "adding a domain", domains::add;
    remove_domain: RemoveDomainRequest => DomainChanged, Deployer, "removing a domain", domains::remove;
    // It connects to wherever the name points.
    verify_domain: VerifyDomainRequest => VerifyDomainResponse, Deployer, "verifying a domain", domains::verify;
    set_acme: SetAcmeRequest => DomainChanged, Admin, "setting where certificates are ordered", domains::set_acme;
    add_notification: AddNotificationRequest => AddNotificationResponse, Admin, "adding a notification", notifications::add;
    list_notifications: ListNotificationsRequest => ListNotificationsResponse, Viewer, "reading", notifications::list;
    test_notification: TestNotificationRequest => TestNotificationResponse, Admin, "testing a notification", notifications::test;
    remove_notification: RemoveNotificationRequest => RemoveNotificationResponse, Admin, "removing a notification", notifications::remove;
    get_node: GetNodeRequest => NodeDetail, Viewer, "reading", nodes::get_node;
    cordon_node: CordonNodeRequest => NodeChanged, Admin, "cordoning a node", nodes::cordon;
    uncordon_node: UncordonNodeRequest => NodeChanged, Admin, "uncordoning a node", nodes::uncordon;
    drain_node: DrainNodeRequest => NodeChanged, Admin, "draining a node", nodes::drain;
    remove_node: RemoveNodeRequest => NodeChanged, Admin, "removing a node", nodes::remove;
    explain_instance: ExplainInstanceRequest => InstanceStory, Viewer, "reading", story::explain_instance;
}
