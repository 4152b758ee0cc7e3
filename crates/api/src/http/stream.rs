//! What goes on until somebody stops listening: server-sent events.
//!
//! Lines of timelines carry their id, so a client that lost its node asks another with `Last-Event-ID` and misses
//! nothing. A stream that breaks says why in an event `problem`, then ends.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use serde::Serialize;
use temps_wire::proto::temps_server::Temps;
use temps_wire::proto::{self, BuildLogRequest, EventId, LogLine, LogsRequest, WatchDeploymentRequest};
use tonic::Status;

use super::describe::Api;
use super::problem::Refused;
use super::{ask, parts};
use crate::desk::{Answer, Desk, Lines};

/// How often a silent stream says that it is there.
const SIGN: Duration = Duration::from_secs(15);

const EVENTS: &str = "/deployments/{number}/events";
const BUILD: &str = "/deployments/{deployment}/build-log";
const LOGS: &str = "/projects/{project}/environments/{environment}/logs";

pub(super) fn routes() -> Router<Desk> {
    let at = |path| format!("/api/v1{path}");
    Router::new()
        .route(&at(EVENTS), get(events))
        .route(&at(BUILD), get(build_log))
        .route(&at(LOGS), get(logs))
}

pub(super) fn describe(api: &mut Api) {
    api.stream::<WatchDeploymentRequest, proto::Event>(
        EVENTS,
        "watch_deployment",
        "deployments",
        "The timeline of a deployment as it grows, until it has ended; resumes with Last-Event-ID",
    );
    api.stream::<BuildLogRequest, LogLine>(
        BUILD,
        "build_log",
        "deployments",
        "The log of a deployment's build",
    );
    api.stream::<LogsRequest, LogLine>(LOGS, "logs", "projects", "What an application writes");
}

async fn events(
    State(desk): State<Desk>,
    path: RawPathParams,
    request: Request,
) -> Result<Response, Refused> {
    let (head, _) = parts(request).await?;
    let last = head.headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let mut message: WatchDeploymentRequest = ask::of_query(&path, head.uri.query())?;
    message.after = last.map(event_id).transpose()?;
    let lines = Temps::watch_deployment(&desk, ask::asked(&head, message)?).await?.into_inner();
    Ok(sse(lines, |event: &proto::Event| {
        let id = event.id.unwrap_or_default();
        Some(format!("{}.{}", id.index, id.place))
    }))
}

async fn build_log(
    State(desk): State<Desk>,
    path: RawPathParams,
    request: Request,
) -> Result<Response, Refused> {
    let (head, _) = parts(request).await?;
    let message: BuildLogRequest = ask::of_query(&path, head.uri.query())?;
    let lines = Temps::build_log(&desk, ask::asked(&head, message)?).await?.into_inner();
    Ok(sse(lines, |_: &LogLine| None))
}

async fn logs(State(desk): State<Desk>, path: RawPathParams, request: Request) -> Result<Response, Refused> {
    let (head, _) = parts(request).await?;
    let message: LogsRequest = ask::of_query(&path, head.uri.query())?;
    let lines = Temps::logs(&desk, ask::asked(&head, message)?).await?.into_inner();
    Ok(sse(lines, |_: &LogLine| None))
}

/// The id of a line of a timeline, as it was told.
fn event_id(text: &str) -> Answer<EventId> {
    let parsed = text
        .split_once('.')
        .and_then(|(index, place)| Some(EventId { index: index.parse().ok()?, place: place.parse().ok()? }));
    parsed.ok_or_else(|| {
        Status::invalid_argument(format!("Last-Event-ID {text:?} is none that was told; it is like 120.0"))
    })
}

fn sse<T: Serialize + 'static>(lines: Lines<T>, id: fn(&T) -> Option<String>) -> Response {
    let events = lines.map(move |line| {
        Ok::<_, Infallible>(match line {
            Ok(line) => {
                let event = Event::default().data(serde_json::to_string(&line).unwrap_or_default());
                match id(&line) {
                    Some(id) => event.id(id),
                    None => event,
                }
            }
            Err(status) => {
                Event::default().event("problem").data(status.message().replace(['\r', '\n'], " "))
            }
        })
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN)).into_response();
    // Proxies in front may not gather it.
    response.headers_mut().insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    response
}
