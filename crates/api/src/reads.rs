//! What only reads. Where the cluster has no quorum, what helps to repair it is answered from what
//! this node knows, and everything else is refused.

use temps_core::model::{ClusterState, Deployment, DeploymentId, Environment, Role};
use temps_wire::proto::{
    ClusterStatusRequest, ClusterStatusResponse, DeploymentDetail, GetDeploymentRequest, Grant,
    ListDeploymentsRequest, ListDeploymentsResponse, ListNodesRequest, ListNodesResponse,
    ListProjectsRequest, ListProjectsResponse, ListVariablesRequest, ListVariablesResponse, Node,
    StatusRequest, StatusResponse, WhoAmIRequest, WhoAmIResponse,
};
use tonic::Status;

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::permit::Scope;
use crate::views::{self, Views};
use crate::{limits, nodes, people};

/// How many deployments are listed unless asked otherwise, and at most.
const LISTED: u32 = 20;
const LISTED_MAX: u32 = 500;

pub(crate) async fn who_am_i(desk: &Desk, caller: Caller, _: WhoAmIRequest) -> Answer<WhoAmIResponse> {
    let node = desk.name(&desk.ledger.state());
    let Grant { role, projects } = people::grant(&caller.grant);
    Ok(WhoAmIResponse { kind: caller.who.word().to_owned(), name: caller.name, role, projects, node })
}

pub(crate) async fn list_deployments(
    desk: &Desk,
    caller: Caller,
    request: ListDeploymentsRequest,
) -> Answer<ListDeploymentsResponse> {
    let state = desk.fresh().await?;
    let chosen: Vec<_> =
        choose(&state, &caller, &request.project, &request.environment)?.into_iter().map(|e| e.id).collect();
    let limit = match request.limit {
        0 => LISTED,
        limit => limit.min(LISTED_MAX),
    };
    let views = Views::new(&state, desk.ledger.now());
    let of_them = state.deployments.values().rev().filter(|d| chosen.contains(&d.environment));
    let deployments = of_them.take(limit as usize).map(|d| views.deployment(d)).collect();
    Ok(ListDeploymentsResponse { deployments })
}

/// A deployment that is known.
pub(crate) fn deployment(state: &ClusterState, id: DeploymentId) -> Answer<&Deployment> {
    state.deployments.get(&id).ok_or_else(|| Status::not_found(format!("there is no deployment {id}")))
}

pub(crate) async fn get_deployment(
    desk: &Desk,
    _: Caller,
    request: GetDeploymentRequest,
) -> Answer<DeploymentDetail> {
    let state = desk.fresh().await?;
    let id = DeploymentId(request.number);
    let deployment = deployment(&state, id)?;
    let instances = state.instances.values().filter(|i| i.deployment == Some(id));
    let events = state.events.values().filter(|e| e.deployment == Some(id));
    Ok(DeploymentDetail {
        deployment: Some(Views::new(&state, desk.ledger.now()).deployment(deployment)),
        instances: instances.map(|i| views::instance(&state, i)).collect(),
        events: events.map(|e| views::event(&state, e)).collect(),
    })
}

pub(crate) async fn status(desk: &Desk, caller: Caller, request: StatusRequest) -> Answer<StatusResponse> {
    let state = desk.at_hand().await.state;
    let views = Views::new(&state, desk.ledger.now());
    let chosen = choose(&state, &caller, &request.project, &request.environment)?;
    Ok(StatusResponse {
        environments: chosen.into_iter().map(|e| views.environment(e)).collect(),
        nodes: match caller.grant.everywhere() {
            Some(_) => nodes::noteworthy(&state, desk.ledger.leadership().borrow().leader),
            None => Vec::new(),
        },
    })
}

pub(crate) async fn list_variables(
    desk: &Desk,
    caller: Caller,
    request: ListVariablesRequest,
) -> Answer<ListVariablesResponse> {
    if request.values {
        let scope = Scope::Project(&request.project);
        desk.permit(&caller, Role::Deployer, scope, "reading the values of variables")?;
    }
    limits::environment(&request.project, &request.environment)?;
    let state = desk.fresh().await?;
    let environment = find(&state, &request.project, &request.environment)?;
    let shown = |value: &str| if request.values { value.to_owned() } else { String::new() };
    let variables =
        environment.variables.iter().map(|(name, value)| (name.clone(), shown(&value.0))).collect();
    Ok(ListVariablesResponse { variables })
}

pub(crate) async fn list_projects(
    desk: &Desk,
    caller: Caller,
    _: ListProjectsRequest,
) -> Answer<ListProjectsResponse> {
    let state = desk.fresh().await?;
    let mut names: Vec<_> =
        state.projects.values().map(|p| p.name.clone()).filter(|name| caller.sees(name)).collect();
    names.sort();
    Ok(ListProjectsResponse { names })
}

pub(crate) async fn list_nodes(
    desk: &Desk,
    caller: Caller,
    _: ListNodesRequest,
) -> Answer<ListNodesResponse> {
    let state = desk.at_hand().await.state;
    let leader = desk.ledger.leadership().borrow().leader;
    let nodes = state.nodes.values().map(|n| views::node(&state, n, leader));
    let shown = |node: Node| match caller.grant.everywhere() {
        Some(_) => node,
        None => {
            let Node { id, name, status, runtime, .. } = node;
            Node { id, name, status, runtime, ..Node::default() }
        }
    };
    Ok(ListNodesResponse { nodes: nodes.map(shown).collect() })
}

pub(crate) async fn cluster_status(
    desk: &Desk,
    _: Caller,
    _: ClusterStatusRequest,
) -> Answer<ClusterStatusResponse> {
    let at_hand = desk.at_hand().await;
    let state = at_hand.state;
    let leadership = *desk.ledger.leadership().borrow();
    let leader = leadership.leader;
    Ok(ClusterStatusResponse {
        node: desk.name(&state),
        leader: leader.map(|node| node.0),
        term: leadership.term,
        index: state.index,
        nodes: state.nodes.values().map(|n| views::node(&state, n, leader)).collect(),
        state_hash: state.hash(),
        quorum: at_hand.fresh,
    })
}

/// The environments of a project, or of all that the caller sees; all environments, or one.
fn choose<'a>(
    state: &'a ClusterState,
    caller: &Caller,
    project: &str,
    environment: &str,
) -> Answer<Vec<&'a Environment>> {
    limits::environment(project, environment)?;
    if !project.is_empty() && !caller.sees(project) {
        return Err(Status::not_found(format!("there is no project {project:?}")));
    }
    if !project.is_empty() && !environment.is_empty() {
        return find(state, project, environment).map(|found| vec![found]);
    }
    if !project.is_empty() && state.project(project).is_none() {
        return Err(Status::not_found(format!("there is no project {project:?}")));
    }
    let of_project = |e: &&Environment| {
        let of = state.projects.get(&e.project);
        of.is_some_and(|p| caller.sees(&p.name) && (project.is_empty() || p.name == project))
    };
    let named = |e: &&Environment| environment.is_empty() || e.name == environment;
    Ok(state.environments.values().filter(of_project).filter(named).collect())
}

pub(crate) fn find<'a>(state: &'a ClusterState, project: &str, environment: &str) -> Answer<&'a Environment> {
    state.environment(project, environment).ok_or_else(|| {
        Status::not_found(match state.project(project) {
            None => format!("there is no project {project:?}"),
            Some(_) => format!("there is no environment {environment:?} of project {project:?}"),
        })
    })
}
