//! Deploying over HTTP: an image, a bundle that is stored, or what runs now once more.
//!
//! Where no settings are given those of the current release are kept, so that a job that has built an image needs
//! nothing but its name.

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::post;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use temps_core::model::{Artifact, Release, Source, Spec};
use temps_wire::codec;
use temps_wire::proto::temps_server::Temps;
use temps_wire::proto::{Accepted, DeployRequest, DeploymentPreview, ResolveImageRequest, StatusRequest};
use tonic::{Code, Status};

use super::describe::{Api, Way};
use super::problem::Refused;
use super::{ask, json, parts};
use crate::desk::{Answer, Desk};

const DEPLOY: &str = "/projects/{project}/environments/{environment}/deployments";
const PREVIEW: &str = "/projects/{project}/environments/{environment}/preview";

/// What is to run, and how.
#[derive(Debug, Default, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Deployment {
    project: String,
    environment: String,
    /// The name of an image; what it means is asked once, now.
    image: Option<String>,
    /// A bundle that is stored already.
    bundle: Option<Bundle>,
    /// How it runs; as the current release does where there are none.
    #[schema(value_type = Option<Object>)]
    settings: Option<serde_json::Value>,
    /// Cancel the deployment that is under way instead of waiting for it.
    supersede: bool,
}

/// A packed directory.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Bundle {
    /// SHA-256 of the file, in hex.
    digest: String,
    /// Its size.
    bytes: u64,
}

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route(&format!("/api/v1{DEPLOY}"), post(deploy))
        .route(&format!("/api/v1{PREVIEW}"), post(preview))
}

pub(super) fn describe(api: &mut Api) {
    let kind = "deployments";
    let what = "Deploy an image, a stored bundle, or what runs now once more";
    api.operation::<Deployment, Accepted>("post", DEPLOY, "deploy", Way::body, kind, what);
    let what = "What a deployment would do; nothing changes";
    api.operation::<Deployment, DeploymentPreview>(
        "post",
        PREVIEW,
        "preview_deployment",
        Way::body,
        kind,
        what,
    );
}

async fn deploy(
    State(desk): State<Desk>,
    path: RawPathParams,
    request: Request,
) -> Result<Response, Refused> {
    let asked = asked(&desk, &path, request).await?;
    Ok(json(Temps::deploy(&desk, asked).await?.get_ref()))
}

async fn preview(
    State(desk): State<Desk>,
    path: RawPathParams,
    request: Request,
) -> Result<Response, Refused> {
    let asked = asked(&desk, &path, request).await?;
    Ok(json(Temps::preview_deployment(&desk, asked).await?.get_ref()))
}

/// What gRPC would have been asked.
async fn asked(desk: &Desk, path: &RawPathParams, request: Request) -> Answer<tonic::Request<DeployRequest>> {
    let (head, body) = parts(request).await?;
    let message = wish(desk, &head, ask::of_body(path, &head, &body)?).await?;
    ask::asked(&head, message)
}

/// The message of gRPC. Whoever may not see the environment gets nothing of its current release.
async fn wish(desk: &Desk, head: &Parts, wish: Deployment) -> Answer<DeployRequest> {
    let of = StatusRequest { project: wish.project.clone(), environment: wish.environment.clone() };
    let current = match Temps::status(desk, ask::asked(head, of)?).await {
        Ok(_) => current(desk, &wish.project, &wish.environment),
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(status),
    };
    let source = match (wish.image, wish.bundle) {
        (Some(_), Some(_)) => {
            return Err(Status::invalid_argument("name an image or a bundle, not both"));
        }
        (Some(reference), None) => {
            let asked = ask::asked(head, ResolveImageRequest { reference: reference.clone() })?;
            let found = Temps::resolve_image(desk, asked).await?.into_inner();
            Source::Image { reference, id: found.id, node: temps_core::model::NodeId(found.node) }
        }
        (None, Some(bundle)) => Source::Bundle { bundle: Artifact::bundle(bundle.digest, bundle.bytes) },
        (None, None) => current.as_ref().map(|release| release.source.clone()).ok_or_else(nothing_yet)?,
    };
    let spec = match wish.settings {
        Some(settings) => serde_json::from_value::<Spec>(settings)
            .map_err(|why| Status::invalid_argument(format!("the settings cannot be read: {why}")))?,
        // What settings of the cluster covered is the file's again: they are put over it anew.
        None => current.map(|release| release.given()).ok_or_else(nothing_yet)?,
    };
    Ok(DeployRequest {
        project: wish.project,
        environment: wish.environment,
        source: codec::encode(&source).into(),
        spec: codec::encode(&spec).into(),
        supersede: wish.supersede,
    })
}

/// The release that an environment runs.
pub(crate) fn current(desk: &Desk, project: &str, environment: &str) -> Option<Release> {
    let state = desk.ledger.state();
    let release = state.environment(project, environment)?.current?;
    state.releases.get(&release).cloned()
}

fn nothing_yet() -> Status {
    Status::invalid_argument(
        "nothing was deployed there yet, so there is nothing to take over; send image or bundle, and settings",
    )
}
