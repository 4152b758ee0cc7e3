//! Projects: all of them, and one environment with what it runs and what can be done with it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use temps_wire::proto::{
    CreateProjectRequest, Deployment, EnvironmentStatus, GetHistoryRequest, GetSettingsRequest,
    GetSettingsResponse, HistoryMissing, HistoryTraffic, Instance, ListDeploymentsRequest,
    ListProjectsRequest, ListVariablesRequest, Maintenance, RollbackRequest, ScaleRequest,
    SetMaintenanceRequest, SetSettingsRequest, SetVariablesRequest, StatusRequest,
};
use temps_wire::told::failed_in_all;
use tonic::{Code, Status};

use super::chart::Chart;
use super::deployments::told;
use super::frame::Frame;
use super::visitor::{Fields, Posted, Visitor};
use super::{Note, Page, show, words};
use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::operations::Operations;
use crate::{limits, settings};

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
    /// Nodes whose part is not in them.
    missing: Vec<HistoryMissing>,
    note: &'static str,
}

/// Values of variables, for whoever has asked for them by a button: no link and no reload shows them.
#[derive(Template)]
#[template(path = "values.html")]
struct Values {
    frame: Frame,
    project: String,
    environment: String,
    values: BTreeMap<String, String>,
}

/// How many deployments an environment shows.
const LISTED: u32 = 20;

/// After how many seconds clients are asked to try again in a maintenance, as the command line does.
const RETRY_AFTER: u32 = 60;

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

    /// Whether there may be older deployments.
    fn has_older(&self) -> bool {
        self.deployments.len() >= LISTED as usize
    }

    /// Whether there is something to go back to.
    fn goes_back(&self) -> bool {
        self.deployments.iter().any(|d| d.rollback_target)
    }
}

pub(super) async fn all(visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let status = Operations::status(desk, visitor.caller.clone(), StatusRequest::default()).await?;
    let environments = status.environments;
    let mut empty =
        Operations::list_projects(desk, visitor.caller.clone(), ListProjectsRequest {}).await?.names;
    empty.retain(|name| environments.iter().all(|e| e.project != *name));
    let frame = Frame::new(&visitor, "/").await;
    show(&All { frame, environments, empty })
}

pub(super) async fn one(
    Path((project, environment)): Path<(String, String)>,
    Query(wish): Query<Wish>,
    Query(note): Query<Note>,
    visitor: Visitor,
) -> Page {
    let desk = &visitor.desk;
    let caller = || visitor.caller.clone();
    let note = note.text();
    let of = StatusRequest { project: project.clone(), environment: environment.clone() };
    let e = match Operations::status(desk, caller(), of).await {
        Ok(status) => status.environments.into_iter().next(),
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(status.into()),
    };
    let Some(e) = e else {
        return not_yet(&visitor, project, environment, note).await;
    };
    let of =
        ListDeploymentsRequest { project: project.clone(), environment: environment.clone(), limit: LISTED };
    let deployments = Operations::list_deployments(desk, caller(), of).await?.deployments;
    let span = SPANS.iter().find(|(span, _)| wish.since == Some(*span)).unwrap_or(&SPANS[0]).0;
    let of = GetHistoryRequest {
        project: project.clone(),
        environment: environment.clone(),
        since_ms: span,
        ..GetHistoryRequest::default()
    };
    let history = Operations::get_history(desk, caller(), of).await?;
    let charts = Chart::of_environment(&history);
    let (total, missing) = (history.total.unwrap_or_default(), history.missing);
    let of = GetSettingsRequest { project: project.clone(), environment: environment.clone() };
    let settings = Operations::get_settings(desk, caller(), of).await?;
    let of = ListVariablesRequest { project, environment, values: false };
    let variables = Operations::list_variables(desk, caller(), of).await?.variables.into_keys().collect();
    let mut map = BTreeMap::<String, Vec<Instance>>::new();
    for instance in &e.instances {
        map.entry(instance.node.clone()).or_default().push(instance.clone());
    }
    let frame = Frame::new(&visitor, "/").await;
    show(&One { frame, e, map, deployments, variables, settings, span, charts, total, missing, note })
}

/// An environment of a project that comes to be with the first variable, setting or deployment.
async fn not_yet(visitor: &Visitor, project: String, environment: String, note: &'static str) -> Page {
    let asked = ListProjectsRequest {};
    let known = Operations::list_projects(&visitor.desk, visitor.caller.clone(), asked).await?.names;
    if !known.contains(&project) {
        return Err(Status::not_found(format!("there is no project {project:?}")).into());
    }
    limits::environment(&project, &environment)?;
    show(&One {
        frame: Frame::new(visitor, "/").await,
        e: EnvironmentStatus { project, environment, ..EnvironmentStatus::default() },
        map: BTreeMap::new(),
        deployments: Vec::new(),
        variables: Vec::new(),
        settings: settings::none(),
        span: SPANS[0].0,
        charts: Vec::new(),
        total: HistoryTraffic::default(),
        missing: Vec::new(),
        note,
    })
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
        return Ok(told(&Operations::rollback(&desk, visitor.caller, asked).await?));
    }
    if action == "values" {
        let asked =
            ListVariablesRequest { project: project.clone(), environment: environment.clone(), values: true };
        let listed = Operations::list_variables(&desk, visitor.caller.clone(), asked).await?;
        let values = listed.variables.into_iter().collect();
        let frame = Frame::new(&visitor, "/").await;
        return show(&Values { frame, project, environment, values });
    }
    let no_change = change(&desk, visitor.caller, &action, (project, environment), &fields).await?;
    Ok(Redirect::to(&if no_change { Note::unchanged(&at) } else { at }).into_response())
}

/// Whether it was so already.
async fn change(
    desk: &Desk,
    caller: Caller,
    action: &str,
    (project, environment): (String, String),
    fields: &Fields,
) -> Answer<bool> {
    match action {
        "scale" => {
            let numbers = changed(fields, "instances.").map(|(process, n)| {
                let n = n
                    .parse()
                    .map_err(|_| Status::invalid_argument(format!("{n:?} is no number of instances")))?;
                Ok::<_, Status>((process.to_owned(), n))
            });
            let instances = numbers.collect::<Result<BTreeMap<_, _>, _>>()?;
            if instances.is_empty() {
                return Ok(true);
            }
            let instances = instances.into_iter().collect();
            Operations::scale(desk, caller, ScaleRequest { project, environment, instances }).await?;
            Ok(false)
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
            Ok(false)
        }
        "settings" => {
            let mut asked = SetSettingsRequest { project, environment, ..SetSettingsRequest::default() };
            for (key, value) in changed(fields, "settings.") {
                match value {
                    "" => asked.unset.push(key.to_owned()),
                    value => drop(asked.set.insert(key.to_owned(), value.to_owned())),
                }
            }
            if asked.set.is_empty() && asked.unset.is_empty() {
                return Ok(true);
            }
            Ok(Operations::set_settings(desk, caller, asked).await?.no_change)
        }
        "maintenance" => {
            let maintenance = (!fields.is_set("off")).then(|| Maintenance {
                message: fields.get("message").to_owned(),
                retry_after_s: RETRY_AFTER,
            });
            let asked = SetMaintenanceRequest { project, environment, maintenance };
            Ok(Operations::set_maintenance(desk, caller, asked).await?.no_change)
        }
        other => Err(Status::not_found(format!("there is no form {other:?}"))),
    }
}

/// The fields whose names begin so that somebody has changed: beside each stands what the page had shown, and what
/// others have set meanwhile stays.
fn changed<'a>(fields: &'a Fields, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let all = fields.below(prefix).map(|(key, value)| (key, value.trim()));
    all.filter(|(key, value)| *value != fields.get(&format!("was.{key}")))
}
