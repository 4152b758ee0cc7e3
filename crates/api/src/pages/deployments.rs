//! Deployments: the list, and one of them while it happens.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use temps_wire::proto::{
    CancelRequest, Deployment, DeploymentDetail, DeploymentMetrics, GetDeploymentRequest, GetHistoryRequest,
    GetMetricsRequest, ListDeploymentsRequest, PauseRequest, PromoteRequest, RedeployRequest, ReleaseMetrics,
    ResumeRequest, RollbackRequest,
};
use tonic::Status;

use super::chart::Chart;
use super::frame::Frame;
use super::gantt::Gantt;
use super::sorry::Sorry;
use super::visitor::{Posted, Visitor};
use super::{Page, show, words};
use crate::desk::Desk;
use crate::operations::Operations;

/// What is drawn before a deployment began and after it ended, at least and at most, in milliseconds: as long as it took.
const AROUND: (u64, u64) = (15_000, 120_000);

#[derive(Template)]
#[template(path = "deployments.html")]
struct List {
    frame: Frame,
    deployments: Vec<Deployment>,
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
}

impl One {
    /// The parts of the comparison, with their names.
    fn parts(&self) -> [(&'static str, &[ReleaseMetrics]); 3] {
        [("before", &self.metrics.before), ("during", &self.metrics.during), ("after", &self.metrics.after)]
    }
}

pub(super) async fn list(visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let asked = ListDeploymentsRequest { limit: 100, ..ListDeploymentsRequest::default() };
    let deployments = Operations::list_deployments(desk, visitor.caller.clone(), asked).await?.deployments;
    let frame = Frame::new(&visitor, "/deployments").await;
    show(&List { frame, deployments })
}

pub(super) async fn one(Path(number): Path<u64>, visitor: Visitor) -> Page {
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
    let frame = Frame::new(&visitor, "/deployments").await;
    show(&One { frame, d, detail, metrics, gantt, charts })
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
    Ok(Redirect::to(&format!("/deployments/{}", accepted.deployment)).into_response())
}
