//! Every operation, by every role, for everything, for the right project and for another: exactly the expected
//! answer.

use futures_util::StreamExt;
use temps_core::command::{Action, Command};
use temps_core::model::{DeploymentId, Grant, NodeId, ReleaseId, Role};
use temps_ledger::Ledger;
use temps_wire::client::{Api, Client, ClientError};
use temps_wire::proto::{
    AddDomainRequest, BuildLogRequest, BundleChunk, CancelRequest, CreateProjectRequest, DeployRequest,
    ExplainInstanceRequest, GetDeploymentRequest, GetHistoryRequest, GetMetricsRequest, GetSettingsRequest,
    HasBundleRequest, ListDeploymentsRequest, ListDomainsRequest, ListNodesRequest, ListProjectsRequest,
    ListVariablesRequest, LogsRequest, PauseRequest, PromoteRequest, RedeployRequest, RemoveDomainRequest,
    ResolveImageRequest, ResumeRequest, RollbackRequest, ScaleRequest, SetMaintenanceRequest,
    SetSettingsRequest, SetVariablesRequest, StatusRequest, VerifyDomainRequest, WatchDeploymentRequest,
    WhoAmIRequest,
};
use temps_wire::token::ApiToken;
use tonic::{Code, Response, Status};

use super::cluster::{Cluster, deploy, deploy_request, within};
use crate::operations::{ROLES, SCOPES};

/// What a token gets to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It may do it; whether it can be done is another question.
    Let,
    /// It is told that it may not.
    Forbidden,
    /// As if it were not there.
    Missing,
}

/// The two projects, with a deployment, an instance and a domain each.
struct Stage {
    cluster: Cluster,
    shop: Things,
    blog: Things,
}

#[derive(Clone, Copy)]
struct Things {
    project: &'static str,
    deployment: u64,
    instance: u64,
    domain: &'static str,
}

impl Stage {
    async fn new() -> Self {
        let cluster = Cluster::start(1).await;
        let client = cluster.client();
        let number = deploy(&client, "v1").await;
        let request = DeployRequest { project: "blog".to_owned(), ..deploy_request("v1") };
        let other = super::cluster::send(&client, request).await.unwrap();
        for (number, release) in [(number, 1), (other, 2)] {
            let deployment = DeploymentId(number);
            let environment = cluster.log.state().deployments[&deployment].environment;
            cluster.plan(vec![Action::Begin { deployment }]).await;
            cluster
                .plan(vec![Action::Start {
                    environment,
                    deployment: Some(deployment),
                    release: ReleaseId(release),
                    process: "web".to_owned(),
                    slot: 0,
                    node: NodeId(1),
                    why: None,
                }])
                .await;
        }
        let shop = Things { project: "shop", deployment: number, instance: 1, domain: "www.shop.example" };
        let blog = Things { project: "blog", deployment: other, instance: 2, domain: "www.blog.example" };
        let stage = Self { cluster, shop, blog };
        stage.name(shop).await;
        stage.name(blog).await;
        stage
    }

    /// Gives a project its domain, where somebody took it.
    async fn name(&self, Things { project, domain, .. }: Things) {
        let (project, environment) = (project.to_owned(), "production".to_owned());
        self.cluster.write(Command::AddDomain { project, environment, name: domain.to_owned() }).await;
    }

    async fn client(&self, name: &str, grant: impl Into<Grant>) -> Client {
        let token = ApiToken::random(self.cluster.admin.fingerprint());
        self.cluster.grant(name, &token, grant).await;
        self.cluster.client_with(&token)
    }
}

/// Asks for an operation about these things, so that nothing is missing but perhaps the right.
async fn ask(api: &mut Api, operation: &str, about: Things) -> Result<(), Status> {
    fn answered<T>(answer: Result<Response<T>, Status>) -> Result<(), Status> {
        answer.map(|_| ())
    }
    let Things { project, deployment, instance, domain } = about;
    let (number, name) = (deployment, domain.to_owned());
    let (project, environment) = (project.to_owned(), "production".to_owned());
    match operation {
        "get_deployment" => answered(api.get_deployment(GetDeploymentRequest { number }).await),
        "get_metrics" => answered(api.get_metrics(GetMetricsRequest { number }).await),
        "watch_deployment" => {
            answered(api.watch_deployment(WatchDeploymentRequest { number, after: None }).await)
        }
        "build_log" => answered(api.build_log(BuildLogRequest { deployment, ..Default::default() }).await),
        "cancel" => answered(api.cancel(CancelRequest { deployment }).await),
        "pause" => answered(api.pause(PauseRequest { deployment }).await),
        "resume" => answered(api.resume(ResumeRequest { deployment }).await),
        "promote" => answered(api.promote(PromoteRequest { deployment, all: false }).await),
        "explain_instance" => answered(api.explain_instance(ExplainInstanceRequest { instance }).await),
        "remove_domain" => answered(api.remove_domain(RemoveDomainRequest { name }).await),
        // At a port at which nobody can be asked.
        "verify_domain" => answered(api.verify_domain(VerifyDomainRequest { name, port: 70_000 }).await),
        "preview_deployment" => {
            answered(api.preview_deployment(DeployRequest { project, ..deploy_request("v2") }).await)
        }
        "deploy" => answered(api.deploy(DeployRequest { project, ..deploy_request("v2") }).await),
        "logs" => answered(api.logs(LogsRequest { project, environment, ..Default::default() }).await),
        "get_history" => {
            answered(api.get_history(GetHistoryRequest { project, environment, ..Default::default() }).await)
        }
        "list_variables" => {
            let values = false;
            answered(api.list_variables(ListVariablesRequest { project, environment, values }).await)
        }
        "rollback" => answered(api.rollback(RollbackRequest { project, environment, to: Some(99) }).await),
        "scale" => answered(api.scale(ScaleRequest { project, environment, instances: [].into() }).await),
        "set_variables" => {
            let request = SetVariablesRequest { project, environment, ..Default::default() };
            answered(api.set_variables(request).await)
        }
        "redeploy" => answered(api.redeploy(RedeployRequest { deployment }).await),
        "get_settings" => answered(api.get_settings(GetSettingsRequest { project, environment }).await),
        "set_settings" => {
            let request = SetSettingsRequest { project, environment, ..Default::default() };
            answered(api.set_settings(request).await)
        }
        "create_project" => answered(api.create_project(CreateProjectRequest { name: project }).await),
        "set_maintenance" => {
            let request = SetMaintenanceRequest { project, environment, maintenance: None };
            answered(api.set_maintenance(request).await)
        }
        "add_domain" => {
            let request =
                AddDomainRequest { project, environment, name: "x y".to_owned(), ..Default::default() };
            answered(api.add_domain(request).await)
        }
        "who_am_i" => answered(api.who_am_i(WhoAmIRequest {}).await),
        "has_bundle" => answered(api.has_bundle(HasBundleRequest::default()).await),
        "put_bundle" => answered(api.put_bundle(futures_util::stream::iter([BundleChunk::default()])).await),
        "resolve_image" => answered(api.resolve_image(ResolveImageRequest::default()).await),
        "list_deployments" => {
            answered(api.list_deployments(ListDeploymentsRequest { project, ..Default::default() }).await)
        }
        "status" => answered(api.status(StatusRequest { project, ..Default::default() }).await),
        "list_projects" => answered(api.list_projects(ListProjectsRequest {}).await),
        "list_domains" => {
            answered(api.list_domains(ListDomainsRequest { project, ..Default::default() }).await)
        }
        // What is about the cluster is about no project: there is nothing more to say.
        other => super::roles::ask(api, other).await,
    }
}

async fn heard(client: &Client, operation: &'static str, about: Things, missing: &str) -> Heard {
    let answer =
        client.call(|mut api| async move { ask(&mut api, operation, about).await.map(Response::new) });
    match answer.await {
        Err(ClientError::Forbidden { .. }) => Heard::Forbidden,
        Err(ClientError::NotFound { why }) if why == missing => Heard::Missing,
        Err(ClientError::Unauthenticated { why }) => unreachable!("{operation}: {why}"),
        _ => Heard::Let,
    }
}

/// The word for what an operation is about, from the table of operations.
fn scope(operation: &str) -> &'static str {
    let found = SCOPES.iter().find(|(name, _)| *name == operation).unwrap().1;
    ["Anywhere", "Listing", "Cluster", "Project", "Deployment", "Instance", "Domain"]
        .into_iter()
        .find(|word| found.contains(word))
        .unwrap_or_else(|| panic!("{operation} is about {found}"))
}

/// The text for what is not there.
fn missing(operation: &str, about: Things) -> String {
    match scope(operation) {
        "Deployment" => format!("there is no deployment #{}", about.deployment),
        "Instance" => format!("there is no instance i{}", about.instance),
        "Domain" => format!("there is no domain {:?}", about.domain),
        _ => format!("there is no project {:?}", about.project),
    }
}

#[tokio::test]
async fn every_operation_by_every_grant_gets_exactly_its_answer() {
    let stage = Stage::new().await;
    for role in [Role::Viewer, Role::Deployer, Role::Admin] {
        let everything = stage.client(&format!("all-{}", role.word()), role).await;
        let shop = stage.client(&format!("shop-{}", role.word()), within("shop", role)).await;
        for (operation, least) in ROLES {
            let enough = if role >= *least { Heard::Let } else { Heard::Forbidden };
            let outside = match scope(operation) {
                "Anywhere" => enough,
                // Nothing is asked of a list as a whole; asked for another project it has none.
                "Listing" if ["list_projects", "list_domains", "list_nodes"].contains(operation) => enough,
                "Listing" | "Deployment" | "Instance" | "Domain" => Heard::Missing,
                "Project" if *least == Role::Viewer => Heard::Missing,
                "Project" | "Cluster" => Heard::Forbidden,
                other => unreachable!("{other}"),
            };
            let inside = if scope(operation) == "Cluster" { Heard::Forbidden } else { enough };
            for (client, about, expected) in [
                (&everything, stage.shop, enough),
                (&everything, stage.blog, enough),
                (&shop, stage.shop, inside),
                (&shop, stage.blog, outside),
            ] {
                stage.name(about).await;
                let missing = missing(operation, about);
                let heard = heard(client, operation, about, &missing).await;
                let (who, what) = (role.word(), about.project);
                assert_eq!(heard, expected, "{who} of {what}: {operation} (needs {least:?})");
            }
        }
    }
}

/// What is hidden and what is not there get the same answer, to the letter.
#[tokio::test]
async fn what_is_hidden_cannot_be_told_from_what_is_missing() {
    let stage = Stage::new().await;
    let nothing = Things { project: "nope", deployment: 77, instance: 77, domain: "www.nope.example" };
    for role in [Role::Viewer, Role::Deployer, Role::Admin] {
        let client = stage.client(&format!("shop-{}", role.word()), within("shop", role)).await;
        for (operation, _) in ROLES {
            let mut answers = Vec::new();
            for about in [stage.blog, nothing] {
                let call = client
                    .call(|mut api| async move { ask(&mut api, operation, about).await.map(Response::new) });
                let names = [
                    about.project.to_owned(),
                    format!("#{}", about.deployment),
                    format!("i{}", about.instance),
                    about.domain.to_owned(),
                ];
                let told = format!("{:?}", call.await);
                answers.push(names.iter().rev().fold(told, |text, name| text.replace(name, "_")));
            }
            assert_eq!(answers[0], answers[1], "{role:?}: {operation}");
        }
    }
}

#[tokio::test]
async fn lists_show_what_one_sees() {
    let stage = Stage::new().await;
    let client = stage.client("viewer", within("shop", Role::Viewer)).await;
    let projects = client.call(|mut api| async move { api.list_projects(ListProjectsRequest {}).await });
    assert_eq!(projects.await.unwrap().names, ["shop"]);
    let all = ListDeploymentsRequest::default;
    let deployments = client.call(|mut api| async move { api.list_deployments(all()).await }).await.unwrap();
    assert!(!deployments.deployments.is_empty());
    assert!(deployments.deployments.iter().all(|d| d.project == "shop"), "{deployments:?}");
    let status = client.call(|mut api| async move { api.status(StatusRequest::default()).await });
    let status = status.await.unwrap();
    assert_eq!(status.environments.iter().map(|e| e.project.as_str()).collect::<Vec<_>>(), ["shop"]);
    let domains = client.call(|mut api| async move { api.list_domains(ListDomainsRequest::default()).await });
    let domains = domains.await.unwrap().domains;
    assert!(!domains.is_empty() && domains.iter().all(|d| d.project == "shop"), "{domains:?}");
    let nodes = client.call(|mut api| async move { api.list_nodes(ListNodesRequest {}).await });
    let node = &nodes.await.unwrap().nodes[0];
    assert_eq!((node.name.as_str(), node.status.as_str()), ("node-1", "up"), "deploying has to know them");
    assert_eq!((node.control.as_str(), node.instances, node.leader), ("", 0, false));
    let who = client.call(|mut api| async move { api.who_am_i(WhoAmIRequest {}).await }).await.unwrap();
    assert_eq!(
        (who.kind.as_str(), who.role.as_str(), who.projects["shop"].as_str()),
        ("token", "", "viewer")
    );
}

#[tokio::test]
async fn a_refusal_says_where_one_may_do_what() {
    let stage = Stage::new().await;
    let client = stage.client("ci", within("shop", Role::Deployer)).await;
    let said = async |operation: &'static str, about: Things| {
        let call =
            client.call(|mut api| async move { ask(&mut api, operation, about).await.map(Response::new) });
        call.await.unwrap_err().to_string()
    };
    assert_eq!(
        said("deploy", stage.blog).await,
        "token \"ci\" is deployer in shop; deploying in project \"blog\" needs a deployer there"
    );
    assert_eq!(
        said("cordon_node", stage.shop).await,
        "token \"ci\" is deployer in shop; cordoning a node needs an admin of the whole cluster"
    );
    let viewer = stage.client("eye", within("shop", Role::Viewer)).await;
    let call =
        viewer.call(|mut api| async move { ask(&mut api, "cancel", stage.shop).await.map(Response::new) });
    let why = call.await.unwrap_err().to_string();
    assert_eq!(why, "token \"eye\" is a viewer there; cancelling needs a deployer");
}

#[tokio::test]
async fn a_project_that_is_not_there_yet_can_be_granted() {
    let stage = Stage::new().await;
    let client = stage.client("ci", within("new", Role::Deployer)).await;
    let request = DeployRequest { project: "new".to_owned(), ..deploy_request("v1") };
    super::cluster::send(&client, request).await.unwrap();
}

/// Whoever follows something is cut off with the token.
#[tokio::test]
async fn a_stream_ends_with_the_right_to_it() {
    let stage = Stage::new().await;
    let client = stage.client("eye", within("shop", Role::Viewer)).await;
    let number = stage.shop.deployment;
    let events = client.call(|mut api| async move {
        api.watch_deployment(WatchDeploymentRequest { number, after: None }).await
    });
    let mut events = events.await.unwrap();
    assert!(events.message().await.unwrap().is_some());
    let id = stage.cluster.log.state().tokens.values().find(|token| token.name == "eye").unwrap().id;
    let revoke = temps_core::command::Access::RevokeToken { token: id };
    stage.cluster.write(Command::Access(revoke)).await;
    let rest: Vec<_> = events.by_ref().collect().await;
    let last = rest.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.code(), Code::Unauthenticated, "{last}");
}
