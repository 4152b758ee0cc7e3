//! Every operation, who may ask for it, what it is about, and who answers: the one place where that is declared.
//!
//! An operation that is not in the table, or has no role or no scope there, does not compile.

use temps_core::model::Role;
use temps_wire::proto::temps_server::Temps;
use temps_wire::proto::{
    Accepted, AddDomainRequest, AddNotificationRequest, AddNotificationResponse, AddPersonRequest,
    BuildLogRequest, BundleChunk, CancelRequest, ClusterStatusRequest, ClusterStatusResponse,
    CordonNodeRequest, CreateJoinTokenRequest, CreateJoinTokenResponse, CreateProjectRequest,
    CreateProjectResponse, CreateSetupCodeRequest, CreateTokenRequest, CreateTokenResponse, DeployRequest,
    DeploymentDetail, DeploymentMetrics, DeploymentPreview, DomainChanged, DrainNodeRequest, Event,
    ExplainInstanceRequest, GetDeploymentRequest, GetHistoryRequest, GetHistoryResponse, GetMetricsRequest,
    GetNodeRequest, GetSettingsRequest, GetSettingsResponse, HasBundleRequest, HasBundleResponse,
    InstanceStory, ListAuditRequest, ListAuditResponse, ListDeploymentsRequest, ListDeploymentsResponse,
    ListDomainsRequest, ListDomainsResponse, ListNodesRequest, ListNodesResponse, ListNotificationsRequest,
    ListNotificationsResponse, ListPeopleRequest, ListPeopleResponse, ListProjectsRequest,
    ListProjectsResponse, ListTokensRequest, ListTokensResponse, ListVariablesRequest, ListVariablesResponse,
    LogLine, LogsRequest, NodeChanged, NodeDetail, PauseRequest, PeopleChanged, PersonCode, PromoteRequest,
    PutBundleResponse, RedeployRequest, RemoveDomainRequest, RemoveNodeRequest, RemoveNotificationRequest,
    RemoveNotificationResponse, RemovePersonRequest, ResolveImageRequest, ResolveImageResponse,
    ResumeRequest, RevokeTokenRequest, RollbackRequest, ScaleRequest, ScaleResponse, SetAcmeRequest,
    SetMaintenanceRequest, SetMaintenanceResponse, SetPersonRequest, SetSettingsRequest, SetSettingsResponse,
    SetVariablesRequest, SetVariablesResponse, StatusRequest, StatusResponse, TestNotificationRequest,
    TestNotificationResponse, UncordonNodeRequest, VerifyDomainRequest, VerifyDomainResponse,
    WatchDeploymentRequest, WhoAmIRequest, WhoAmIResponse,
};
use tonic::{Request, Response, Status, Streaming};

use crate::caller::{Caller, Claim};
use crate::desk::{Answer, Desk, Lines};
use crate::permit::Scope::{self, Anywhere, Cluster, Deployment, Domain, Instance, Listing, Project};
use crate::{
    audit, build_log, bundles, changes, domains, history, images, logs, metrics, nodes, notifications,
    people, reads, settings, story, watch,
};

macro_rules! operations {
    ($($operation:ident: $asked:ty => $answer:ty, $role:ident, $scope:expr, $what:literal, $handler:path;)*) => {
        #[tonic::async_trait]
        impl Temps for Desk {
            type WatchDeploymentStream = Lines<Event>;
            type BuildLogStream = Lines<LogLine>;
            type LogsStream = Lines<LogLine>;

            $(
                async fn $operation(&self, request: Request<$asked>) -> Result<Response<$answer>, Status> {
                    let claim = Claim::of(&request)?;
                    let caller = self.admit(claim, Role::$role).await?;
                    Operations::$operation(self, caller, request.into_inner()).await.map(Response::new)
                }
            )*
        }

        /// Each operation for somebody who was let in, by whichever door.
        pub(crate) struct Operations;

        impl Operations {
            $(
                pub(crate) async fn $operation(desk: &Desk, caller: Caller, asked: $asked) -> Answer<$answer> {
                    let scope: fn(&$asked) -> Scope<'_> = $scope;
                    let scope = scope(&asked);
                    desk.permit(&caller, Role::$role, scope, $what)?;
                    let caller = caller.about(stringify!($operation), scope);
                    $handler(desk, caller, asked).await
                }
            )*
        }

        /// Every operation with its least role.
        #[cfg(test)]
        pub(crate) const ROLES: &[(&str, Role)] = &[$((stringify!($operation), Role::$role)),*];

        /// What an operation is about, where nothing is asked for.
        #[cfg(test)]
        pub(crate) const SCOPES: &[(&str, &str)] = &[$((stringify!($operation), stringify!($scope))),*];
    };
}

operations! {
    who_am_i: WhoAmIRequest => WhoAmIResponse, Viewer, |_| Anywhere, "asking who one is", reads::who_am_i;
    list_deployments: ListDeploymentsRequest => ListDeploymentsResponse, Viewer, |_| Listing, "reading", reads::list_deployments;
    get_deployment: GetDeploymentRequest => DeploymentDetail, Viewer, |r| Deployment(r.number), "reading", reads::get_deployment;
    get_metrics: GetMetricsRequest => DeploymentMetrics, Viewer, |r| Deployment(r.number), "reading", metrics::get_metrics;
    get_history: GetHistoryRequest => GetHistoryResponse, Viewer, |r| Project(&r.project), "reading", history::get_history;
    preview_deployment: DeployRequest => DeploymentPreview, Deployer, |r| Project(&r.project), "deploying", metrics::preview_deployment;
    watch_deployment: WatchDeploymentRequest => Lines<Event>, Viewer, |r| Deployment(r.number), "watching", watch::watch_deployment;
    build_log: BuildLogRequest => Lines<LogLine>, Viewer, |r| Deployment(r.deployment), "reading logs", build_log::build_log;
    status: StatusRequest => StatusResponse, Viewer, |_| Listing, "reading", reads::status;
    logs: LogsRequest => Lines<LogLine>, Viewer, |r| Project(&r.project), "reading logs", logs::logs;
    // The values need a deployer; its handler checks that.
    list_variables: ListVariablesRequest => ListVariablesResponse, Viewer, |r| Project(&r.project), "reading", reads::list_variables;
    list_projects: ListProjectsRequest => ListProjectsResponse, Viewer, |_| Listing, "reading", reads::list_projects;
    // Whoever deploys has to know what machines run; that is all that is shown without a role for everything.
    list_nodes: ListNodesRequest => ListNodesResponse, Viewer, |_| Listing, "reading", reads::list_nodes;
    cluster_status: ClusterStatusRequest => ClusterStatusResponse, Viewer, |_| Cluster, "reading", reads::cluster_status;
    has_bundle: HasBundleRequest => HasBundleResponse, Deployer, |_| Anywhere, "deploying", bundles::has_bundle;
    put_bundle: Streaming<BundleChunk> => PutBundleResponse, Deployer, |_| Anywhere, "deploying", bundles::put_bundle;
    resolve_image: ResolveImageRequest => ResolveImageResponse, Deployer, |_| Anywhere, "deploying", images::resolve_image;
    deploy: DeployRequest => Accepted, Deployer, |r| Project(&r.project), "deploying", changes::deploy;
    rollback: RollbackRequest => Accepted, Deployer, |r| Project(&r.project), "rolling back", changes::rollback;
    redeploy: RedeployRequest => Accepted, Deployer, |r| Deployment(r.deployment), "deploying again", settings::redeploy;
    cancel: CancelRequest => Accepted, Deployer, |r| Deployment(r.deployment), "cancelling", changes::cancel;
    pause: PauseRequest => Accepted, Deployer, |r| Deployment(r.deployment), "pausing", changes::pause;
    resume: ResumeRequest => Accepted, Deployer, |r| Deployment(r.deployment), "resuming", changes::resume;
    promote: PromoteRequest => Accepted, Deployer, |r| Deployment(r.deployment), "promoting", changes::promote;
    scale: ScaleRequest => ScaleResponse, Deployer, |r| Project(&r.project), "scaling", changes::scale;
    set_variables: SetVariablesRequest => SetVariablesResponse, Deployer, |r| Project(&r.project), "setting variables", changes::set_variables;
    get_settings: GetSettingsRequest => GetSettingsResponse, Viewer, |r| Project(&r.project), "reading", settings::get;
    set_settings: SetSettingsRequest => SetSettingsResponse, Deployer, |r| Project(&r.project), "changing settings", settings::set;
    create_project: CreateProjectRequest => CreateProjectResponse, Deployer, |r| Project(&r.name), "creating a project", changes::create_project;
    create_token: CreateTokenRequest => CreateTokenResponse, Admin, |_| Cluster, "creating a token", people::create_token;
    list_tokens: ListTokensRequest => ListTokensResponse, Admin, |_| Cluster, "listing tokens", people::list_tokens;
    revoke_token: RevokeTokenRequest => PeopleChanged, Admin, |_| Cluster, "revoking a token", people::revoke_token;
    add_person: AddPersonRequest => PersonCode, Admin, |_| Cluster, "adding a person", people::add_person;
    list_people: ListPeopleRequest => ListPeopleResponse, Admin, |_| Cluster, "listing people", people::list_people;
    set_person: SetPersonRequest => PersonCode, Admin, |_| Cluster, "changing a person", people::set_person;
    remove_person: RemovePersonRequest => PeopleChanged, Admin, |_| Cluster, "removing a person", people::remove_person;
    create_setup_code: CreateSetupCodeRequest => PersonCode, Admin, |_| Cluster, "creating a setup code", people::create_setup_code;
    list_audit: ListAuditRequest => ListAuditResponse, Admin, |_| Cluster, "reading the audit log", audit::list_audit;
    create_join_token: CreateJoinTokenRequest => CreateJoinTokenResponse, Admin, |_| Cluster, "creating a join token", changes::create_join_token;
    set_maintenance: SetMaintenanceRequest => SetMaintenanceResponse, Deployer, |r| Project(&r.project), "setting maintenance", changes::set_maintenance;
    list_domains: ListDomainsRequest => ListDomainsResponse, Viewer, |_| Listing, "reading", domains::list;
    add_domain: AddDomainRequest => DomainChanged, Deployer, |r| Project(&r.project), "adding a domain", domains::add;
    remove_domain: RemoveDomainRequest => DomainChanged, Deployer, |r| Domain(&r.name), "removing a domain", domains::remove;
    // It connects to wherever the name points.
    verify_domain: VerifyDomainRequest => VerifyDomainResponse, Deployer, |r| Domain(&r.name), "verifying a domain", domains::verify;
    set_acme: SetAcmeRequest => DomainChanged, Admin, |_| Cluster, "setting where certificates are ordered", domains::set_acme;
    add_notification: AddNotificationRequest => AddNotificationResponse, Admin, |_| Cluster, "adding a notification", notifications::add;
    list_notifications: ListNotificationsRequest => ListNotificationsResponse, Viewer, |_| Cluster, "reading", notifications::list;
    test_notification: TestNotificationRequest => TestNotificationResponse, Admin, |_| Cluster, "testing a notification", notifications::test;
    remove_notification: RemoveNotificationRequest => RemoveNotificationResponse, Admin, |_| Cluster, "removing a notification", notifications::remove;
    get_node: GetNodeRequest => NodeDetail, Viewer, |_| Cluster, "reading", nodes::get_node;
    cordon_node: CordonNodeRequest => NodeChanged, Admin, |_| Cluster, "cordoning a node", nodes::cordon;
    uncordon_node: UncordonNodeRequest => NodeChanged, Admin, |_| Cluster, "uncordoning a node", nodes::uncordon;
    drain_node: DrainNodeRequest => NodeChanged, Admin, |_| Cluster, "draining a node", nodes::drain;
    remove_node: RemoveNodeRequest => NodeChanged, Admin, |_| Cluster, "removing a node", nodes::remove;
    explain_instance: ExplainInstanceRequest => InstanceStory, Viewer, |r| Instance(r.instance), "reading", story::explain_instance;
}
