use temps_core::command::Command;
use temps_core::model::Role;
use temps_wire::client::{Api, Client, ClientError};
use temps_wire::identity::NodeIdentity;
use temps_wire::proto::{
    AddDomainRequest, AddNotificationRequest, AddPersonRequest, BuildLogRequest, BundleChunk, CancelRequest,
    ClusterStatusRequest, CordonNodeRequest, CreateJoinTokenRequest, CreateProjectRequest,
    CreateSetupCodeRequest, CreateTokenRequest, DeployRequest, DrainNodeRequest, ExplainInstanceRequest,
    GetDeploymentRequest, GetHistoryRequest, GetMetricsRequest, GetNodeRequest, GetSettingsRequest,
    HasBundleRequest, ListAuditRequest, ListDeploymentsRequest, ListDomainsRequest, ListNodesRequest,
    ListNotificationsRequest, ListPeopleRequest, ListProjectsRequest, ListTokensRequest,
    ListVariablesRequest, LogsRequest, PauseRequest, PromoteRequest, RedeployRequest, RemoveDomainRequest,
    RemoveNodeRequest, RemoveNotificationRequest, RemovePersonRequest, ResolveImageRequest, ResumeRequest,
    RevokeTokenRequest, RollbackRequest, ScaleRequest, SetAcmeRequest, SetMaintenanceRequest,
    SetPersonRequest, SetSettingsRequest, SetVariablesRequest, StatusRequest, TestNotificationRequest,
    UncordonNodeRequest, VerifyDomainRequest, WatchDeploymentRequest, WhoAmIRequest,
};
use temps_wire::token::ApiToken;
use tonic::{Response, Status};

use super::cluster::Cluster;
use crate::operations::ROLES;

/// Asks for an operation with a request that is as empty as can be.
pub(super) async fn ask(api: &mut Api, operation: &str) -> Result<(), Status> {
    fn answered<T>(answer: Result<Response<T>, Status>) -> Result<(), Status> {
        answer.map(|_| ())
    }
    match operation {
        "who_am_i" => answered(api.who_am_i(WhoAmIRequest {}).await),
        "list_deployments" => answered(api.list_deployments(ListDeploymentsRequest::default()).await),
        "get_deployment" => answered(api.get_deployment(GetDeploymentRequest::default()).await),
        "get_metrics" => answered(api.get_metrics(GetMetricsRequest::default()).await),
        "get_history" => answered(api.get_history(GetHistoryRequest::default()).await),
        "preview_deployment" => answered(api.preview_deployment(DeployRequest::default()).await),
        "watch_deployment" => answered(api.watch_deployment(WatchDeploymentRequest::default()).await),
        "build_log" => answered(api.build_log(BuildLogRequest::default()).await),
        "status" => answered(api.status(StatusRequest::default()).await),
        "logs" => answered(api.logs(LogsRequest::default()).await),
        "list_variables" => answered(api.list_variables(ListVariablesRequest::default()).await),
        "list_projects" => answered(api.list_projects(ListProjectsRequest {}).await),
        "list_nodes" => answered(api.list_nodes(ListNodesRequest {}).await),
        "cluster_status" => answered(api.cluster_status(ClusterStatusRequest {}).await),
        "has_bundle" => answered(api.has_bundle(HasBundleRequest::default()).await),
        "put_bundle" => answered(api.put_bundle(futures_util::stream::iter([BundleChunk::default()])).await),
        "resolve_image" => answered(api.resolve_image(ResolveImageRequest::default()).await),
        "deploy" => answered(api.deploy(DeployRequest::default()).await),
        "rollback" => answered(api.rollback(RollbackRequest::default()).await),
        "redeploy" => answered(api.redeploy(RedeployRequest::default()).await),
        "get_settings" => answered(api.get_settings(GetSettingsRequest::default()).await),
        "set_settings" => answered(api.set_settings(SetSettingsRequest::default()).await),
        "cancel" => answered(api.cancel(CancelRequest::default()).await),
        "pause" => answered(api.pause(PauseRequest::default()).await),
        "resume" => answered(api.resume(ResumeRequest::default()).await),
        "promote" => answered(api.promote(PromoteRequest::default()).await),
        "scale" => answered(api.scale(ScaleRequest::default()).await),
        "set_variables" => answered(api.set_variables(SetVariablesRequest::default()).await),
        "create_project" => answered(api.create_project(CreateProjectRequest::default()).await),
        "create_token" => answered(api.create_token(CreateTokenRequest::default()).await),
        "list_tokens" => answered(api.list_tokens(ListTokensRequest {}).await),
        "revoke_token" => answered(api.revoke_token(RevokeTokenRequest::default()).await),
        "add_person" => answered(api.add_person(AddPersonRequest::default()).await),
        "list_people" => answered(api.list_people(ListPeopleRequest {}).await),
        "set_person" => answered(api.set_person(SetPersonRequest::default()).await),
        "remove_person" => answered(api.remove_person(RemovePersonRequest::default()).await),
        "create_setup_code" => answered(api.create_setup_code(CreateSetupCodeRequest::default()).await),
        "list_audit" => answered(api.list_audit(ListAuditRequest::default()).await),
        "create_join_token" => answered(api.create_join_token(CreateJoinTokenRequest::default()).await),
        "get_node" => answered(api.get_node(GetNodeRequest::default()).await),
        "cordon_node" => answered(api.cordon_node(CordonNodeRequest::default()).await),
        "uncordon_node" => answered(api.uncordon_node(UncordonNodeRequest::default()).await),
        "drain_node" => answered(api.drain_node(DrainNodeRequest::default()).await),
        "remove_node" => answered(api.remove_node(RemoveNodeRequest::default()).await),
        "explain_instance" => answered(api.explain_instance(ExplainInstanceRequest::default()).await),
        "set_maintenance" => answered(api.set_maintenance(SetMaintenanceRequest::default()).await),
        "list_domains" => answered(api.list_domains(ListDomainsRequest::default()).await),
        "add_domain" => answered(api.add_domain(AddDomainRequest::default()).await),
        "remove_domain" => answered(api.remove_domain(RemoveDomainRequest::default()).await),
        "verify_domain" => answered(api.verify_domain(VerifyDomainRequest::default()).await),
        "set_acme" => answered(api.set_acme(SetAcmeRequest::default()).await),
        "add_notification" => answered(api.add_notification(AddNotificationRequest::default()).await),
        "list_notifications" => answered(api.list_notifications(ListNotificationsRequest {}).await),
        "test_notification" => answered(api.test_notification(TestNotificationRequest::default()).await),
        "remove_notification" => {
            answered(api.remove_notification(RemoveNotificationRequest::default()).await)
        }
        other => panic!("the operation {other} is not asked for here"),
    }
}

async fn answer(client: &Client, operation: &'static str) -> Result<(), ClientError> {
    client.call(|mut api| async move { ask(&mut api, operation).await.map(Response::new) }).await
}

async fn token(cluster: &Cluster, name: &str, role: Role) -> ApiToken {
    let token = ApiToken::random(cluster.admin.fingerprint());
    cluster.grant(name, &token, role).await;
    token
}

#[tokio::test]
async fn every_operation_asks_for_its_role() {
    let cluster = Cluster::start(1).await;
    for role in [Role::Viewer, Role::Deployer, Role::Admin] {
        let name = format!("a-{}", role.word());
        let client = cluster.client_with(&token(&cluster, &name, role).await);
        for (operation, least) in ROLES {
            let answer = answer(&client, operation).await;
            let forbidden = matches!(&answer, Err(ClientError::Forbidden { .. }));
            assert_eq!(forbidden, role < *least, "{role:?} asks for {operation}: {answer:?}");
            assert!(!matches!(answer, Err(ClientError::Unauthenticated { .. })), "{operation}");
        }
    }
}

#[tokio::test]
async fn nobody_without_a_token_of_this_cluster_is_answered() {
    let cluster = Cluster::start(1).await;
    let unknown = cluster.client_with(&ApiToken::random(cluster.admin.fingerprint()));
    for (operation, _) in ROLES {
        let answer = answer(&unknown, operation).await;
        assert!(matches!(answer, Err(ClientError::Unauthenticated { .. })), "{operation}: {answer:?}");
    }
    let other = NodeIdentity::found("other", temps_core::model::NodeId(1)).unwrap();
    let foreign = cluster.client_with(&ApiToken::random(other.ca_fingerprint().unwrap()));
    let answer = answer(&foreign, "who_am_i").await;
    assert!(matches!(answer, Err(ClientError::Unauthenticated { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_refusal_says_who_is_what_and_what_is_needed() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client_with(&token(&cluster, "ci", Role::Viewer).await);
    let why = answer(&client, "deploy").await.unwrap_err().to_string();
    assert_eq!(why, "token \"ci\" is a viewer; deploying needs a deployer");
}

#[tokio::test]
async fn values_of_variables_need_a_deployer() {
    let cluster = Cluster::start(1).await;
    let set = [("KEY".to_owned(), temps_core::model::Opaque("CANARY".to_owned()))].into();
    cluster
        .write(Command::SetVariables {
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            set,
            remove: Vec::new(),
        })
        .await;
    let list = async |role: Role, values: bool| {
        let client = cluster.client_with(&token(&cluster, &format!("t{}{values}", role as u8), role).await);
        client
            .call(|mut api| async move {
                let request = ListVariablesRequest {
                    project: "shop".to_owned(),
                    environment: "production".to_owned(),
                    values,
                };
                api.list_variables(request).await
            })
            .await
            .map(|answer| answer.variables["KEY"].clone())
    };
    assert_eq!(list(Role::Viewer, false).await, Ok(String::new()));
    assert!(matches!(list(Role::Viewer, true).await, Err(ClientError::Forbidden { .. })));
    assert_eq!(list(Role::Deployer, true).await, Ok("CANARY".to_owned()));
}
