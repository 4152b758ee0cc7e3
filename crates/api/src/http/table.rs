//! Every operation with a message in and a message out, and where it is: the one place where that is declared.

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::routing::{delete, get, patch, post, put};
use temps_wire::proto::temps_server::Temps;
use temps_wire::proto::{
    Accepted, AddDomainRequest, AddNotificationRequest, AddNotificationResponse, AddPersonRequest,
    CancelRequest, ClusterStatusRequest, ClusterStatusResponse, CordonNodeRequest, CreateJoinTokenRequest,
    CreateJoinTokenResponse, CreateProjectRequest, CreateProjectResponse, CreateSetupCodeRequest,
    CreateTokenRequest, CreateTokenResponse, DeploymentDetail, DeploymentMetrics, DomainChanged,
    DrainNodeRequest, ExplainInstanceRequest, GetDeploymentRequest, GetHistoryRequest, GetHistoryResponse,
    GetMetricsRequest, GetNodeRequest, GetSettingsRequest, GetSettingsResponse, HasBundleRequest,
    HasBundleResponse, InstanceStory, ListAuditRequest, ListAuditResponse, ListDeploymentsRequest,
    ListDeploymentsResponse, ListDomainsRequest, ListDomainsResponse, ListNodesRequest, ListNodesResponse,
    ListNotificationsRequest, ListNotificationsResponse, ListPeopleRequest, ListPeopleResponse,
    ListProjectsRequest, ListProjectsResponse, ListTokensRequest, ListTokensResponse, ListVariablesRequest,
    ListVariablesResponse, NodeChanged, NodeDetail, PauseRequest, PeopleChanged, PersonCode, PromoteRequest,
    RedeployRequest, RemoveDomainRequest, RemoveNodeRequest, RemoveNotificationRequest,
    RemoveNotificationResponse, RemovePersonRequest, ResolveImageRequest, ResolveImageResponse,
    ResumeRequest, RevokeTokenRequest, RollbackRequest, ScaleRequest, ScaleResponse, SetAcmeRequest,
    SetMaintenanceRequest, SetMaintenanceResponse, SetPersonRequest, SetSettingsRequest, SetSettingsResponse,
    SetVariablesRequest, SetVariablesResponse, StatusRequest, StatusResponse, TestNotificationRequest,
    TestNotificationResponse, UncordonNodeRequest, VerifyDomainRequest, VerifyDomainResponse, WhoAmIRequest,
    WhoAmIResponse,
};

use super::describe::{Api, Way};
use super::problem::Refused;
use super::{ask, json, parts};
use crate::desk::Desk;

macro_rules! table {
    (@ask query, $path:ident, $head:ident, $body:ident) => { ask::of_query(&$path, $head.uri.query()) };
    (@ask body, $path:ident, $head:ident, $body:ident) => { ask::of_body(&$path, &$head, &$body) };
    ($($method:ident $at:literal $operation:ident $way:ident $asked:ty => $answer:ty, $kind:literal, $what:literal;)*) => {
        pub(super) fn routes() -> Router<Desk> {
            Router::new()$(.route(
                concat!("/api/v1", $at),
                $method(async |State(desk): State<Desk>, path: RawPathParams, request: Request| {
                    let (head, _body) = parts(request).await?;
                    let message: $asked = table!(@ask $way, path, head, _body)?;
                    let answer = Temps::$operation(&desk, ask::asked(&head, message)?).await?;
                    Ok::<_, Refused>(json(answer.get_ref()))
                }),
            ))*
        }

        pub(super) fn describe(api: &mut Api) {
            $(api.operation::<$asked, $answer>(
                stringify!($method), $at, stringify!($operation), Way::$way, $kind, $what,
            );)*
        }
    };
}

table! {
    get "/whoami" who_am_i query WhoAmIRequest => WhoAmIResponse, "cluster", "Whose token this is, and what it allows";
    get "/cluster" cluster_status query ClusterStatusRequest => ClusterStatusResponse, "cluster", "Leader, term, and every node";
    post "/join-tokens" create_join_token body CreateJoinTokenRequest => CreateJoinTokenResponse, "cluster", "Let a machine join; the token is told once";
    post "/tokens" create_token body CreateTokenRequest => CreateTokenResponse, "people", "Create an API token; it is told once";
    get "/tokens" list_tokens query ListTokensRequest => ListTokensResponse, "people", "List API tokens, and what they allow";
    delete "/tokens/{token}" revoke_token query RevokeTokenRequest => PeopleChanged, "people", "Revoke an API token, by name or id";
    get "/people" list_people query ListPeopleRequest => ListPeopleResponse, "people", "List people, and what they may do";
    post "/people" add_person body AddPersonRequest => PersonCode, "people", "Add a person, who sets a password with the code that is told once";
    patch "/people/{person}" set_person body SetPersonRequest => PersonCode, "people", "Say what a person may do, or take the password";
    delete "/people/{person}" remove_person query RemovePersonRequest => PeopleChanged, "people", "Remove a person";
    post "/setup-code" create_setup_code body CreateSetupCodeRequest => PersonCode, "people", "A code with which somebody becomes an admin; it is told once";
    get "/audit" list_audit query ListAuditRequest => ListAuditResponse, "people", "Who changed what, and what became of it";
    put "/acme" set_acme body SetAcmeRequest => DomainChanged, "domains", "Say where certificates are ordered";

    get "/notifications" list_notifications query ListNotificationsRequest => ListNotificationsResponse, "notifications", "Who is told what, and what of it arrived";
    post "/notifications" add_notification body AddNotificationRequest => AddNotificationResponse, "notifications", "Have somebody told by Slack, mail or webhook; a webhook's secret is told once";
    post "/notifications/{name}/test" test_notification body TestNotificationRequest => TestNotificationResponse, "notifications", "Send a notice now, and say whether it arrived";
    delete "/notifications/{name}" remove_notification query RemoveNotificationRequest => RemoveNotificationResponse, "notifications", "Tell somebody no more";

    get "/status" status query StatusRequest => StatusResponse, "projects", "What runs, by environment";
    get "/projects" list_projects query ListProjectsRequest => ListProjectsResponse, "projects", "List projects";
    post "/projects" create_project body CreateProjectRequest => CreateProjectResponse, "projects", "Create a project";
    post "/projects/{project}/environments/{environment}/rollback" rollback body RollbackRequest => Accepted, "deployments", "Go back to the release of an earlier deployment";
    post "/projects/{project}/environments/{environment}/scale" scale body ScaleRequest => ScaleResponse, "projects", "Say how many instances of each process run";
    get "/projects/{project}/environments/{environment}/variables" list_variables query ListVariablesRequest => ListVariablesResponse, "projects", "List variables; their values are left out unless asked for";
    patch "/projects/{project}/environments/{environment}/variables" set_variables body SetVariablesRequest => SetVariablesResponse, "projects", "Set and remove variables, for the next release";
    get "/projects/{project}/environments/{environment}/settings" get_settings query GetSettingsRequest => GetSettingsResponse, "projects", "List settings, where each is said, and what deploying again would change";
    patch "/projects/{project}/environments/{environment}/settings" set_settings body SetSettingsRequest => SetSettingsResponse, "projects", "Set and unset settings, for the next deployment";
    put "/projects/{project}/environments/{environment}/maintenance" set_maintenance body SetMaintenanceRequest => SetMaintenanceResponse, "projects", "Have the edges answer in the application's place, or no more";

    get "/projects/{project}/environments/{environment}/metrics" get_history query GetHistoryRequest => GetHistoryResponse, "projects", "What clients got over time, from all nodes";
    get "/deployments" list_deployments query ListDeploymentsRequest => ListDeploymentsResponse, "deployments", "List deployments, the newest first";
    get "/deployments/{number}" get_deployment query GetDeploymentRequest => DeploymentDetail, "deployments", "One deployment with its instances and its timeline";
    get "/deployments/{number}/metrics" get_metrics query GetMetricsRequest => DeploymentMetrics, "deployments", "Errors and times before, during and after, and the receipt";
    post "/deployments/{deployment}/redeploy" redeploy body RedeployRequest => Accepted, "deployments", "Deploy what a deployment brought once more, with what is set by now";
    post "/deployments/{deployment}/cancel" cancel body CancelRequest => Accepted, "deployments", "Cancel a deployment";
    post "/deployments/{deployment}/pause" pause body PauseRequest => Accepted, "deployments", "Let a deployment wait after its current step";
    post "/deployments/{deployment}/resume" resume body ResumeRequest => Accepted, "deployments", "Let a paused deployment go on";
    post "/deployments/{deployment}/promote" promote body PromoteRequest => Accepted, "deployments", "End the hold of the current step, or of all";
    get "/instances/{instance}" explain_instance query ExplainInstanceRequest => InstanceStory, "deployments", "Why an instance was started, and what became of it";
    post "/images/resolve" resolve_image body ResolveImageRequest => ResolveImageResponse, "deployments", "What an image's name means now";
    get "/bundles/{digest}" has_bundle query HasBundleRequest => HasBundleResponse, "deployments", "Whether a bundle is stored";

    get "/domains" list_domains query ListDomainsRequest => ListDomainsResponse, "domains", "List names, and their certificates";
    post "/domains" add_domain body AddDomainRequest => DomainChanged, "domains", "Give an environment one more name";
    delete "/domains/{name}" remove_domain query RemoveDomainRequest => DomainChanged, "domains", "Take a name that was added";
    post "/domains/{name}/verify" verify_domain body VerifyDomainRequest => VerifyDomainResponse, "domains", "Ask whether requests to a name arrive here";

    get "/nodes" list_nodes query ListNodesRequest => ListNodesResponse, "nodes", "List nodes";
    get "/nodes/{node}" get_node query GetNodeRequest => NodeDetail, "nodes", "One node, what is left on it, and what happened to it";
    post "/nodes/{node}/cordon" cordon_node body CordonNodeRequest => NodeChanged, "nodes", "Place nothing new on a node";
    post "/nodes/{node}/uncordon" uncordon_node body UncordonNodeRequest => NodeChanged, "nodes", "End cordoning and draining";
    post "/nodes/{node}/drain" drain_node body DrainNodeRequest => NodeChanged, "nodes", "Move what runs on a node elsewhere";
    delete "/nodes/{node}" remove_node query RemoveNodeRequest => NodeChanged, "nodes", "Remove a node for good";
}
