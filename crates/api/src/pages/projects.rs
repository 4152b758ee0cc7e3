//! Projects: all of them, and one environment with what it runs and what can be done with it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use temps_wire::proto::{
    CreateProjectRequest, Deployment, EnvironmentStatus, GetHistoryRequest, GetSettingsRequest,
    GetSettingsResponse, HistoryTraffic, Instance, ListDeploymentsRequest, ListProjectsRequest,
    ListVariablesRequest, Maintenance, RollbackRequest, ScaleRequest, SetMaintenanceRequest,
    SetSettingsRequest, SetVariablesRequest, StatusRequest,
};
use tonic::{Code, Status};

use super::chart::{self, Chart};
use super::frame::Frame;
use super::visitor::{Fields, Posted, Visitor};
use super::{Page, show, words};
use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::operations::Operations;

#[derive(Template)]
#[template(path = "projects.html")]
struct All {
    frame: Frame,
    environments: Vec<EnvironmentStatus>,
    /// Projects of which nothing was deployed yet.
    empty: Vec<String>,
}

#[derive(Template)]
#[template(path = "environment.html")]
struct One {
    frame: Frame,
    e: EnvironmentStatus,
    /// Instances by node.
    map: BTreeMap<String, Vec<Instance>>,
    deployments: Vec<Deployment>,
    variables: Vec<String>,
    settings: GetSettingsResponse,
    /// How far back the charts go, one of [`SPANS`].
    span: u64,
    charts: Vec<Chart>,
    total: HistoryTraffic,
}

/// How far back charts go, with their names; in milliseconds.
const SPANS: [(u64, &str); 4] =
    [(900_000, "15 minutes"), (3_600_000, "hour"), (86_400_000, "day"), (2_592_000_000, "30 days")];

#[derive(Deserialize)]
pub(super) struct Wish {
    since: Option<u64>,
}

impl One {
    fn spans(&self) -> impl Iterator<Item = (u64, &'static str, bool)> {
        SPANS.into_iter().map(|(span, name)| (span, name, span == self.span))
    }

    fn failed(&self) -> u64 {
        chart::failed(&self.total)
    }
}

pub(super) async fn all(visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let status = Operations::status(desk, visitor.caller.clone(), StatusRequest::default()).await?;
    let environments = status.environments;
    let listed = Operations::list_projects(desk, visitor.caller.clone(), ListProjectsRequest {}).await;
    let mut empty = match listed {
        Ok(listed) => listed.names,
        // Without a quorum what runs is worth showing all the same.
        Err(status) if status.code() == Code::Unavailable => Vec::new(),
        Err(status) => return Err(status.into()),
    };
    empty.retain(|name| environments.iter().all(|e| e.project != *name));
    let frame = Frame::new(&visitor, "/").await;
    show(&All { frame, environments, empty })
}

pub(super) async fn one(
    Path((project, environment)): Path<(String, String)>,
    Query(wish): Query<Wish>,
    visitor: Visitor,
) -> Page {
    let desk = &visitor.desk;
    let caller = || visitor.caller.clone();
    let of = StatusRequest { project: project.clone(), environment: environment.clone() };
    let e = Operations::status(desk, caller(), of).await?.environments.into_iter().next();
    let e = e.ok_or_else(|| {
        Status::not_found(format!("there is no environment {environment:?} of {project:?}"))
    })?;
    let of = ListDeploymentsRequest { project: project.clone(), environment: environment.clone(), limit: 20 };
    let deployments = Operations::list_deployments(desk, caller(), of).await?.deployments;
    let span = SPANS.iter().find(|(span, _)| wish.since == Some(*span)).unwrap_or(&SPANS[0]).0;
    let of = GetHistoryRequest {
        project: project.clone(),
        environment: environment.clone(),
        since_ms: span,
        ..GetHistoryRequest::default()
    };
    let history = Operations::get_history(desk, caller(), of).await?;
    let (charts, total) = (Chart::of_environment(&history), history.total.unwrap_or_default());
    let of = GetSettingsRequest { project: project.clone(), environment: environment.clone() };
    let settings = Operations::get_settings(desk, caller(), of).await?;
    let of = ListVariablesRequest { project, environment, values: false };
    let variables = Operations::list_variables(desk, caller(), of).await?.variables.into_keys().collect();
    let mut map = BTreeMap::<String, Vec<Instance>>::new();
    for instance in &e.instances {
        map.entry(instance.node.clone()).or_default().push(instance.clone());
    }
    let frame = Frame::new(&visitor, "/").await;
    show(&One { frame, e, map, deployments, variables, settings, span, charts, total })
}

pub(super) async fn create(State(desk): State<Desk>, posted: Posted) -> Page {
    let asked = CreateProjectRequest { name: posted.fields.get("name").to_owned() };
    Operations::create_project(&desk, posted.visitor.caller, asked).await?;
    Ok(Redirect::to("/").into_response())
}

/// A form of an environment.
pub(super) async fn act(
    State(desk): State<Desk>,
    Path((project, environment, action)): Path<(String, String, String)>,
    posted: Posted,
) -> Page {
    let at = format!("/projects/{project}/{environment}");
    let Posted { visitor, fields } = posted;
    if action == "rollback" {
        let asked = RollbackRequest { project, environment, to: None };
        let accepted = Operations::rollback(&desk, visitor.caller, asked).await?;
        return Ok(Redirect::to(&format!("/deployments/{}", accepted.deployment)).into_response());
    }
    change(&desk, visitor.caller, &action, (project, environment), &fields).await?;
    Ok(Redirect::to(&at).into_response())
}

async fn change(
    desk: &Desk,
    caller: Caller,
    action: &str,
    (project, environment): (String, String),
    fields: &Fields,
) -> Answer<()> {
    match action {
        "scale" => {
            let instances = fields.below("instances.").map(|(process, n)| {
                let n = n
                    .parse()
                    .map_err(|_| Status::invalid_argument(format!("{n:?} is no number of instances")))?;
                Ok::<_, Status>((process.to_owned(), n))
            });
            let instances = instances.collect::<Result<_, _>>()?;
            Operations::scale(desk, caller, ScaleRequest { project, environment, instances }).await?;
        }
        "variables" => {
            let name = fields.get("name").to_owned();
            let mut asked = SetVariablesRequest { project, environment, ..SetVariablesRequest::default() };
            if fields.is_set("remove") {
                asked.remove.push(name);
            } else {
                // Browsers send every end of a line as two characters.
                asked.set.insert(name, fields.exact("value").replace("\r\n", "\n"));
            }
            Operations::set_variables(desk, caller, asked).await?;
        }
        "settings" => {
            let mut asked = SetSettingsRequest { project, environment, ..SetSettingsRequest::default() };
            for (key, value) in fields.below("settings.") {
                // Beside each value stands what the page had shown: what others have set meanwhile stays.
                match value.trim() {
                    value if value == fields.get(&format!("was.{key}")) => {}
                    "" => asked.unset.push(key.to_owned()),
                    value => drop(asked.set.insert(key.to_owned(), value.to_owned())),
                }
            }
            if asked.set.is_empty() && asked.unset.is_empty() {
                return Ok(());
            }
            Operations::set_settings(desk, caller, asked).await?;
        }
        "maintenance" => {
            let maintenance = (!fields.is_set("off"))
                .then(|| Maintenance { message: fields.get("message").to_owned(), retry_after_s: 120 });
            let asked = SetMaintenanceRequest { project, environment, maintenance };
            Operations::set_maintenance(desk, caller, asked).await?;
        }
        other => return Err(Status::not_found(format!("there is no form {other:?}"))),
    }
    Ok(())
}
