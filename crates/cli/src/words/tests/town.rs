//! A small cluster over real TLS and gRPC: it writes down what it is asked and answers from a script.

pub(super) mod access;
mod script;
mod settings;

use std::sync::{Arc, Mutex};

use futures_util::stream::{self, BoxStream, StreamExt};
use sha2::{Digest, Sha256};
use temps_core::model::NodeId;
use temps_wire::identity::NodeIdentity;
use temps_wire::proto::add_notification_request::Receiver;
use temps_wire::proto::temps_server::{Temps, TempsServer};
use temps_wire::proto::{
    Accepted, Acme, AddDomainRequest, AddNotificationRequest, AddNotificationResponse, AddPersonRequest,
    BuildLogRequest, BundleChunk, CancelRequest, ClusterStatusRequest, ClusterStatusResponse,
    CordonNodeRequest, CreateJoinTokenRequest, CreateJoinTokenResponse, CreateProjectRequest,
    CreateProjectResponse, CreateSetupCodeRequest, CreateTokenRequest, CreateTokenResponse, DeployRequest,
    Deployment, DeploymentDetail, DeploymentMetrics, DeploymentPreview, Domain, DomainChanged,
    DrainNodeRequest, Event, ExplainInstanceRequest, GetDeploymentRequest, GetHistoryRequest,
    GetHistoryResponse, GetMetricsRequest, GetNodeRequest, GetSettingsRequest, GetSettingsResponse,
    HasBundleRequest, HasBundleResponse, InstanceStory, ListAuditRequest, ListAuditResponse,
    ListDeploymentsRequest, ListDeploymentsResponse, ListDomainsRequest, ListDomainsResponse,
    ListNodesRequest, ListNodesResponse, ListNotificationsRequest, ListNotificationsResponse,
    ListPeopleRequest, ListPeopleResponse, ListProjectsRequest, ListProjectsResponse, ListTokensRequest,
    ListTokensResponse, ListVariablesRequest, ListVariablesResponse, LogLine, LogsRequest, NodeChanged,
    NodeDetail, PauseRequest, PeopleChanged, PersonCode, PromoteRequest, PutBundleResponse, Reached,
    RedeployRequest, RemoveDomainRequest, RemoveNodeRequest, RemoveNotificationRequest,
    RemoveNotificationResponse, RemovePersonRequest, ResolveImageRequest, ResolveImageResponse,
    ResumeRequest, RevokeTokenRequest, RollbackRequest, ScaleRequest, ScaleResponse, SetAcmeRequest,
    SetMaintenanceRequest, SetMaintenanceResponse, SetPersonRequest, SetSettingsRequest, SetSettingsResponse,
    SetVariablesRequest, SetVariablesResponse, StatusRequest, StatusResponse, TestNotificationRequest,
    TestNotificationResponse, UncordonNodeRequest, VerifyDomainRequest, VerifyDomainResponse,
    WatchDeploymentRequest, WhoAmIRequest, WhoAmIResponse,
};
use temps_wire::serve::serve;
use temps_wire::token::ApiToken;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

pub(super) use script::Town;

/// A town, its endpoints and the token that opens it.
pub(super) struct Running {
    pub(super) town: Arc<Mutex<Town>>,
    pub(super) endpoints: Vec<String>,
    pub(super) token: String,
}

/// Starts a town of `nodes` nodes.
pub(super) async fn start(nodes: usize) -> Running {
    let identity = NodeIdentity::found("test", NodeId(1)).unwrap();
    let token = ApiToken::random(identity.ca_fingerprint().unwrap()).reveal();
    let town = Arc::new(Mutex::new(Town { token: token.clone(), ..Town::default() }));
    let mut endpoints = Vec::new();
    for _ in 0..nodes {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        endpoints.push(listener.local_addr().unwrap().to_string());
        let routes = Routes::new(TempsServer::new(Node(Arc::clone(&town))));
        let identity = identity.clone();
        let end = std::future::pending();
        tokio::spawn(async move { serve(listener, &identity, Arc::default(), routes, end).await });
    }
    Running { town, endpoints, token }
}

struct Node(Arc<Mutex<Town>>);

impl Node {
    /// The town, for whoever shows its token.
    fn enter<T>(&self, request: &Request<T>) -> Result<std::sync::MutexGuard<'_, Town>, Status> {
        let town = self.0.lock().unwrap();
        let expected = format!("Bearer {}", town.token);
        let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if shown == Some(expected.as_str()) {
            Ok(town)
        } else {
            Err(Status::unauthenticated("the token is unknown"))
        }
    }

    /// The same, for a change: it is written down, or refused where the script says so.
    fn change<T>(
        &self,
        what: &'static str,
        request: &Request<T>,
    ) -> Result<std::sync::MutexGuard<'_, Town>, Status> {
        let mut town = self.enter(request)?;
        let key = request.metadata().get("temps-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
        town.changes.push((what, key.to_owned()));
        if town.refusals.is_empty() { Ok(town) } else { Err(town.refusals.remove(0)) }
    }

    fn accepted(town: &Town) -> Result<Response<Accepted>, Status> {
        let deployment = town.detail.deployment.as_ref().map_or(0, |d| d.number);
        Ok(Response::new(Accepted { deployment, no_change: town.no_change, covered: town.covered.clone() }))
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Temps for Node {
    type WatchDeploymentStream = BoxStream<'static, Result<Event, Status>>;
    type LogsStream = BoxStream<'static, Result<LogLine, Status>>;
    type BuildLogStream = BoxStream<'static, Result<LogLine, Status>>;

    async fn resolve_image(&self, request: Request<ResolveImageRequest>) -> Answer<ResolveImageResponse> {
        let town = self.enter(&request)?;
        let name = &request.get_ref().reference;
        let found = town.images.get(name).cloned();
        found.map(Response::new).ok_or_else(|| Status::not_found(format!("no node has an image {name}")))
    }

    async fn build_log(&self, request: Request<BuildLogRequest>) -> Answer<Self::BuildLogStream> {
        let mut town = self.enter(&request)?;
        town.build_asked.push(*request.get_ref());
        if town.build_asked.len() <= town.build_begins_after {
            return Err(Status::not_found("the build has not begun"));
        }
        let tail = request.get_ref().tail as usize;
        let skip = if tail == 0 { 0 } else { town.build_lines.len().saturating_sub(tail) };
        let mut lines: Vec<Result<LogLine, Status>> =
            town.build_lines.iter().skip(skip).cloned().map(Ok).collect();
        if town.build_breaks.is_empty() {
            // The build ends with its log, and the deployment goes on.
            town.held_after = None;
        } else {
            lines.truncate(town.build_breaks.remove(0));
            lines.push(Err(Status::unavailable("this node is closing")));
        }
        Ok(Response::new(stream::iter(lines).boxed()))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Answer<WhoAmIResponse> {
        drop(self.enter(&request)?);
        Ok(Response::new(WhoAmIResponse {
            name: "ada".to_owned(),
            role: "admin".to_owned(),
            node: "n1".to_owned(),
            ..WhoAmIResponse::default()
        }))
    }

    async fn put_bundle(&self, request: Request<Streaming<BundleChunk>>) -> Answer<PutBundleResponse> {
        drop(self.change("put_bundle", &request)?);
        let mut chunks = request.into_inner();
        let (mut digest, mut bytes, mut hash, mut size) = (String::new(), 0, Sha256::new(), 0);
        while let Some(chunk) = chunks.message().await? {
            if digest.is_empty() {
                (digest, bytes) = (chunk.digest.clone(), chunk.bytes);
            }
            assert!(chunk.data.len() <= 256 * 1024);
            hash.update(&chunk.data);
            size += chunk.data.len() as u64;
        }
        if (hex::encode(hash.finalize()), size) != (digest.clone(), bytes) {
            return Err(Status::invalid_argument("the bundle is damaged"));
        }
        self.0.lock().unwrap().bundles.insert(digest);
        Ok(Response::new(PutBundleResponse { nodes: vec!["n1".to_owned(), "n2".to_owned()] }))
    }

    async fn has_bundle(&self, request: Request<HasBundleRequest>) -> Answer<HasBundleResponse> {
        let town = self.enter(&request)?;
        Ok(Response::new(HasBundleResponse { stored: town.bundles.contains(&request.get_ref().digest) }))
    }

    async fn deploy(&self, request: Request<DeployRequest>) -> Answer<Accepted> {
        let mut town = self.change("deploy", &request)?;
        town.deploys.push(request.into_inner());
        Self::accepted(&town)
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Answer<Accepted> {
        let mut town = self.change("rollback", &request)?;
        town.rollbacks.push(request.into_inner());
        Self::accepted(&town)
    }

    async fn redeploy(&self, request: Request<RedeployRequest>) -> Answer<Accepted> {
        self.deploy_again(&request)
    }

    async fn set_settings(&self, request: Request<SetSettingsRequest>) -> Answer<SetSettingsResponse> {
        self.note_settings(request)
    }

    async fn get_settings(&self, request: Request<GetSettingsRequest>) -> Answer<GetSettingsResponse> {
        self.tell_settings(&request)
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Answer<Accepted> {
        Self::accepted(&*self.change("cancel", &request)?)
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Answer<Accepted> {
        Self::accepted(&*self.change("pause", &request)?)
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Answer<Accepted> {
        Self::accepted(&*self.change("resume", &request)?)
    }

    async fn promote(&self, request: Request<PromoteRequest>) -> Answer<Accepted> {
        let mut town = self.change("promote", &request)?;
        town.promotions.push(request.into_inner());
        Self::accepted(&town)
    }

    async fn list_deployments(
        &self,
        request: Request<ListDeploymentsRequest>,
    ) -> Answer<ListDeploymentsResponse> {
        let deployments: Vec<Deployment> =
            self.enter(&request)?.detail.deployment.clone().into_iter().collect();
        Ok(Response::new(ListDeploymentsResponse { deployments }))
    }

    async fn get_deployment(&self, request: Request<GetDeploymentRequest>) -> Answer<DeploymentDetail> {
        Ok(Response::new(self.enter(&request)?.detail.clone()))
    }

    async fn get_metrics(&self, request: Request<GetMetricsRequest>) -> Answer<DeploymentMetrics> {
        let deployment = self.enter(&request)?.detail.deployment.clone();
        Ok(Response::new(DeploymentMetrics { deployment, ..DeploymentMetrics::default() }))
    }

    async fn get_history(&self, request: Request<GetHistoryRequest>) -> Answer<GetHistoryResponse> {
        let mut town = self.enter(&request)?;
        town.asked_history.push(request.into_inner());
        Ok(Response::new(town.history.clone()))
    }

    async fn preview_deployment(&self, request: Request<DeployRequest>) -> Answer<DeploymentPreview> {
        let town = self.enter(&request)?;
        town.preview.clone().map(Response::new).ok_or_else(|| Status::unavailable("no quorum"))
    }

    async fn watch_deployment(
        &self,
        request: Request<WatchDeploymentRequest>,
    ) -> Answer<Self::WatchDeploymentStream> {
        let mut town = self.enter(&request)?;
        let after = request.get_ref().after;
        town.watched_after.push(after);
        let left = |e: &Event| {
            after.is_none_or(|after| e.id.is_some_and(|id| (id.index, id.place) > (after.index, after.place)))
        };
        let mut events: Vec<Result<Event, Status>> =
            town.events.iter().filter(|e| left(e)).cloned().map(Ok).collect();
        if !town.breaks.is_empty() {
            events.truncate(town.breaks.remove(0));
            events.push(Err(Status::unavailable("this node is closing")));
            return Ok(Response::new(stream::iter(events).boxed()));
        }
        if let Some(held) = town.held_after {
            let later = events.split_off(held.min(events.len()));
            let town = Arc::clone(&self.0);
            let gate = stream::once(async move {
                while town.lock().unwrap().held_after.is_some() {
                    tokio::task::yield_now().await;
                }
                stream::iter(later)
            });
            return Ok(Response::new(stream::iter(events).chain(gate.flatten()).boxed()));
        }
        let events = stream::iter(events);
        Ok(Response::new(if town.goes_on { events.chain(stream::pending()).boxed() } else { events.boxed() }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        drop(self.enter(&request)?);
        Ok(Response::new(StatusResponse::default()))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        drop(self.enter(&request)?);
        let line = LogLine {
            instance: "i7".to_owned(),
            node: "n2".to_owned(),
            text: b"hello".as_slice().into(),
            ..LogLine::default()
        };
        Ok(Response::new(stream::iter([Ok(line)]).boxed()))
    }

    async fn scale(&self, request: Request<ScaleRequest>) -> Answer<ScaleResponse> {
        self.change("scale", &request)?.scales.push(request.into_inner());
        Ok(Response::new(ScaleResponse {}))
    }

    async fn set_variables(&self, request: Request<SetVariablesRequest>) -> Answer<SetVariablesResponse> {
        let mut town = self.change("set_variables", &request)?;
        let request = request.into_inner();
        town.variables.extend(request.set);
        town.removed.extend(request.remove);
        Ok(Response::new(SetVariablesResponse {}))
    }

    async fn list_variables(&self, request: Request<ListVariablesRequest>) -> Answer<ListVariablesResponse> {
        let town = self.enter(&request)?;
        let show = |(name, value): (&String, &String)| {
            (name.clone(), if request.get_ref().values { value.clone() } else { String::new() })
        };
        Ok(Response::new(ListVariablesResponse { variables: town.variables.iter().map(show).collect() }))
    }

    async fn create_project(&self, request: Request<CreateProjectRequest>) -> Answer<CreateProjectResponse> {
        drop(self.change("create_project", &request)?);
        Ok(Response::new(CreateProjectResponse {}))
    }

    async fn list_projects(&self, request: Request<ListProjectsRequest>) -> Answer<ListProjectsResponse> {
        drop(self.enter(&request)?);
        Ok(Response::new(ListProjectsResponse { names: vec!["my-app".to_owned()] }))
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Answer<ListNodesResponse> {
        Ok(Response::new(ListNodesResponse { nodes: self.enter(&request)?.machines.clone() }))
    }

    async fn cluster_status(&self, request: Request<ClusterStatusRequest>) -> Answer<ClusterStatusResponse> {
        drop(self.enter(&request)?);
        Ok(Response::new(ClusterStatusResponse::default()))
    }

    async fn create_join_token(
        &self,
        request: Request<CreateJoinTokenRequest>,
    ) -> Answer<CreateJoinTokenResponse> {
        drop(self.change("create_join_token", &request)?);
        Ok(Response::new(CreateJoinTokenResponse { token: "tempsjoin1.x.y".to_owned() }))
    }

    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Answer<CreateTokenResponse> {
        self.creates_token(request)
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Answer<ListTokensResponse> {
        self.lists_tokens(&request)
    }

    async fn revoke_token(&self, request: Request<RevokeTokenRequest>) -> Answer<PeopleChanged> {
        self.revokes_token(request)
    }

    async fn add_person(&self, request: Request<AddPersonRequest>) -> Answer<PersonCode> {
        self.adds_person(request)
    }

    async fn list_people(&self, request: Request<ListPeopleRequest>) -> Answer<ListPeopleResponse> {
        self.lists_people(&request)
    }

    async fn set_person(&self, request: Request<SetPersonRequest>) -> Answer<PersonCode> {
        self.sets_person(request)
    }

    async fn remove_person(&self, request: Request<RemovePersonRequest>) -> Answer<PeopleChanged> {
        self.removes_person(request)
    }

    async fn create_setup_code(&self, request: Request<CreateSetupCodeRequest>) -> Answer<PersonCode> {
        self.makes_setup_code(request)
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Answer<ListAuditResponse> {
        self.lists_audit(&request)
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Answer<NodeDetail> {
        let mut town = self.enter(&request)?;
        let detail = if town.left.len() > 1 { town.left.remove(0) } else { town.left[0].clone() };
        Ok(Response::new(detail))
    }

    async fn cordon_node(&self, request: Request<CordonNodeRequest>) -> Answer<NodeChanged> {
        let town = self.change("cordon_node", &request)?;
        Ok(Response::new(NodeChanged { no_change: town.no_change }))
    }

    async fn uncordon_node(&self, request: Request<UncordonNodeRequest>) -> Answer<NodeChanged> {
        let town = self.change("uncordon_node", &request)?;
        Ok(Response::new(NodeChanged { no_change: town.no_change }))
    }

    async fn drain_node(&self, request: Request<DrainNodeRequest>) -> Answer<NodeChanged> {
        let town = self.change("drain_node", &request)?;
        Ok(Response::new(NodeChanged { no_change: town.no_change }))
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Answer<NodeChanged> {
        let mut town = self.change("remove_node", &request)?;
        town.removals.push(request.into_inner());
        Ok(Response::new(NodeChanged { no_change: town.no_change }))
    }

    async fn set_maintenance(
        &self,
        request: Request<SetMaintenanceRequest>,
    ) -> Answer<SetMaintenanceResponse> {
        let mut town = self.change("set_maintenance", &request)?;
        town.maintenance = request.into_inner().maintenance;
        Ok(Response::new(SetMaintenanceResponse { no_change: town.no_change }))
    }

    async fn add_domain(&self, request: Request<AddDomainRequest>) -> Answer<DomainChanged> {
        let mut town = self.change("add_domain", &request)?;
        town.domains.push(request.into_inner());
        Ok(Response::new(DomainChanged { no_change: town.no_change }))
    }

    async fn remove_domain(&self, request: Request<RemoveDomainRequest>) -> Answer<DomainChanged> {
        let mut town = self.change("remove_domain", &request)?;
        town.domains.retain(|domain| domain.name != request.get_ref().name);
        Ok(Response::new(DomainChanged { no_change: false }))
    }

    async fn list_domains(&self, request: Request<ListDomainsRequest>) -> Answer<ListDomainsResponse> {
        let town = self.enter(&request)?;
        let domains = town.domains.iter().map(|added| Domain {
            name: added.name.clone(),
            project: added.project.clone(),
            environment: added.environment.clone(),
            origin: "added".to_owned(),
            certifiable: true,
            ..Domain::default()
        });
        let acme = town.acme.clone().map(|a| (a.directory, a.email));
        let acme = acme.map(|(directory, contact)| Acme { directory, contact, ..Acme::default() });
        Ok(Response::new(ListDomainsResponse { domains: domains.collect(), acme }))
    }

    async fn verify_domain(&self, request: Request<VerifyDomainRequest>) -> Answer<VerifyDomainResponse> {
        drop(self.enter(&request)?);
        let here = |address: &str, problem: &str| Reached {
            address: address.to_owned(),
            here: problem.is_empty(),
            problem: problem.to_owned(),
        };
        let other =
            if request.get_ref().port == 80 { "" } else { "another server answers there (404 Not Found)" };
        let reached = vec![here("192.0.2.1", ""), here("192.0.2.2", other)];
        Ok(Response::new(VerifyDomainResponse { reached, ..VerifyDomainResponse::default() }))
    }

    async fn set_acme(&self, request: Request<SetAcmeRequest>) -> Answer<DomainChanged> {
        let mut town = self.change("set_acme", &request)?;
        town.acme = Some(request.into_inner()).filter(|acme| !acme.directory.is_empty());
        Ok(Response::new(DomainChanged { no_change: false }))
    }

    async fn add_notification(
        &self,
        request: Request<AddNotificationRequest>,
    ) -> Answer<AddNotificationResponse> {
        let mut town = self.change("add_notification", &request)?;
        let asked = request.into_inner();
        let made = match &asked.receiver {
            Some(Receiver::Webhook(webhook)) if webhook.signing_secret.is_empty() => "whsec_MADE".to_owned(),
            _ => String::new(),
        };
        town.notifications.push(asked);
        Ok(Response::new(AddNotificationResponse { signing_secret: made }))
    }

    async fn list_notifications(
        &self,
        request: Request<ListNotificationsRequest>,
    ) -> Answer<ListNotificationsResponse> {
        Ok(Response::new(ListNotificationsResponse { notifications: self.enter(&request)?.listed.clone() }))
    }

    async fn test_notification(
        &self,
        request: Request<TestNotificationRequest>,
    ) -> Answer<TestNotificationResponse> {
        let failure = self.change("test_notification", &request)?.test_fails.clone();
        Ok(Response::new(TestNotificationResponse { delivered: failure.is_empty(), failure }))
    }

    async fn remove_notification(
        &self,
        request: Request<RemoveNotificationRequest>,
    ) -> Answer<RemoveNotificationResponse> {
        let mut town = self.change("remove_notification", &request)?;
        town.notifications.retain(|notification| notification.name != request.get_ref().name);
        Ok(Response::new(RemoveNotificationResponse {}))
    }

    async fn explain_instance(&self, request: Request<ExplainInstanceRequest>) -> Answer<InstanceStory> {
        let town = self.enter(&request)?;
        let story = town.story.clone().filter(|_| request.get_ref().instance == 7);
        story.map(Response::new).ok_or_else(|| Status::not_found("there is no such instance"))
    }
}
