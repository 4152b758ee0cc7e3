//! What applications and builds write, line by line.

use askama::Template;
use axum::extract::{Path, Query, State};
use futures_util::stream::TryStreamExt;
use serde::Deserialize;
use temps_wire::proto::{BuildLogRequest, LogLine, LogsRequest, StatusRequest};
use tonic::Status;

use super::frame::Frame;
use super::visitor::Visitor;
use super::{Page, show, words};
use crate::desk::Desk;
use crate::operations::Operations;

/// How many lines are shown unless asked otherwise, and at most.
const LINES: u32 = 300;
const LINES_MAX: u32 = 5_000;

#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    process: String,
    lines: Option<u32>,
}

impl Wish {
    fn tail(&self) -> u32 {
        self.lines.unwrap_or(LINES).clamp(1, LINES_MAX)
    }
}

#[derive(Template)]
#[template(path = "logs.html")]
struct OfEnvironment {
    frame: Frame,
    project: String,
    environment: String,
    processes: Vec<String>,
    wish: Wish,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "build_log.html")]
struct OfBuild {
    frame: Frame,
    number: u64,
    lines: Vec<Line>,
    /// Why there is none.
    why: String,
}

/// A line, for people.
struct Line {
    wall_ms: u64,
    at: String,
    is_error: bool,
    text: String,
}

impl From<LogLine> for Line {
    fn from(line: LogLine) -> Self {
        let at = match line.instance.as_str() {
            "" => line.node,
            instance => format!("{instance} on {}", line.node),
        };
        let text = String::from_utf8_lossy(&line.text).into_owned();
        Self { wall_ms: line.wall_ms, at, is_error: line.stream == "err", text }
    }
}

pub(super) async fn of_environment(
    State(desk): State<Desk>,
    Path((project, environment)): Path<(String, String)>,
    Query(wish): Query<Wish>,
    visitor: Visitor,
) -> Page {
    let caller = || visitor.caller.clone();
    let of = StatusRequest { project: project.clone(), environment: environment.clone() };
    let status = Operations::status(&desk, caller(), of).await?;
    let processes = status.environments.into_iter().flat_map(|e| e.processes).map(|p| p.name).collect();
    let asked = LogsRequest {
        project: project.clone(),
        environment: environment.clone(),
        process: wish.process.clone(),
        follow: false,
        tail: wish.tail(),
    };
    let lines: Vec<LogLine> = Operations::logs(&desk, caller(), asked).await?.try_collect().await?;
    // Each node gives that many.
    let first = lines.len().saturating_sub(wish.tail() as usize);
    let lines = lines.into_iter().skip(first).map(Line::from).collect();
    let frame = Frame::new(&desk, &visitor, "/").await;
    show(&OfEnvironment { frame, project, environment, processes, wish, lines })
}

pub(super) async fn of_build(State(desk): State<Desk>, Path(number): Path<u64>, visitor: Visitor) -> Page {
    let asked = BuildLogRequest { deployment: number, follow: false, tail: LINES_MAX };
    let lines = match Operations::build_log(&desk, visitor.caller.clone(), asked).await {
        Ok(lines) => lines.try_collect::<Vec<_>>().await,
        Err(status) => Err(status),
    };
    let (lines, why): (Vec<LogLine>, String) = match lines {
        Ok(lines) => (lines, String::new()),
        Err(status) => (Vec::new(), said(&status)),
    };
    let frame = Frame::new(&desk, &visitor, "/deployments").await;
    show(&OfBuild { frame, number, lines: lines.into_iter().map(Line::from).collect(), why })
}

fn said(status: &Status) -> String {
    status.message().to_owned()
}
