//! What applications and builds write, line by line.

use askama::Template;
use axum::extract::{Path, Query};
use futures_util::stream::TryStreamExt;
use serde::Deserialize;
use temps_wire::proto::{BuildLogRequest, GetDeploymentRequest, LogLine, LogsRequest, StatusRequest};

use super::frame::Frame;
use super::visitor::Visitor;
use super::{Page, show, words};
use crate::operations::Operations;

/// How many lines are shown unless asked otherwise, and at most.
const LINES: u32 = 300;
const LINES_MAX: u32 = 2_000;
/// So much of a line is shown, in bytes, and of all of them together.
const LINE_MAX: usize = 4 << 10;
const PAGE_MAX: usize = 1 << 20;

#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    process: String,
    /// A number; a form sends an empty text for none.
    #[serde(default)]
    lines: String,
}

impl Wish {
    fn tail(&self) -> u32 {
        self.lines.parse().unwrap_or(LINES).clamp(1, LINES_MAX)
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
    has_ended: bool,
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
        let text = String::from_utf8_lossy(&line.text[..line.text.len().min(LINE_MAX)]).into_owned();
        Self { wall_ms: line.wall_ms, at, is_error: line.stream == "err", text }
    }
}

/// The last lines, as many as a page bears.
fn last(lines: Vec<LogLine>, most: u32) -> Vec<Line> {
    let mut room = PAGE_MAX;
    let mut shown: Vec<_> = lines
        .into_iter()
        .rev()
        .take(most as usize)
        .map(Line::from)
        .take_while(|line| {
            room = room.saturating_sub(line.text.len());
            room > 0
        })
        .collect();
    shown.reverse();
    shown
}

pub(super) async fn of_environment(
    Path((project, environment)): Path<(String, String)>,
    Query(wish): Query<Wish>,
    visitor: Visitor,
) -> Page {
    let desk = &visitor.desk;
    let caller = || visitor.caller.clone();
    let of = StatusRequest { project: project.clone(), environment: environment.clone() };
    let status = Operations::status(desk, caller(), of).await?;
    let processes = status.environments.into_iter().flat_map(|e| e.processes).map(|p| p.name).collect();
    let asked = LogsRequest {
        project: project.clone(),
        environment: environment.clone(),
        process: wish.process.clone(),
        follow: false,
        tail: wish.tail(),
    };
    let lines: Vec<LogLine> = Operations::logs(desk, caller(), asked).await?.try_collect().await?;
    // Each node gives that many.
    let lines = last(lines, wish.tail());
    let frame = Frame::new(&visitor, "/").await;
    show(&OfEnvironment { frame, project, environment, processes, wish, lines })
}

pub(super) async fn of_build(Path(number): Path<u64>, visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let of = GetDeploymentRequest { number };
    let deployment = Operations::get_deployment(desk, visitor.caller.clone(), of).await?.deployment;
    let has_ended = deployment.is_none_or(|deployment| deployment.ended);
    let asked = BuildLogRequest { deployment: number, follow: false, tail: LINES_MAX };
    let lines = match Operations::build_log(desk, visitor.caller.clone(), asked).await {
        Ok(lines) => lines.try_collect::<Vec<_>>().await,
        Err(status) => Err(status),
    };
    let (lines, why): (Vec<LogLine>, String) = match lines {
        Ok(lines) => (lines, String::new()),
        Err(status) => (Vec::new(), status.message().to_owned()),
    };
    let frame = Frame::new(&visitor, "/deployments").await;
    show(&OfBuild { frame, number, lines: last(lines, LINES_MAX), has_ended, why })
}
