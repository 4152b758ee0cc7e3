//! Deployments: the list, and one of them while it happens.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use temps_core::text;
use temps_core::verdict::Stage;
use temps_wire::failure::Failure;
use temps_wire::proto::{
    Accepted, CancelRequest, Deployment, DeploymentDetail, DeploymentMetrics, ExplainInstanceRequest,
    GetDeploymentRequest, GetHistoryRequest, GetMetricsRequest, HistoryMissing, Instance, InstanceStory,
    ListDeploymentsRequest, PauseRequest, PromoteRequest, RedeployRequest, ReleaseMetrics, ResumeRequest,
    RollbackRequest,
};
use tonic::Status;

use super::chart::Chart;
use super::frame::Frame;
use super::gantt::Gantt;
use super::sorry::Sorry;
use super::visitor::{Posted, Visitor};
use super::{Note, Page, show, words};
use crate::desk::Desk;
use crate::operations::Operations;

/// What is drawn before a deployment began and after it ended, at least and at most, in milliseconds: as long as it took.
const AROUND: (u64, u64) = (15_000, 120_000);

#[derive(Template)]
#[template(path = "deployments.html")]
struct List {
    frame: Frame,
    deployments: Vec<Deployment>,
    wish: Wish,
    limit: u32,
}

/// How many deployments are listed unless asked otherwise, and at most.
const LISTED: u32 = 100;
const LISTED_MAX: u32 = 500;

/// Which deployments are listed; an empty text is none.
#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    project: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    limit: String,
}

impl List {
    /// Where more of the same are listed; nothing where there cannot be more.
    fn more(&self) -> Option<String> {
        let is_all = self.deployments.len() < self.limit as usize || self.limit >= LISTED_MAX;
        let limit = LISTED_MAX.to_string();
        let Wish { project, environment, .. } = &self.wish;
        let wish = [("project", project), ("environment", environment), ("limit", &limit)];
        if is_all { None } else { serde_urlencoded::to_string(wish).ok() }
    }
}

#[derive(Template)]
#[template(path = "deployment.html")]
struct One {
    frame: Frame,
    d: Deployment,
    detail: DeploymentDetail,
    metrics: DeploymentMetrics,
    gantt: Option<Gantt>,
    charts: Vec<Chart>,
    /// Nodes whose part is not in them.
    missing: Vec<HistoryMissing>,
    failure: Option<Failure>,
    note: &'static str,
}

#[derive(Template)]
#[template(path = "instance.html")]
struct Why {
    frame: Frame,
    i: Instance,
    story: InstanceStory,
}

impl One {
    /// The parts of the comparison, with their names.
    fn parts(&self) -> [(String, &[ReleaseMetrics]); 3] {
        let DeploymentMetrics { before, during, after, .. } = &self.metrics;
        let span = match self.metrics.before_span_ms {
            0 => "before".to_owned(),
            span => format!("{} before", text::duration(span)),
        };
        [(span, before), ("during".to_owned(), during), ("after".to_owned(), after)]
    }

    /// Where the lines are that tell more of a failure, in a word of the page.
    fn more_of(&self, stage: &Stage) -> (String, &'static str) {
        let logs = format!("/projects/{}/{}/logs", self.d.project, self.d.environment);
        match stage {
            Stage::Building => (format!("/deployments/{}/log", self.d.number), "build log"),
            Stage::Releasing | Stage::Last => (
                format!("{logs}?process={}", temps_core::model::RELEASE_PROCESS),
                "log of the release command",
            ),
            Stage::Replacing => (logs, "logs"),
        }
    }
}

pub(super) async fn list(Query(wish): Query<Wish>, visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let limit = wish.limit.parse().unwrap_or(LISTED).clamp(1, LISTED_MAX);
    let (project, environment) = (wish.project.clone(), wish.environment.clone());
    let asked = ListDeploymentsRequest { project, environment, limit };
    let deployments = Operations::list_deployments(desk, visitor.caller.clone(), asked).await?.deployments;
    let frame = Frame::new(&visitor, "/deployments").await;
    show(&List { frame, deployments, wish, limit })
}

/// Why an instance exists, and what became of it.
pub(super) async fn why(Path(instance): Path<u64>, visitor: Visitor) -> Page {
    let asked = ExplainInstanceRequest { instance };
    let story = Operations::explain_instance(&visitor.desk, visitor.caller.clone(), asked).await?;
    let i = story.instance.clone().ok_or_else(|| Status::internal("it has no head"))?;
    show(&Why { frame: Frame::new(&visitor, "/").await, i, story })
}

pub(super) async fn one(Path(number): Path<u64>, Query(note): Query<Note>, visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let caller = || visitor.caller.clone();
    let detail = Operations::get_deployment(desk, caller(), GetDeploymentRequest { number }).await?;
    let metrics = Operations::get_metrics(desk, caller(), GetMetricsRequest { number }).await?;
    let d = detail.deployment.clone().ok_or_else(|| Status::internal("it has no head"))?;
    let now = temps_ledger::wall();
    let gantt = Gantt::of(&detail.events, &detail.instances, if d.ended { 0 } else { now });
    let around = d.duration_ms.clamp(AROUND.0, AROUND.1);
    let of = GetHistoryRequest {
        project: d.project.clone(),
        environment: d.environment.clone(),
        // Clocks of nodes differ.
        from_ms: Some(d.created_ms.min(now).saturating_sub(around)),
        to_ms: d.ended_ms.map(|ended| ended.saturating_add(around)).filter(|to| *to < now),
        ..GetHistoryRequest::default()
    };
    // A page without drawings is worth more than none.
    let history = Operations::get_history(desk, caller(), of).await.unwrap_or_default();
    let charts = Chart::of_deployment(&history, d.release, d.from_release);
    let (missing, failure, note) = (history.missing, Failure::of(&detail), note.text());
    let frame = Frame::new(&visitor, "/deployments").await;
    show(&One { frame, d, detail, metrics, gantt, charts, missing, failure, note })
}

/// A button of a deployment.
pub(super) async fn act(
    State(desk): State<Desk>,
    Path((deployment, action)): Path<(u64, String)>,
    posted: Posted,
) -> Page {
    let caller = posted.visitor.caller;
    let accepted = match action.as_str() {
        "cancel" => Operations::cancel(&desk, caller, CancelRequest { deployment }).await?,
        "pause" => Operations::pause(&desk, caller, PauseRequest { deployment }).await?,
        "resume" => Operations::resume(&desk, caller, ResumeRequest { deployment }).await?,
        "redeploy" => Operations::redeploy(&desk, caller, RedeployRequest { deployment }).await?,
        "promote" => {
            let all = posted.fields.is_set("all");
            Operations::promote(&desk, caller, PromoteRequest { deployment, all }).await?
        }
        "rollback" => {
            let of = GetDeploymentRequest { number: deployment };
            let found = Operations::get_deployment(&desk, caller.clone(), of).await?.deployment;
            let found = found.ok_or_else(|| Status::internal("it has no head"))?;
            let asked = RollbackRequest {
                project: found.project,
                environment: found.environment,
                to: Some(deployment),
            };
            Operations::rollback(&desk, caller, asked).await?
        }
        other => return Err(Sorry(Status::not_found(format!("there is no button {other:?}")))),
    };
    Ok(told(&accepted))
}

/// To the page of a deployment that was asked for, or that is so already.
pub(super) fn told(accepted: &Accepted) -> Response {
    let at = format!("/deployments/{}", accepted.deployment);
    Redirect::to(&if accepted.no_change { Note::unchanged(&at) } else { at }).into_response()
}
